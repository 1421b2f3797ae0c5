"""What does the command line mean?

Only what the parser needs is imported here. Each command imports what it runs: ``sseproxy --version`` in a health check
must not cost what a proxy costs.
"""

# ruff: noqa: PLC0415

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sseproxy import __version__
from sseproxy.config.flags import CONFIG_VARIABLE, OVERRIDES, FlagValue
from sseproxy.config.plugins import find_no_plugins
from sseproxy.usage import EXAMPLES, SERVE_EXAMPLES, HintingParser, complete_files, hint_for

if TYPE_CHECKING:
    #: What the parser of one more command is added to.
    Commands = argparse._SubParsersAction[HintingParser]  # noqa: SLF001 - argparse has no other name for it

#: The file that ``sseproxy example`` gives. It is read only if it is named: what a folder holds changes no process.
_USUAL_FILE = "sseproxy.yaml"

_OK, _FAILED = 0, 1  # argparse exits with 2 on wrong usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `arguments` (default: the process's own). Returns the exit code: 0, or 1 if something is wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # The flags of the other commands need not be there: a start would wait for them.
    parsed = new_parser(*arguments[:1]).parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    find_no_plugins()
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
    from sseproxy.process.garbage import loading

    with loading():
        from sseproxy.config.loader import check
        from sseproxy.config.problems import ConfigErrors

        if parsed.config is None and not os.environ.get(CONFIG_VARIABLE) and Path(_USUAL_FILE).is_file():
            print(f"sseproxy: {_USUAL_FILE} of this folder is not read (-c {_USUAL_FILE} reads it)", file=sys.stderr)
        read = partial(check, parsed.config, flags=flags_of(parsed), environ=os.environ)
        try:
            config = read().config()
        except ConfigErrors as errors:
            print(errors, file=sys.stderr)
            return _FAILED

        # The proxy itself is loaded last: a wrong file is reported before that.
        from sseproxy.process import serve

    try:
        return serve.serve(config, read)
    except serve.ServeError as error:
        print(f"sseproxy: {error}", file=sys.stderr)
        return _FAILED


def _check(parsed: argparse.Namespace) -> int:
    """Print all that is wrong with a configuration file, or dangerous about it; or what holds in the end."""
    from sseproxy.config.loader import check
    from sseproxy.config.problems import ConfigErrors, in_reading_order

    try:
        checked = check(parsed.config, flags=flags_of(parsed), environ=os.environ)
    except ConfigErrors as errors:
        print(errors)
        return _FAILED
    config = checked.config()
    # What is printed is YAML, for other programs too, so all else goes beside it.
    other = sys.stderr if parsed.print else sys.stdout
    if parsed.print:
        from sseproxy.config.printing import printed

        print(printed(checked), end="")
    for said in in_reading_order([*config.warnings, *checked.document.notes]):
        print(said, file=other)
    warnings = f", {_count(len(config.warnings), 'warning')}" if config.warnings else ""
    print(f"{parsed.config}: {_count(len(config.routes), 'route')}, no errors{warnings}", file=other)
    return _OK


def _schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema of the configuration file."""
    from sseproxy.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return _OK


def _example(parsed: argparse.Namespace) -> int:
    """Print a file that the package carries, or the names of all."""
    from sseproxy.shipped import find, shipped_files

    files = shipped_files()
    if parsed.name is None:
        print(*files, sep="\n")
        return _OK
    found = find(parsed.name, files)
    if len(found) == 1:
        sys.stdout.write(files[found[0]].read_text(encoding="utf-8"))
        return _OK
    if found:
        print(f"sseproxy: which of them? {' '.join(found)}", file=sys.stderr)
    else:
        hint = hint_for(parsed.name, [*files, *(path.name for path in files.values())]) or "sseproxy example names all"
        print(f"sseproxy: there is no file {parsed.name} ({hint})", file=sys.stderr)
    return _FAILED


def _healthcheck(parsed: argparse.Namespace) -> int:
    """Ask a running process how it is."""
    from sseproxy.process.healthcheck import Question, Unhealthy, admin_address

    try:
        address = admin_address(parsed.admin, parsed.config, os.environ)
        print(Question(address, "/readyz" if parsed.ready else "/healthz").ask())
    except Unhealthy as error:
        print(f"sseproxy: {error}", file=sys.stderr)
        return _FAILED
    return _OK


def _completion(parsed: argparse.Namespace) -> int:
    """Print what makes a shell complete commands, flags and files."""
    try:
        import shtab
    except ImportError:
        print("sseproxy: needs the Python package shtab: pip install 'sseproxy[completion]'", file=sys.stderr)
        return _FAILED
    print(shtab.complete(new_parser(), shell=parsed.shell))
    return _OK


def _demo(parsed: argparse.Namespace) -> int:
    """Show the gateway timeout and its cure."""
    from sseproxy import demo

    return demo.run(parsed.check, parsed.port, demo.GatewayChoice(parsed.gateway), parsed.host)


def flags_of(parsed: argparse.Namespace) -> dict[str, FlagValue]:
    """Return the values of `OVERRIDES`, by the names of their flags."""
    return {override.flag: getattr(parsed, override.argument) for override in OVERRIDES}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"


# The parser.


def new_parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser. What it has parsed says in `command` which function runs it.

    command: the only one that it has to know; if there is none of that name, it knows all.
    """
    parser = HintingParser(
        prog="sseproxy",
        description="A sidecar reverse proxy that keeps Server-Sent Event streams alive behind impatient gateways.",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"sseproxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in [COMMANDS[command]] if command in COMMANDS else COMMANDS.values():
        add(commands)
    return parser


def add_serve(commands: "Commands") -> None:
    """Add ``serve``."""
    parser = commands.add_parser("serve", help="run the proxy", epilog=SERVE_EXAMPLES, allow_abbrev=False)
    complete_files(parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML file [SSEPROXY_CONFIG]"))
    add_overrides(parser)
    parser.set_defaults(command=_serve)


def add_check(commands: "Commands") -> None:
    """Add ``check``."""
    parser = commands.add_parser("check", help="find every error of a configuration file", allow_abbrev=False)
    complete_files(parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the file"))
    parser.add_argument(
        "--print",
        action="store_true",
        help="print what holds in the end as YAML, defaults and SSEPROXY_* variables included, secrets masked",
    )
    add_overrides(parser)
    parser.set_defaults(command=_check)


def add_schema(commands: "Commands") -> None:
    """Add ``schema``."""
    parser = commands.add_parser("schema", help="print the JSON Schema of the configuration file, for editors")
    parser.set_defaults(command=_schema)


def add_example(commands: "Commands") -> None:
    """Add ``example``."""
    parser = commands.add_parser("example", help="print a file to copy, or the names of all")
    parser.add_argument("name", nargs="?", metavar="NAME", help="such as sseproxy.yaml or deploy/compose.yaml")
    parser.set_defaults(command=_example)


def add_demo(commands: "Commands") -> None:
    """Add ``demo``."""
    parser = commands.add_parser("demo", help="show the gateway timeout and its cure on this machine")
    parser.add_argument("--check", action="store_true", help="print a table and exit 0 only if the cure works")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="IP", help="such as 0.0.0.0: for browsers of other machines, too"
    )
    parser.add_argument("--port", type=int, default=0, help="where the page is served (default: a free port)")
    parser.add_argument(
        "--gateway", choices=("auto", "nginx", "embedded"), default="auto", help="the gateway (default: nginx if there)"
    )
    parser.set_defaults(command=_demo)


def add_healthcheck(commands: "Commands") -> None:
    """Add ``healthcheck``."""
    parser = commands.add_parser("healthcheck", help="ask a running process how it is", allow_abbrev=False)
    config = parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="its file, for admin.listen [SSEPROXY_CONFIG]"
    )
    complete_files(config)
    parser.add_argument("--admin", metavar="ADDR", help="where its /healthz and /readyz are served [SSEPROXY_ADMIN]")
    parser.add_argument("--ready", action="store_true", help="may requests be sent to it, too? (/readyz)")
    parser.set_defaults(command=_healthcheck)


def add_completion(commands: "Commands") -> None:
    """Add ``completion``."""
    parser = commands.add_parser("completion", help="print what makes your shell complete all this")
    parser.add_argument("shell", choices=("bash", "zsh"), help='such as: eval "$(sseproxy completion bash)"')
    parser.set_defaults(command=_completion)


def add_probe(commands: "Commands") -> None:
    """Add ``probe``."""
    from sseproxy.probe.arguments import add_arguments

    add_arguments(commands.add_parser("probe", help="find out what a chain of gateways does to a stream"))


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of `OVERRIDES`. Their values are checked with the file's, so that all errors come at once."""
    for override in OVERRIDES:
        help_text = override.explained
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


#: What adds each command to the parser, by its name.
COMMANDS: Mapping[str, Callable[["Commands"], None]] = {
    "serve": add_serve,
    "check": add_check,
    "schema": add_schema,
    "example": add_example,
    "demo": add_demo,
    "healthcheck": add_healthcheck,
    "completion": add_completion,
    "probe": add_probe,
}
