"""What does the command line say to a person who has mistyped something, or does not know where to begin?"""

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

EXAMPLES = """\
to begin with:
  sseproxy demo                                         see the problem and its cure
  sseproxy serve --upstream http://127.0.0.1:9000       no file is needed
  sseproxy example sseproxy.yaml > sseproxy.yaml        a file to begin with
  sseproxy check -c sseproxy.yaml                       is it right?
"""

_UNKNOWN = re.compile(r"unrecognized arguments: (?P<all>(?P<first>\S+).*)", re.DOTALL)
_CHOICE = re.compile(r"invalid choice: '(?P<written>[^']*)' \(choose from (?P<choices>.*)\)", re.DOTALL)
_FILE = re.compile(r"\S+\.ya?ml")


class HintingParser(argparse.ArgumentParser):
    """A parser whose errors end with what was probably meant. Parsers of its commands are of the same kind."""

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
        unknown, choice = _UNKNOWN.match(message), _CHOICE.search(message)
        flags = [flag for action in self._actions for flag in action.option_strings]
        if unknown is not None:
            first = unknown["first"]
            if _FILE.fullmatch(first) and "--config" in flags:
                return f"did you mean -c {first}?"
            return hint_for(first.partition("=")[0], flags)
        if choice is not None:
            return hint_for(choice["written"], re.findall(r"[\w-]+", choice["choices"]))
        if message.endswith("required: -c/--config"):
            return f"such as {self.prog} -c sseproxy.yaml"
        return f"{self.prog} --help explains all" if message.endswith("required: COMMAND") else ""


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
