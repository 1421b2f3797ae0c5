"""Do the command, the table and the file of README promise the same, and so the files that people copy?"""

import re
from pathlib import Path

import pytest

from sseproxy.config.loader import load
from tests.docs.pages import ROOT, blocks
from tests.test_architecture import our_files

README = (ROOT / "README.md").read_text(encoding="utf-8")

#: README's first command, as flags.
COMMAND = {"--upstream": "http://127.0.0.1:9000", "--before-response": "10s"}

COPIED = [ROOT / "config/sseproxy.yaml", ROOT / "nginx/sseproxy.yaml", *sorted(ROOT.glob("deploy/**/sseproxy.yaml"))]


def assert_answers_like_the_command(file: Path) -> None:
    """The table is about every path: no route of a service may have other heartbeats or clocks for its silence."""
    (wanted,) = load(None, flags=COMMAND, environ={}).routes
    routes = [route for route in load(file, flags={}, environ={}).routes if route.redis is None]
    assert [route.name for route in routes] == ["chat", "everything-else"]
    for route in routes:
        assert route.heartbeat == wanted.heartbeat, route.name
        assert (route.timeouts.response, route.timeouts.idle) == (wanted.timeouts.response, wanted.timeouts.idle)


def test_the_command_is_the_one_in_the_readme() -> None:
    flags = " ".join(f"{flag} {value}" for flag, value in COMMAND.items())
    assert f"$ sseproxy serve {flags}\n" in README


def test_the_file_of_the_readme_does_what_its_command_does(tmp_path: Path) -> None:
    (text,) = (block for language, block in blocks(README) if language == "yaml")
    file = tmp_path / "sseproxy.yaml"
    file.write_text(text, encoding="utf-8")
    assert_answers_like_the_command(file)


@pytest.mark.parametrize("file", COPIED, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_to_copy_does_what_the_command_does(file: Path) -> None:
    assert_answers_like_the_command(file)


def test_no_document_installs_a_package_that_is_not_published() -> None:
    """From an index, the name may be a package of another author."""
    named = re.compile(r"pip install (?:\S+ )*?\W?sseproxy\b")
    documents = [path for path in our_files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]
    documents += [path for path in our_files() if path.is_relative_to(ROOT / "deploy")]
    assert [path for path in documents if named.search(path.read_text(encoding="utf-8"))] == []
