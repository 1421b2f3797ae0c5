"""What does the file say, and at which line and column does it say it?

Values are plain data; `Document.places` has the place of each of them, and `Document.origins` those that do
not come from the file at all. How a file is read is in `reading`.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from sseproxy.config.problems import ConfigProblem, Path, Severity, write_path
from sseproxy.core.frozen import frozen


@frozen
class Place:
    """Where a value stands, and its key if it has one; lines and columns count from 1."""

    value: tuple[int, int]
    key: tuple[int, int] | None = None
    is_scalar: bool = True


@dataclass(slots=True)
class Document:
    """A file, read. origins: the flag or variable that a value came from in place of the file.

    variables: names in the file, all of them. substituted: the values that hold one.
    """

    file: str | None = None
    data: dict[str, object] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    warnings: list[ConfigProblem] = field(default_factory=list)
    notes: list[ConfigProblem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    substituted: set[Path] = field(default_factory=set)

    def problem(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note that something is wrong at `path`, or at the nearest thing above it that is there."""
        self.problems.append(self._at(path, message, hint, at_key=at_key))

    def warning(self, path: Path, message: str, hint: str = "", *, near: Path = ()) -> None:
        """Note that what `path` says can be used, and is dangerous or will surprise.

        near: where to look if nothing of `path` is in the file.
        """
        self.warnings.append(replace(self._at(path, message, hint, near=near), severity=Severity.WARNING))

    def note(self, path: Path, message: str, hint: str = "") -> None:
        """Note that what `path` says has a consequence that is easily overlooked."""
        self.notes.append(replace(self._at(path, message, hint), severity=Severity.NOTE))

    def _at(self, path: Path, message: str, hint: str, *, at_key: bool = False, near: Path = ()) -> ConfigProblem:
        # A value that a flag has put there has no line; what stands at its path in the file was not read.
        origin = next((self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins), None)
        if origin is not None:
            return ConfigProblem(origin, 0, 0, "", message, hint)
        # A value that stands alone where a list may be has no position of its own in the file.
        there: Path = ()
        for part in path:
            if isinstance(part, str) or (*there, part) in self.places or there not in self.places:
                there = (*there, part)
        known = next((known for known in (*_upwards(there), *_upwards(near), ()) if known in self.places), None)
        at = (0, 0) if known is None else self.position(known, at_key=at_key or known != there)
        return ConfigProblem(self.file, *at, write_path(path), message, hint)

    def position(self, path: Path, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of a scalar, and of the key of anything larger."""
        place = self.places[path]
        return place.key if place.key and (at_key or not place.is_scalar) else place.value

    def line_of(self, path: Path) -> str:
        """`` on line 5`` for the end of a sentence; empty if the file does not have `path`, or there are no lines."""
        line = self.position(path)[0] if path in self.places else 0
        return f" on line {line}" if line else ""

    def shown(self, path: Path) -> Path:
        """`path`, as far down as the file goes: a lone address stands for a list of one."""
        while path and isinstance(path[-1], int) and path not in self.places:
            path = path[:-1]
        return path

    @property
    def route_count(self) -> int:
        """How many routes there are, right or wrong."""
        routes = self.data.get("routes")
        return len(routes) if isinstance(routes, list) else 0

    def put(self, path: Path, value: object, origin: str) -> None:
        """Put `value` at `path`; what was there, and what was found wrong with it, holds no longer."""
        parent = self._mapping_at(path[:-1], is_made=True)
        if parent is not None:
            parent[path[-1]] = value
            self.origins[path] = origin
            self.broken -= {wrong for wrong in self.broken if wrong[: len(path)] == path}

    def remove(self, path: Path) -> None:
        """Remove what is at `path`, if anything is."""
        parent = self._mapping_at(path[:-1], is_made=False)
        if parent is not None:
            parent.pop(path[-1], None)
            self.places.pop(path, None)

    def _mapping_at(self, path: Path, *, is_made: bool) -> dict[str | int, Any] | None:
        """The mapping at `path`, or ``None``. is_made: sections that are left out on the way are made."""
        data: Any = self.data
        for part in path:
            if not isinstance(data, list if isinstance(part, int) else dict):
                # A value that is no section has been found wrong, and there is nothing below it.
                return None
            holder: Any = data
            data = holder[part] if isinstance(part, int) else holder.get(part)
            if data is None and is_made:
                data = holder[part] = {}
        return data if isinstance(data, dict) else None

    def is_broken(self, path: Path) -> bool:
        """True if `path`, something above it or something below it has been found wrong."""
        return any(path[: len(wrong)] == wrong[: len(path)] for wrong in self.broken)


def _upwards(path: Path) -> list[Path]:
    """`path` and all that is above it but the top."""
    return [path[:n] for n in range(len(path), 0, -1)]
