"""Can each command line of sseproxy that a document shows be typed like that?"""

import re
import shlex
from pathlib import Path

import pytest

from sseproxy.cli import new_parser
from tests.docs.pages import ROOT, blocks
from tests.test_architecture import our_files

#: A line of a shell that runs sseproxy, perhaps with variables before it or a pipe behind it.
_LINE = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*sseproxy (?P<words>[a-z].*?)(?:  +#.*| *[|>].*)?$")


def commands() -> list[tuple[Path, str]]:
    """The arguments in all documents but the list of changes, which also tells of the past."""
    return [
        (document.relative_to(ROOT), found["words"].strip())
        for document in our_files()
        if document.suffix == ".md" and document.name != "CHANGELOG.md"
        for language, block in blocks(document.read_text(encoding="utf-8"))
        if language in ("", "console", "sh")
        for line in block.splitlines()
        if (found := _LINE.match(line.partition("…")[0])) and "…" not in line
    ]


COMMANDS = commands()


def test_there_are_commands_of_many_kinds() -> None:
    assert len(COMMANDS) > 18
    assert {words.split()[0] for _, words in COMMANDS} >= {"serve", "check", "probe", "example", "schema"}


@pytest.mark.parametrize(("document", "words"), COMMANDS, ids=str)
def test_a_command_can_be_typed_like_that(document: Path, words: str) -> None:
    new_parser().parse_args(shlex.split(words))
