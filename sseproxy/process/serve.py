"""How does a configuration become running processes, one or several?"""

import contextlib
import logging
import os
import secrets
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sseproxy import __version__
from sseproxy.config.checked import Checked
from sseproxy.config.settings import Config, LogSettings, ServerSettings
from sseproxy.logs import LOGGER, JSONFormatter, flush
from sseproxy.process.control import ParentControl, SignalControl, hold_reloads
from sseproxy.process.descriptors import raise_file_limit
from sseproxy.process.listeners import ListenError, Listeners, listen
from sseproxy.process.server import ServerProcess
from sseproxy.process.siblings import Place
from sseproxy.process.source import Snapshot, Source, set_up_log
from sseproxy.process.stopping import StopTimes
from sseproxy.process.systemd import Notifier
from sseproxy.proxy.app import INSTANCE_BYTES

if TYPE_CHECKING:
    from sseproxy.process.workers import Ties

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Bytes of a folder's name. The path of a unix socket has at most 103 on macOS, and the folder is not all of it.
_LONGEST_FOLDER = 85


class ServeError(Exception):
    """The processes could not run; the text says why, for the operator."""


class OpenSockets:
    """The sockets of all listeners, open for the time of a ``with`` block. Raises `ListenError`."""

    def __init__(self, config: Config) -> None:
        workers = config.server.workers
        scheme = "http" if config.server.tls is None else "https"
        self.public = listen(config.server.listen, workers=workers, scheme=scheme)
        try:
            admin = () if config.admin is None else (config.admin.listen,)
            self.admin: Listeners = listen(admin, workers=workers, scheme="http")
        except BaseException:
            self.public.close()
            raise

    def leave_to_workers(self) -> None:
        """In the parent of workers that are to end: leave both sides to them, as far as a socket is a worker's own."""
        self.public.leave_to_workers()
        self.admin.leave_to_workers()

    def announcement(self) -> str:
        """What listens where, in one line."""
        text = "listening on " + ", ".join(self.public.names)
        return text + "; admin on " + ", ".join(self.admin.names) if self.admin.names else text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.public.close()
        self.admin.close()


def serve(config: Config, read: Callable[[], Checked]) -> int:
    """Serve until a signal asks for the end. Returns the exit code. Raises `ServeError`.

    read: reads the configuration again; see `Source`.
    """
    hold_reloads()
    set_up_log(config.log)
    for warning in config.warnings:
        logging.getLogger(LOGGER).warning("%s", warning)
    raise_file_limit(max((route.limits.streams or 0 for route in config.routes), default=0))
    try:
        source = Source(Snapshot.of(config), read)
        with OpenSockets(config) as sockets:
            return serve_with_workers(source, sockets) if config.server.workers > 1 else serve_alone(source, sockets)
    except (ListenError, OSError) as error:
        raise ServeError(str(error)) from error
    finally:
        flush()


def serve_alone(source: Source, sockets: OpenSockets) -> int:
    """Serve in this process."""
    public, admin = sockets.public.by_worker[0], sockets.admin.by_worker[0]
    control = SignalControl(source, Notifier(os.environ))
    server = ServerProcess(source.current, public, admin, control=control)
    log = source.current.config.log
    server.run(on_ready=lambda: announce(log, sockets), on_draining=sockets.public.close, signals=_STOP_SIGNALS)
    return 0


def serve_with_workers(source: Source, sockets: OpenSockets) -> int:
    """Serve in workers, and stay their parent."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workers_folder()) if source.current.config.admin is not None else None
        return run_workers(source, sockets, folder)


def run_workers(source: Source, sockets: OpenSockets, folder: Path | None) -> int:
    """Start the workers, and return when all have ended. folder: where they find each other; see `Place`."""
    from sseproxy.process.supervisor import Supervisor  # noqa: PLC0415 - a process alone has none

    # Made by the parent: a browser may come back to another worker, and a request that goes in a circle, too.
    end_key, instance = secrets.token_bytes(32), secrets.token_hex(INSTANCE_BYTES)

    count = source.current.config.server.workers

    def work(index: int, ties: "Ties") -> None:
        end_with(ties.parent)
        sockets.public.keep(index)
        sockets.admin.keep(index)
        public, admin = sockets.public.by_worker[index], sockets.admin.by_worker[index]
        worker = ServerProcess(
            source.current,  # not that of the start: it may take the place of one that has died
            public,
            admin,
            control=ParentControl(ties.channel),
            end_key=end_key,
            instance=instance,
            place=Place(index, count, folder),
        )
        worker.run(on_ready=ties.report_ready, on_draining=sockets.public.close, signals=(signal.SIGTERM,))
        flush()

    def reload() -> bytes | None:
        snapshot = source.read()
        if snapshot is None:
            return None
        import pickle  # noqa: PLC0415 - a process that is never reloaded does without

        source.accept(snapshot)
        return pickle.dumps(snapshot)

    supervisor = Supervisor(
        count,
        lambda: stop_times(source.current.config.server),
        work,
        Notifier(os.environ),
        on_stopping=sockets.leave_to_workers,
        on_draining=sockets.public.close,
        on_reload=reload,
        on_reloaded=source.report,
        status=lambda: source.status,
    )
    log = source.current.config.log
    return supervisor.run(on_ready=lambda: announce(log, sockets))


@contextlib.contextmanager
def workers_folder() -> Iterator[Path]:
    """A folder of this user alone, for the time of a ``with`` block. Raises `ServeError`: there is no place for it."""
    import tempfile  # noqa: PLC0415 - a process alone has no use for it

    try:
        folder = tempfile.TemporaryDirectory(prefix="sseproxy-workers-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ServeError(f"the workers need a folder for temporary files (TMPDIR): {error.strerror}") from error
    with folder as path:
        if len(os.fsencode(path)) > _LONGEST_FOLDER:
            raise ServeError(f"{path} is too long a name for the sockets of the workers: set TMPDIR to a shorter one")
        yield Path(path)


def end_with(parent: int) -> None:
    """Drain as soon as the pipe `parent` closes: without a parent no process passes signals on."""

    def watch() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def stop_times(server: ServerSettings) -> StopTimes:
    """Return how long processes take to end, as the configuration says it."""
    return StopTimes.of(server.drain_delay, server.drain_timeout, server.workers)


def announce(log: LogSettings, sockets: OpenSockets) -> None:
    """Write the one line that says what listens where, in the form of the log."""
    text = sockets.announcement()
    if log.format == "json":
        fields = {"message": text, "version": __version__}
        record = logging.makeLogRecord({"name": LOGGER, "levelname": "INFO", "fields": fields})
        line = JSONFormatter().format(record)
    else:
        line = f"sseproxy {__version__} {text}"
    # Not through the log: at level error it would not be written, and scripts wait for it.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
