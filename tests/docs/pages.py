"""What do tests need of the documents: their code, their headings, the site that is made of them?"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```")


def build(folder: Path, *, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build the site of the repository at `root` strictly, as `make docs` does, into `folder`.

    Not with `--quiet`: MkDocs would not count the warnings then, and every site would be right.
    """
    command: list[str | Path] = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120)


def blocks(text: str) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    return _FENCE.findall(text)


def prose(text: str) -> str:
    """A document without its code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a document as GitHub makes them, and those that are written out."""
    without_code = _FENCE.sub("", text)
    titles = re.findall(r"(?m)^#+ +(.+?) *$", without_code)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)"', without_code))


@dataclass
class HtmlPage(HTMLParser):
    """A page of the site: what it loads, where its links lead, which anchors it has."""

    text: str
    loaded: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.ids |= {said[name] for name in ("id", "name") if name in said}
        if tag == "a" and "href" in said:
            self.links.append(unquote(said["href"]))
        elif tag == "link" and said.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(said.get("href", ""))
        self.loaded += [said[name] for name in ("src", "srcset", "data", "poster") if name in said]
