"""What does the command line mean? (contract section 3)"""

import argparse
import json
import logging
import os
import secrets
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from sseproxy import __version__
from sseproxy.config.loader import load
from sseproxy.config.overrides import OVERRIDES, FlagValue, Override
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.schema import json_schema
from sseproxy.config.settings import Config
from sseproxy.logs import LOGGER, JSONFormatter, configure, flush
from sseproxy.process.descriptors import raise_file_limit
from sseproxy.process.listeners import ListenError, Listeners, listen
from sseproxy.process.server import ServerProcess
from sseproxy.process.supervisor import Supervisor
from sseproxy.proxy.app import INSTANCE_BYTES

_OK, _FAILED = 0, 1  # argparse exits with 2 on wrong usage
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: How long a process without a drain limit is waited for, in seconds.
_NO_LIMIT = 10.0**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `arguments` (default: the process's own). Returns the exit code: 0, or 1 if something is wrong."""
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has had enough
        return _FAILED


# The commands.


def _serve(parsed: argparse.Namespace) -> int:
    flags: dict[str, FlagValue] = {override.flag: getattr(parsed, _dest(override)) for override in OVERRIDES}
    try:
        config = load(parsed.config, flags=flags, environ=os.environ)
    except ConfigErrors as errors:
        return _complain(str(errors))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes, or a reload, must not cost the streams
    configure(level=config.log.level, form=config.log.format, access=config.log.access)
    for warning in config.warnings:
        logging.getLogger(LOGGER).warning("%s", warning)
    raise_file_limit(max((route.limits.streams or 0 for route in config.routes), default=0))
    try:
        with _Sockets(config) as sockets:
            return _run(config, sockets)
    except (ListenError, OSError) as error:
        return _complain(f"sseproxy: {error}")
    finally:
        flush()


def _check(parsed: argparse.Namespace) -> int:
    try:
        config = load(parsed.config, flags={}, environ=os.environ)
    except ConfigErrors as errors:
        print(errors)
        return _FAILED
    for warning in config.warnings:
        print(warning)
    warnings = f", {_count(len(config.warnings), 'warning')}" if config.warnings else ""
    print(f"{parsed.config}: {_count(len(config.routes), 'route')}, no errors{warnings}")
    return _OK


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return _OK


def _demo(parsed: argparse.Namespace) -> int:
    from sseproxy import demo  # noqa: PLC0415 - the demo's page and peers are nobody else's business

    return demo.run(parsed.check, parsed.port, demo.GatewayChoice(parsed.gateway))


# Serving.


class _Sockets:
    """The sockets of all listeners, open for the time of a ``with`` block."""

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

    def leave(self) -> None:
        """In the parent of workers that are to end."""
        self.public.close()
        self.admin.leave_to_workers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.public.close()
        self.admin.close()


def _run(config: Config, sockets: _Sockets) -> int:
    def on_ready() -> None:
        _announce(config, sockets)

    if config.server.workers == 1:
        server = ServerProcess(config, sockets.public.by_worker[0], sockets.admin.by_worker[0])
        server.run(on_ready=on_ready, on_draining=sockets.public.close, signals=_STOP_SIGNALS)
        return _OK

    # Made by the parent: a browser may come back to another worker, and a request that goes in a circle, too.
    end_key, instance = secrets.token_bytes(32), secrets.token_hex(INSTANCE_BYTES)

    def serve(index: int, on_worker_ready: Callable[[], None], parent: int) -> None:
        _end_with(parent)
        sockets.public.keep(index)
        sockets.admin.keep(index)
        public, admin = sockets.public.by_worker[index], sockets.admin.by_worker[index]
        worker = ServerProcess(config, public, admin, end_key=end_key, instance=instance)
        worker.run(on_ready=on_worker_ready, on_draining=sockets.public.close, signals=(signal.SIGTERM,))
        flush()

    drain = config.server.drain_timeout
    limit = _NO_LIMIT if drain is None else drain
    supervisor = Supervisor(config.server.workers, limit, serve, on_stopping=sockets.leave)
    return supervisor.run(on_ready=on_ready)


def _end_with(parent: int) -> None:
    """Drain as soon as the pipe `parent` closes: nobody is left to tell this worker to end."""

    def watch() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _announce(config: Config, sockets: _Sockets) -> None:
    """The one line that says what listens where."""
    text = "listening on " + ", ".join(sockets.public.names)
    if sockets.admin.names:
        text += "; admin on " + ", ".join(sockets.admin.names)
    if config.log.format == "json":
        fields = {"message": text, "version": __version__}
        record = logging.makeLogRecord({"name": LOGGER, "levelname": "INFO", "fields": fields})
        print(JSONFormatter().format(record), file=sys.stderr, flush=True)
    else:
        print(f"sseproxy {__version__} {text}", file=sys.stderr, flush=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return _FAILED


# The parser.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sseproxy",
        description="A sidecar reverse proxy that keeps Server-Sent Event streams alive behind impatient gateways.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sseproxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands.add_parser("serve", help="run the proxy", allow_abbrev=False))
    check = commands.add_parser("check", help="find every error of a configuration file", allow_abbrev=False)
    check.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the file")
    check.set_defaults(command=_check)
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration file, for editors")
    schema.set_defaults(command=_schema)
    _add_demo(commands.add_parser("demo", help="show the gateway timeout and its cure on this machine"))
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML file [SSEPROXY_CONFIG]")
    for override in OVERRIDES:
        help_text = f"{override.help} [{override.variable}]"
        if override.says is not None:
            serve.add_argument(override.flag, dest=_dest(override), action="store_true", help=help_text)
        else:
            serve.add_argument(
                override.flag,
                dest=_dest(override),
                metavar=override.metavar,
                action="append" if override.several else "store",
                help=help_text,
            )
    serve.set_defaults(command=_serve)


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--check", action="store_true", help="print a table and exit 0 only if the cure works")
    demo.add_argument("--port", type=int, default=0, help="where the page is served (default: a free port)")
    demo.add_argument(
        "--gateway", choices=("auto", "nginx", "embedded"), default="auto", help="the gateway (default: nginx if there)"
    )
    demo.set_defaults(command=_demo)


def _dest(override: Override) -> str:
    return override.flag.removeprefix("--").replace("-", "_")
