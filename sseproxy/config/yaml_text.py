"""Is a file YAML, and if not, why and where?

Scalars have the types of the YAML 1.2 core schema: ``on``, ``off``, ``yes`` and ``no`` are text, and so are dates
and ``1:30``.
"""

import re
from pathlib import Path

import yaml

#: Bytes. No file that is written by hand is larger, and everything is held in memory.
LARGEST_FILE = 1 << 20

#: Levels of mappings and lists.
DEEPEST = 32

#: What the tags of the core schema begin with.
TAG = "tag:yaml.org,2002:"

_PATTERNS = (
    ("bool", "tTfF", r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    ("null", ("~", "n", "N", ""), r"(?:~|null|Null|NULL|)\Z"),
    ("int", "-+0123456789", r"(?:[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400})\Z"),
    ("float", "-+.0123456789", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
)


class CoreSchemaLoader(yaml.SafeLoader):
    """Composes nodes whose tags follow the YAML 1.2 core schema (section 10.3.2)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (declared by PyYAML, which changes it for no other loader)
        first: [(TAG + name, re.compile(pattern)) for name, firsts, pattern in _PATTERNS if first in firsts]
        for first in ["", *"~nNtTfF-+.0123456789"]
    }


class Unreadable(Exception):
    """Not even YAML. at: line and column, or zeros."""

    def __init__(self, message: str, at: tuple[int, int] = (0, 0), hint: str = "") -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at, hint

    @classmethod
    def syntax(cls, error: yaml.MarkedYAMLError, text: str) -> "Unreadable":
        """What the parser complains of, with a guess at what was meant."""
        mark, problem = error.problem_mark or error.context_mark, error.problem or ""
        at = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        if problem == "but found another document":
            return cls("a second document begins here", at, "one file holds one configuration")
        lines = text.splitlines()
        written = lines[mark.line] if mark and mark.line < len(lines) else ""
        return cls(problem or "is not YAML", at, syntax_hint(written, problem))


def syntax_hint(written: str, problem: str) -> str:
    """Guess how to put right the line `written`, of which the parser says `problem`; empty if it is anything."""
    if "\\t" in problem:
        return "indent with blanks, not with tabs"
    if re.search(r"\[[0-9a-fA-F:]*:[0-9a-fA-F:]*\]:\d", written):
        return "put an IPv6 address in quotes"
    if "stream end" in problem or "end of stream" in problem:
        return "a bracket or a quote is not closed"
    if "expected <block end>" in problem:
        return "is the indentation right?"
    if "${" in written:
        return "inside [] and {}, put ${...} in quotes"
    return ""


def read_text(path: Path) -> str:
    """The text of a file. Raises `Unreadable`."""
    try:
        with path.open("rb") as file:
            # One byte more than is allowed tells a file that is too large from one that just fits.
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {(error.strerror or 'input/output error').lower()}") from None
    except ValueError:
        raise Unreadable("cannot be read: its name contains NUL") from None
    if len(raw) > LARGEST_FILE:
        raise Unreadable("is larger than 1MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = _line_and_column(raw[: error.start].decode("utf-8", "replace"))
        raise Unreadable(f"byte 0x{raw[error.start]:02x} is not UTF-8", at) from None


def compose(text: str) -> yaml.Node | None:
    """The nodes of one YAML document, without values; ``None`` if it is empty. Raises `Unreadable`."""
    loader = None
    try:
        # The constructor reads ahead, and raises for characters that YAML does not allow.
        loader = CoreSchemaLoader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        at = _line_and_column(text[: error.position])
        raise Unreadable(f"character U+{error.character:04X} is not allowed in YAML", at) from None
    except yaml.MarkedYAMLError as error:
        raise Unreadable.syntax(error, text) from None
    except RecursionError:
        raise Unreadable(f"is nested deeper than {DEEPEST} levels") from None
    finally:
        if loader is not None:
            loader.dispose()


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")
