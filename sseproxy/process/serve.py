"""How does a configuration become running processes, one or several?"""

import contextlib
import logging
import os
import secrets
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from sseproxy import __version__
from sseproxy.config.settings import Config
from sseproxy.logs import LOGGER, JSONFormatter, configure, flush
from sseproxy.process.descriptors import raise_file_limit
from sseproxy.process.listeners import ListenError, Listeners, listen
from sseproxy.process.server import ServerProcess
from sseproxy.process.siblings import Place
from sseproxy.process.stopping import time_to_end
from sseproxy.process.supervisor import Supervisor
from sseproxy.proxy.app import INSTANCE_BYTES

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: How long a process without a drain limit is waited for, in seconds.
_NO_LIMIT = 10.0**9


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


def serve(config: Config) -> int:
    """Serve until a signal asks for the end. Returns the exit code. Raises `ServeError`."""
    # A terminal that closes, or a reload, must not cost the streams.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    configure(level=config.log.level, form=config.log.format, access=config.log.access)
    for warning in config.warnings:
        logging.getLogger(LOGGER).warning("%s", warning)
    raise_file_limit(max((route.limits.streams or 0 for route in config.routes), default=0))
    try:
        with OpenSockets(config) as sockets:
            return serve_with_workers(config, sockets) if config.server.workers > 1 else serve_alone(config, sockets)
    except (ListenError, OSError) as error:
        raise ServeError(str(error)) from error
    finally:
        flush()


def serve_alone(config: Config, sockets: OpenSockets) -> int:
    """Serve in this process."""
    server = ServerProcess(config, sockets.public.by_worker[0], sockets.admin.by_worker[0])
    server.run(on_ready=lambda: announce(config, sockets), on_draining=sockets.public.close, signals=_STOP_SIGNALS)
    return 0


def serve_with_workers(config: Config, sockets: OpenSockets) -> int:
    """Serve in workers, and stay their parent."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workers_folder()) if config.admin is not None else None
        return run_workers(config, sockets, folder)


def run_workers(config: Config, sockets: OpenSockets, folder: Path | None) -> int:
    """Start the workers, and return when all have ended. folder: where they find each other; see `Place`."""
    # Made by the parent: a browser may come back to another worker, and a request that goes in a circle, too.
    end_key, instance = secrets.token_bytes(32), secrets.token_hex(INSTANCE_BYTES)

    def work(index: int, on_worker_ready: Callable[[], None], parent: int) -> None:
        end_with(parent)
        sockets.public.keep(index)
        sockets.admin.keep(index)
        public, admin = sockets.public.by_worker[index], sockets.admin.by_worker[index]
        place = Place(index, config.server.workers, folder)
        worker = ServerProcess(config, public, admin, end_key=end_key, instance=instance, place=place)
        worker.run(on_ready=on_worker_ready, on_draining=sockets.public.close, signals=(signal.SIGTERM,))
        flush()

    count, delay, timeout = config.server.workers, config.server.drain_delay, config.server.drain_timeout
    supervisor = Supervisor(
        count,
        time_to_end(delay, _NO_LIMIT if timeout is None else timeout, count),
        work,
        on_stopping=sockets.leave_to_workers,
        delay=delay,
        on_draining=sockets.public.close,
    )
    return supervisor.run(on_ready=lambda: announce(config, sockets))


@contextlib.contextmanager
def workers_folder() -> Iterator[Path]:
    """A folder of this user alone, for the time of a ``with`` block. Raises `ServeError`: there is no place for it."""
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


def announce(config: Config, sockets: OpenSockets) -> None:
    """Write the one line that says what listens where, in the form of the log."""
    text = sockets.announcement()
    if config.log.format == "json":
        fields = {"message": text, "version": __version__}
        record = logging.makeLogRecord({"name": LOGGER, "levelname": "INFO", "fields": fields})
        line = JSONFormatter().format(record)
    else:
        line = f"sseproxy {__version__} {text}"
    # Not through the log: at level error it would not be written, and scripts wait for it.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
