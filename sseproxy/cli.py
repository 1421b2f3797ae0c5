"""What does the command line mean?

Only what the parser needs is imported here. Each command imports what it runs: ``sseproxy --version`` in a health check
must not cost what a proxy costs.
"""

# ruff: noqa: PLC0415

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sseproxy import __version__
from sseproxy.config.flags import OVERRIDES, FlagValue
from sseproxy.probe.arguments import add_arguments

_OK, _FAILED = 0, 1  # argparse exits with 2 on wrong usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `arguments` (default: the process's own). Returns the exit code: 0, or 1 if something is wrong."""
    parsed = new_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output has closed it. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED


# The commands.


def _serve(parsed: argparse.Namespace) -> int:
    """Run the proxy until a signal ends it."""
    from sseproxy.config.loader import load
    from sseproxy.config.problems import ConfigErrors

    flags: dict[str, FlagValue] = {override.flag: getattr(parsed, override.argument) for override in OVERRIDES}
    try:
        config = load(parsed.config, flags=flags, environ=os.environ)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return _FAILED

    # The proxy itself is loaded last: a wrong file is reported before that.
    from sseproxy.process import serve

    try:
        return serve.serve(config)
    except serve.ServeError as error:
        print(f"sseproxy: {error}", file=sys.stderr)
        return _FAILED


def _check(parsed: argparse.Namespace) -> int:
    """Print all that is wrong with a configuration file, or dangerous about it."""
    from sseproxy.config.loader import load
    from sseproxy.config.problems import ConfigErrors

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
    """Print the JSON Schema of the configuration file."""
    from sseproxy.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return _OK


def _demo(parsed: argparse.Namespace) -> int:
    """Show the gateway timeout and its cure."""
    from sseproxy import demo

    return demo.run(parsed.check, parsed.port, demo.GatewayChoice(parsed.gateway))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"


# The parser.


def new_parser() -> argparse.ArgumentParser:
    """Return the parser. What it has parsed says in `command` which function runs it."""
    parser = argparse.ArgumentParser(
        prog="sseproxy",
        description="A sidecar reverse proxy that keeps Server-Sent Event streams alive behind impatient gateways.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sseproxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve_flags(commands.add_parser("serve", help="run the proxy", allow_abbrev=False))
    checked = commands.add_parser("check", help="find every error of a configuration file", allow_abbrev=False)
    checked.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the file")
    checked.set_defaults(command=_check)
    printed = commands.add_parser("schema", help="print the JSON Schema of the configuration file, for editors")
    printed.set_defaults(command=_schema)
    shown = commands.add_parser("demo", help="show the gateway timeout and its cure on this machine")
    shown.add_argument("--check", action="store_true", help="print a table and exit 0 only if the cure works")
    shown.add_argument("--port", type=int, default=0, help="where the page is served (default: a free port)")
    shown.add_argument(
        "--gateway", choices=("auto", "nginx", "embedded"), default="auto", help="the gateway (default: nginx if there)"
    )
    shown.set_defaults(command=_demo)
    add_arguments(commands.add_parser("probe", help="find out what a chain of gateways does to a stream"))
    return parser


def _add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``serve``: the file, and one for each of `OVERRIDES`."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML file [SSEPROXY_CONFIG]")
    for override in OVERRIDES:
        help_text = f"{override.help} [{override.variable}]"
        if override.says is not None:
            parser.add_argument(override.flag, dest=override.argument, action="store_true", help=help_text)
        else:
            parser.add_argument(
                override.flag,
                dest=override.argument,
                metavar=override.metavar,
                action="append" if override.several else "store",
                help=help_text,
            )
    parser.set_defaults(command=_serve)
