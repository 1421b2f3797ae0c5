"""Does every link of every document lead somewhere, read on GitHub or in an editor?"""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, prose
from tests.test_architecture import our_files

DOCUMENTS = [path for path in our_files() if path.suffix == ".md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_a_heading_of_it(document: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text(encoding="utf-8"))):
        to, _, anchor = link.partition("#")
        if "://" in to:
            continue
        goal = document.parent / to if to else document
        if not goal.exists() or (anchor and anchor not in anchors(goal.read_text(encoding="utf-8"))):
            wrong.append(link)
    assert wrong == []


def test_there_are_links_to_look_at() -> None:
    assert sum(len(re.findall(r"\]\(", path.read_text(encoding="utf-8"))) for path in DOCUMENTS) > 200
