"""What is wrong with the configuration, or dangerous about it, and where?"""

from collections.abc import Iterable
from enum import StrEnum

from sseproxy.core.frozen import frozen

#: Keys and list positions from the top of the file down to a value.
Path = tuple[str | int, ...]


def write_path(path: Path) -> str:
    """`path` as people write it: ``routes[0].match.prefix``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Severity(StrEnum):
    """What becomes of a configuration with a problem, in the word that its line has."""

    ERROR = ""
    WARNING = "warning"  # it works, and should not stay so
    NOTE = "note"  # it works as it is meant to, and has a consequence that is easily overlooked


@frozen
class ConfigProblem:
    """One thing that is wrong, or that works and should be known.

    file: the file, or the flag or variable that a wrong value came from; ``None`` if it concerns all of them.
    line and column count from 1 and are 0 where there is none; column counts characters.
    severity: with anything but an error the configuration can be used all the same.
    """

    file: str | None
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        said = f"{self.message} ({self.hint})" if self.hint else self.message
        return ": ".join(part for part in (place, self.path, self.severity, said) if part)


class ConfigErrors(Exception):
    """All that is wrong with a configuration; one problem on each line of its text."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = in_reading_order(problems)
        super().__init__("\n".join(map(str, self.problems)))


def in_reading_order(problems: Iterable[ConfigProblem]) -> list[ConfigProblem]:
    """Each problem once, from the top of the file to its end; then those that stand at no line."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (not problem.line, problem.line, problem.column))
