"""What does the file say, and at which line and column does it say it?

Scalars have the types of the YAML 1.2 core schema: ``on``, ``off``, ``yes`` and ``no`` are text, and so are dates
and ``1:30``. Values are plain data; `Document.places` knows where each of them stands.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

import yaml

from sseproxy.config.problems import ConfigProblem, Path, write_path
from sseproxy.config.substitution import Substitution, substitute
from sseproxy.config.values import BadValue, nearest

#: Bytes. Nobody writes more by hand, and everything is held in memory.
LARGEST_FILE = 1 << 20
#: Values after aliases are followed: a few nested ones could otherwise unfold to billions.
MOST_VALUES = 100_000
DEEPEST = 32

_TAG = "tag:yaml.org,2002:"
_TRUE = ("true", "True", "TRUE")


_PATTERNS = (
    ("bool", "tTfF", r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    ("null", ("~", "n", "N", ""), r"(?:~|null|Null|NULL|)\Z"),
    ("int", "-+0123456789", r"(?:[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400})\Z"),
    ("float", "-+.0123456789", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
)


class _CoreSchemaLoader(yaml.SafeLoader):
    """Composes nodes whose tags follow the YAML 1.2 core schema (section 10.3.2)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (declared by PyYAML, which changes it for no other loader)
        first: [(_TAG + name, re.compile(pattern)) for name, firsts, pattern in _PATTERNS if first in firsts]
        for first in ["", *"~nNtTfF-+.0123456789"]
    }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and its key if it has one; lines and columns count from 1."""

    value: tuple[int, int]
    key: tuple[int, int] | None = None
    is_scalar: bool = True


@dataclass(slots=True)
class Document:
    """A file, read. origins: the flag or variable that a value came from in place of the file."""

    file: str | None = None
    data: dict[str, object] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    warnings: list[ConfigProblem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)

    def problem(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note that something is wrong at `path`, or at the nearest thing above it that is there."""
        self.problems.append(self._at(path, message, hint, at_key=at_key))

    def warning(self, path: Path, message: str, hint: str = "", *, near: Path = ()) -> None:
        """Note that what `path` says can be used, and is dangerous or will surprise.

        near: where to look if nothing of `path` is in the file.
        """
        self.warnings.append(replace(self._at(path, message, hint, near=near), is_warning=True))

    def _at(self, path: Path, message: str, hint: str, *, at_key: bool = False, near: Path = ()) -> ConfigProblem:
        origin = next((self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), None)
        if origin is not None:
            return ConfigProblem(origin, 0, 0, "", message, hint)
        there = self._as_written(path)
        known = next((known for known in (*_upwards(there), *_upwards(near), ()) if known in self.places), None)
        at = (0, 0) if known is None else self.position(known, at_key=at_key or known != there)
        return ConfigProblem(self.file, *at, write_path(path), message, hint)

    def position(self, path: Path, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of a scalar, and of the key of anything larger."""
        place = self.places[path]
        return place.key if place.key and (at_key or not place.is_scalar) else place.value

    def line_of(self, path: Path) -> str:
        """`` on line 5`` for the end of a sentence; empty if the file does not have `path`."""
        return f" on line {self.position(path)[0]}" if path in self.places else ""

    def shown(self, path: Path) -> Path:
        """`path`, as far down as the file goes: a lone address stands for a list of one."""
        while path and isinstance(path[-1], int) and path not in self.places:
            path = path[:-1]
        return path

    def _as_written(self, path: Path) -> Path:
        """`path` without the positions of lists that are none in the file: what would be in them stands alone."""
        written: Path = ()
        for part in path:
            if isinstance(part, str) or (*written, part) in self.places or written not in self.places:
                written = (*written, part)
        return written

    def is_broken(self, path: Path) -> bool:
        """Whether `path`, something above it or something below it has been found wrong."""
        return any(path[: len(wrong)] == wrong[: len(path)] for wrong in self.broken)


def _upwards(path: Path) -> list[Path]:
    """`path` and all that is above it but the top."""
    return [path[:n] for n in range(len(path), 0, -1)]


def read_document(path: FilePath, environ: Mapping[str, str]) -> Document:
    """The file at `path`; what is wrong with it is in its `problems`; all that could be read is there."""
    document = Document(str(path))
    try:
        text = _read_text(path)
        node = _compose(text)
    except _Unreadable as error:
        document.problems.append(ConfigProblem(document.file, *error.at, "", error.message, error.hint))
        document.broken.add(())
        return document
    document.places[()] = Place((1, 1))
    if node is not None:
        _Walk(document, environ).read(node)
    return document


class _Unreadable(Exception):
    """Not even YAML. at: line and column, or zeros."""

    def __init__(self, message: str, at: tuple[int, int] = (0, 0), hint: str = "") -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at, hint


def _read_text(path: FilePath) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _Unreadable(f"cannot be read: {(error.strerror or 'input/output error').lower()}") from None
    except ValueError:
        raise _Unreadable("cannot be read: its name contains NUL") from None
    if len(raw) > LARGEST_FILE:
        raise _Unreadable("is larger than 1MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = _line_and_column(raw[: error.start].decode("utf-8", "replace"))
        raise _Unreadable(f"byte 0x{raw[error.start]:02x} is not UTF-8", at) from None


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _compose(text: str) -> yaml.Node | None:
    loader = None
    try:
        loader = _CoreSchemaLoader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        at = _line_and_column(text[: error.position])
        raise _Unreadable(f"character U+{error.character:04X} is not allowed in YAML", at) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    except RecursionError:
        raise _Unreadable(f"is nested deeper than {DEEPEST} levels") from None
    finally:
        if loader is not None:
            loader.dispose()


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> _Unreadable:
    mark = error.problem_mark or error.context_mark
    at = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if error.problem == "but found another document":
        return _Unreadable("a second document begins here", at, "one file holds one configuration")
    lines = text.splitlines()
    written = lines[mark.line] if mark and mark.line < len(lines) else ""
    return _Unreadable(error.problem or "is not YAML", at, _syntax_hint(written, error.problem or ""))


def _syntax_hint(written: str, problem: str) -> str:
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


class _Walk:
    """Turns nodes into data, and notes their places."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        self._left = MOST_VALUES

    def read(self, root: yaml.Node) -> None:
        self._document.places[()] = Place(_start(root))
        data = self._value(root, ())
        if isinstance(data, dict):
            self._document.data = data
        elif data is not None:
            self._wrong((), "expected a mapping at the top of the file", "such as routes: [...]")

    def _value(self, node: yaml.Node, path: Path) -> object:
        self._left -= 1
        if id(node) in self._open:
            return self._wrong(path, "an alias stands inside of what it repeats")
        if len(path) > DEEPEST:
            return self._wrong(path[:DEEPEST], f"is nested deeper than {DEEPEST} levels")
        if self._left <= 0:
            return self._wrong((), f"aliases unfold to more than {MOST_VALUES} values") if self._left == 0 else None
        self._open.add(id(node))
        try:
            return self._content(node, path)
        finally:
            self._open.remove(id(node))

    def _content(self, node: yaml.Node, path: Path) -> object:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return self._sequence(node, path)
        if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in _SCALARS:
            return self._scalar(node, path)
        return self._wrong(path, f"tag {node.tag.replace(_TAG, '!!')} is not supported")

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[object]:
        items = []
        for index, item in enumerate(node.value):
            if self._left <= 0:
                break
            here = (*path, index)
            self._document.places[here] = Place(_start(item), is_scalar=isinstance(item, yaml.ScalarNode))
            items.append(self._value(item, here))
        return items

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if self._left <= 0:
                break
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(path, "a key must be text")
                continue
            here = (*path, str(key_node.value))
            place = Place(_start(value_node), _start(key_node), isinstance(value_node, yaml.ScalarNode))
            if key_node.value in result:
                self._repeated(here, place)
            elif key_node.value == "<<":
                self._merge_key(here, place)
            else:
                self._document.places[here] = place
                result[key_node.value] = self._value(value_node, here)
        return result

    def _repeated(self, path: Path, place: Place) -> None:
        first = self._document.position(path, at_key=True)
        message = f"is given twice, first on line {first[0]}"
        self._document.problems.append(ConfigProblem(self._document.file, *_key(place), write_path(path), message))

    def _merge_key(self, path: Path, place: Place) -> None:
        self._document.places[path] = place
        self._document.problem(path, "merge keys are not supported", "routes inherit from defaults", at_key=True)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        try:
            found = substitute(node.value, self._environ)
        except BadValue as error:
            self._document.variables.update(re.findall(r"\$\{(\w+)", node.value))
            return self._wrong(path, error.message, error.hint)
        self._document.variables.update(found.names)
        return _typed(node, found)

    def _wrong(self, path: Path, message: str, hint: str = "") -> object:
        self._document.problem(path, message, hint)
        self._document.broken.add(path)
        return None


def _typed(node: yaml.ScalarNode, found: Substitution) -> object:
    return found.text if found.names else _SCALARS[node.tag.removeprefix(_TAG)](str(found.text))


def _integer(text: str) -> int | str:
    digits = text.lower()
    base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
    try:
        return int(digits, base)
    except ValueError:  # an explicit !!int before something else
        return text


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


_SCALARS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "bool": lambda text: text in _TRUE,
    "null": lambda _: None,
    "int": _integer,
    "float": _float,
}


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _key(place: Place) -> tuple[int, int]:
    return place.key or place.value


def unknown_key_hint(key: str, known: list[str], below: list[str]) -> str:
    """Where the key belongs, one level deeper; else the nearest right key, or all of them where none is near."""
    if below:
        return f"did you mean {' or '.join(below)}?"
    return nearest(key, known) or (f"one of {', '.join(known)}" if known else "")
