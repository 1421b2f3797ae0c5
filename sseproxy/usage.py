"""What does the command line say to a person who has mistyped something, or does not know where to begin?"""

import argparse
import re
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, NoReturn

EXAMPLES = """\
to begin with:
  sseproxy demo                                         see the problem and its cure
  sseproxy serve --upstream http://127.0.0.1:9000       no file is needed
  sseproxy example sseproxy.yaml > sseproxy.yaml        a file to begin with
  sseproxy check -c sseproxy.yaml                       is it right?
"""

SERVE_EXAMPLES = """\
examples:
  sseproxy serve --upstream http://127.0.0.1:9000
  sseproxy serve --upstream http://127.0.0.1:9000 --before-response 10s --admin 127.0.0.1:9090
  sseproxy serve -c sseproxy.yaml --log-level debug
Flags win over variables (in brackets), variables over the file.
A DURATION is such as 500ms, 15s or 10m. An ADDR is HOST:PORT, :PORT for all interfaces, or unix:/PATH.
"""

# Compiled where they are used: most command lines are right.
_UNKNOWN = r"(?s)unrecognized arguments: (?P<all>(?P<first>\S+).*)"
_CHOICE = r"(?s)invalid choice: '(?P<written>[^']*)' \(choose from (?P<choices>.*)\)"
#: What other servers call ``--listen``, or a part of it.
_LISTEN = r"(?<!\S)(?:--(?:host|port|bind|address)|-[pHb])(?![\w-])(?:[= ](?P<value>[^-\s]\S*))?"
_FILE = r"\S+\.ya?ml"

_ANY_WIDTH = 80


class HintingParser(argparse.ArgumentParser):
    """A parser whose errors end with what was probably meant. Parsers of its commands are of the same kind."""

    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each flag, and one without a width imports `shutil` to ask for it.
        narrow = partial(argparse.RawDescriptionHelpFormatter, width=_ANY_WIDTH)
        super().__init__(**options, formatter_class=narrow)

    def format_usage(self) -> str:
        """Return the usage, as wide as the terminal."""
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_usage()

    def format_help(self) -> str:
        """Return the help, as wide as the terminal."""
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does it. A command reports itself what it does not know: the hint is one of its own flags."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Write usage and message, and exit with 2."""
        hint = self.hint(message)
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}{f' ({hint})' if hint else ''}\n")

    def hint(self, message: str) -> str:
        """Guess what was meant; empty if it is anything."""
        unknown, choice = re.match(_UNKNOWN, message), re.search(_CHOICE, message)
        flags = [flag for action in self._actions for flag in action.option_strings]
        if unknown is not None:
            first = unknown["first"]
            if re.fullmatch(_FILE, first) and "--config" in flags:
                return f"did you mean -c {first}?"
            if re.match(_LISTEN, unknown["all"]) and "--listen" in flags:
                return f"did you mean --listen {listen_address(unknown['all'])}?"
            return hint_for(first.partition("=")[0], flags)
        if choice is not None:
            return hint_for(choice["written"], re.findall(r"[\w-]+", choice["choices"]))
        if message.endswith("required: -c/--config"):
            return f"such as {self.prog} -c sseproxy.yaml"
        return f"{self.prog} --help explains all" if message.endswith("required: COMMAND") else ""


def listen_address(words: str) -> str:
    """Return as ADDR what flags of other servers say, such as ``--host 0.0.0.0 --port 80``."""
    host, port = "127.0.0.1", "8080"
    for found in re.finditer(_LISTEN, words):
        value = found["value"] or ""
        if value.startswith("unix:"):
            return value
        if value.isdigit():
            port = value
        elif ":" in value and not value.startswith("[") and value.count(":") > 1:
            host = f"[{value}]"
        elif re.search(r":\d+$", value):
            host, _, port = value.rpartition(":")
        elif value:
            host = value
    return f"{host}:{port}"


def hint_for(word: str, known: Iterable[str]) -> str:
    """The question whether the nearest of `known` was meant; empty if none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 (most command lines need no hint)

    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def complete_files(action: argparse.Action) -> None:
    """Let shells complete files there; shtab looks for this attribute."""
    action.complete = {  # type: ignore[attr-defined]
        "bash": "_shtab_compgen_files",
        "zsh": "_files",
    }
