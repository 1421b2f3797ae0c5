"""Is every mistake reported, all at once, with its place and in exactly these words?

The table is in broken/*.txt: after ``===`` what is wrong, then the file, and after ``>>>`` all that is said about it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.config.reading import complaints

TABLE = Path(__file__).parent / "broken"
FILES = ("shapes", "values", "combinations", "browsers", "authorize", "push", "journal")
ENVIRON = {"LEVEL": "loud", "EMPTY": ""}


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """One row of the table."""

    what: str
    text: str
    said: list[str]


def rows(name: str) -> Iterator[BrokenFile]:
    for row in (TABLE / name).read_text(encoding="utf-8").removeprefix("=== ").split("\n\n=== "):
        what, _, rest = row.partition("\n")
        text, _, said = ("\n" + rest).partition("\n>>>\n")
        yield BrokenFile(what, text.removeprefix("\n") + "\n" if text else "", said.splitlines())


def said_about(broken: BrokenFile, folder: Path) -> list[str]:
    (folder / "c.yaml").write_text(broken.text, encoding="utf-8")
    return complaints(Path("c.yaml"), environ=ENVIRON)


@pytest.mark.parametrize(
    "broken",
    [row for name in FILES for row in rows(f"{name}.txt")],
    ids=lambda broken: broken.what,
)
def test_the_message_is_exactly_this(broken: BrokenFile, folder: Path) -> None:
    assert said_about(broken, folder) == broken.said


@pytest.mark.parametrize("broken", list(rows("certificates.txt")), ids=lambda broken: broken.what)
def test_the_message_about_certificates_is_exactly_this(broken: BrokenFile, pem_folder: Path) -> None:
    assert said_about(broken, pem_folder) == broken.said


def test_the_table_is_long() -> None:
    names = [row.what for file in TABLE.iterdir() for row in rows(file.name)]
    assert len(set(names)) == len(names) > 75
