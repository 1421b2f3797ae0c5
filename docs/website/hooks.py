"""How do documents that are written for the repository become pages of a site?

MkDocs calls the functions that begin with `on_`. Some things differ between the two places:

- A link to a file of the repository (`../nginx/push.conf`) leads to that file on GitHub.
- Some pages lie outside of docs/, such as CONTRIBUTING.md. They are pages of the site, and links to them stay inside.
- A picture is put into its page, so that it takes the colours of the page.
- MkDocs makes a folder of each page. What HTML in a document loads lies one level higher, then.
- A bar inside of code in a table is written `\\|` for GitHub. Python-Markdown would show the backslash.

A link that leads nowhere is a warning, and an error with `--strict`.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("mkdocs.hooks.sseproxy")

#: Documents that lie elsewhere in the repository, and the pages of the site that they become.
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "deploy/README.md": "deploy.md",
    "nginx/README.md": "nginx.md",
}
SOURCES = {page: source for source, page in ELSEWHERE.items()}

_FENCE = re.compile(r"(?ms)^[ \t]*(```+|~~~+).*?^[ \t]*\1[ \t]*$")
_CODE = re.compile(r"(`+).+?\1")
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_ROW = re.compile(r"(?m)^\|.*$")
_HTML_URL = re.compile(r'( (?:src|srcset)=")(?!\w+:|/)([^"]+)')
_PICTURE = re.compile(r"(?m)^!\[([^\]]*)\]\((drawings/[\w-]+\.svg)\)$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie elsewhere. Pictures stay out: they are put into their pages."""
    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
        for image in _IMAGE.findall(text):
            place = posixpath.join(posixpath.dirname(source), image)
            files.append(File.generated(config, place, abs_src_path=str(ROOT / place)))
    for file in files:
        if file.src_uri.startswith("drawings/"):
            file.inclusion = InclusionLevel.EXCLUDED
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Rewrite links and pictures. What stands in code is left alone."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation", "toc"]
    elif "\n## " not in markdown:
        page.meta["hide"] = ["toc"]
    here = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    links = LinkRewriter(here, f"{(config.repo_url or '').rstrip('/')}")
    written, end = [], 0
    for fence in _FENCE.finditer(markdown):
        written += [links.rewrite(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    written.append(links.rewrite(markdown[end:]))
    whole = _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), "".join(written))
    whole = _HTML_URL.sub(rf"\1{'../' * page.url.count('/')}\2", whole)
    return _PICTURE.sub(figure, whole)


def figure(found: re.Match[str]) -> str:
    """Return a picture as HTML; its text stands beside it for those who do not see it."""
    alt, name = found.groups()
    drawing = (ROOT / "docs" / name).read_text(encoding="utf-8")
    drawing = re.sub(r"\n\s*\n", "\n", drawing[drawing.index("<svg") :].strip())
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
    return f'<figure class="drawing">{drawing}</figure>'


class LinkRewriter:
    """Rewrites the links of one document, whose place in the repository is `here`."""

    def __init__(self, here: str, repository: str) -> None:
        self._here = here
        self._repository = repository

    def rewrite(self, text: str) -> str:
        """Return the text with its links as the site needs them."""
        masked = _CODE.sub(lambda code: code[0].replace("](", "\0\0"), text)
        return _LINK.sub(lambda link: self.target(link[0]), masked).replace("\0\0", "](")

    def target(self, link: str) -> str:
        """Where a link leads on the site: a page, a heading, another host, or a file of the repository on its host."""
        path, mark, anchor = link.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return link
        place = posixpath.normpath(posixpath.join(posixpath.dirname(self._here), path))
        if place in ELSEWHERE:
            return f"{ELSEWHERE[place]}{mark}{anchor}"
        if place.startswith("docs/"):
            return f"{place.removeprefix('docs/')}{mark}{anchor}"
        if place.endswith((".svg", ".png")):
            return place
        if not (ROOT / place).exists():
            LOG.warning("%s has a link to %s, which is not in the repository", self._here, place)
        kind = "tree" if (ROOT / place).is_dir() else "blob"
        return f"{self._repository}/{kind}/main/{place}{mark}{anchor}"
