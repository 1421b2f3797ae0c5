"""Which flags does ``sseproxy probe`` take?

Only the parser is imported here; what runs is imported when it runs.
"""

# ruff: noqa: PLC0415

import argparse
from collections.abc import Callable
from typing import Any

_EXAMPLES = """\
examples:
  sseproxy probe https://chat.example/v1/events --header 'Authorization: Bearer ...'
  sseproxy probe https://chat.example/v1/chat/completions --data '{"stream": true, ...}'
  sseproxy probe --serve --listen 127.0.0.1:9000     in place of the service, then, from outside:
  sseproxy probe https://chat.example/               what the chain alone does, with known events

exit code: 0 nothing to complain of, 1 something, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Make `parser` that of ``sseproxy probe``. What it has parsed says in `command` which function runs it."""
    parser.epilog = _EXAMPLES
    parser.add_argument("url", nargs="?", metavar="URL", help="what is opened, through the whole chain")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--header", action="append", metavar="'N: V'", help="a header field to send; may be repeated")
    parser.add_argument("--method", metavar="METHOD", help="the request method (default: GET, with --data POST)")
    parser.add_argument("--data", metavar="TEXT", help="the request body")
    parser.add_argument(
        "--for",
        dest="total",
        type=_checked("duration", read_duration),
        metavar="DURATION",
        help="how long to watch, and the longest silence to try (default: 90s)",
    )
    parser.add_argument("--insecure", action="store_true", help="do not check the certificate")
    parser.add_argument(
        "--serve", action="store_true", help="be the service: known events at known times, and silences"
    )
    parser.add_argument(
        "--listen",
        type=_checked("address", read_address),
        metavar="ADDRESS",
        help="where --serve listens (default: 127.0.0.1:9000)",
    )
    parser.set_defaults(command=lambda parsed: _run(parser, parsed))


def _run(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> int:
    """Check what belongs together, and run it. Exits with 2 on wrong usage, as argparse does."""
    if parsed.serve:
        given = {"a URL": parsed.url, "--json": parsed.json, "--header": parsed.header, "--method": parsed.method}
        given |= {"--data": parsed.data, "--for": parsed.total, "--insecure": parsed.insecure}
        for name, value in given.items():
            if value:
                parser.error(f"--serve takes no {name.removeprefix('a ')}")
        from sseproxy.probe import command

        return command.serve(*(parsed.listen or ("127.0.0.1", 9000)))
    if parsed.listen is not None:
        parser.error("--listen belongs to --serve")
    if parsed.url is None:
        parser.error("a URL is needed, or --serve")

    from sseproxy.probe.command import run
    from sseproxy.probe.target import BadTarget, read_target

    try:
        target = read_target(
            parsed.url,
            headers=parsed.header or (),
            method=parsed.method,
            data=parsed.data,
            insecure=parsed.insecure,
        )
    except BadTarget as why:
        parser.error(str(why))
    return run(target, parsed.total or 90.0, as_json=parsed.json)


def _checked(name: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `read` as argparse wants it: its errors are wrong usage. name: of what is read, for messages."""

    def reading(text: str) -> Any:
        from sseproxy.config.values import BadValue

        try:
            return read(text)
        except BadValue as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise argparse.ArgumentTypeError(f"{error.message}{hint}") from None

    reading.__name__ = name
    return reading


def read_duration(text: str) -> float:
    """Seconds, for which a probe may last."""
    from sseproxy.config.values import BadValue, limited_duration

    seconds = limited_duration(text)
    if not 1 <= seconds <= 3600:
        raise BadValue("must be between 1s and 1h")
    return seconds


def read_address(text: str) -> tuple[str, int]:
    """A host, empty for all interfaces, and a port."""
    from sseproxy.config.addresses import listen_address
    from sseproxy.config.values import BadValue

    address = listen_address(text)
    if address.path is not None:
        raise BadValue("the probe listens on HOST:PORT only")
    return address.host, address.port
