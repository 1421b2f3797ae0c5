"""Is the site whole: every page in it, every link right, nothing from another host?"""

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.docs.pages import DOCS, ROOT, HtmlPage, build
from tests.support.browser import chromium, wait_for

REPOSITORY = "https://github.com/sseproxy/sseproxy"

#: Each kind of page: pictures, long tables, much code.
LOOKED_AT = ("", "start/", "concepts/", "clocks/", "reference/", "gateways/", "need/", "ends/", "changelog/")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, HtmlPage]:
    found = {path: HtmlPage(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(found) > len(list(DOCS.glob("*.md")))
    return found


def test_every_link_leads_to_a_page_and_a_heading_of_it(site: Path, pages: dict[Path, HtmlPage]) -> None:
    wrong, seen = [], 0
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the host's root
            continue
        for link in page.links:
            to, _, anchor = link.partition("#")
            if "://" in to or to.startswith("mailto:"):
                continue
            seen += 1
            goal = (path.parent / to).resolve() if to else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.exists() or (anchor and goal in pages and anchor not in pages[goal].ids):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []
    assert seen > 500


def test_everything_that_a_page_loads_is_there(site: Path, pages: dict[Path, HtmlPage]) -> None:
    loaded = {(path, url) for path, page in pages.items() if path.name != "404.html" for url in page.loaded}
    assert {url for path, url in loaded if not (path.parent / url.partition("?")[0]).resolve().is_file()} == set()


def test_every_link_to_the_repository_leads_to_a_file_of_it(pages: dict[Path, HtmlPage]) -> None:
    links = {link for page in pages.values() for link in page.links if link.startswith(f"{REPOSITORY}/")}
    files = [link.partition("/main/")[2].partition("#")[0] for link in links if "/main/" in link]
    assert len(files) > 20
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_no_page_and_no_style_loads_anything_from_another_host(site: Path, pages: dict[Path, HtmlPage]) -> None:
    loaded = {(path.name, url) for path, page in pages.items() for url in page.loaded}
    assert len(loaded) > 5
    assert {url for _, url in loaded if re.match(r"(?:[a-z]+:)?//", url)} == set()
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert any("@media" in style for style in styles)
    assert [
        found for style in styles for found in re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", style)
    ] == []


def test_pictures_are_in_their_pages_and_can_be_read_aloud(pages: dict[Path, HtmlPage]) -> None:
    named = set(re.findall(r"\]\((drawings/[\w-]+\.svg)\)", "".join(page.read_text() for page in DOCS.glob("*.md"))))
    assert named == {f"drawings/{picture.name}" for picture in (DOCS / "drawings").glob("*.svg")}
    drawn = [
        drawing for page in pages.values() for drawing in re.findall(r"<figure class=.drawing.><svg [^>]*>", page.text)
    ]
    assert len(drawn) > len(named)
    assert all(re.search(r'role="img" aria-label="[^"]{40,}"', drawing) for drawing in drawn)


def test_a_mistake_ends_the_build(tmp_path: Path) -> None:
    """In a copy of the documents, with the rest of the repository around it."""
    root = tmp_path / "repository"
    docs = root / "docs"
    shutil.copytree(DOCS, docs)
    shutil.copyfile(ROOT / "mkdocs.yml", root / "mkdocs.yml")
    for path in ROOT.iterdir():
        if path.name not in ("docs", "mkdocs.yml", "build"):
            (root / path.name).symlink_to(path)
    mistakes = ["nowhere.md", "clocks.md#no-such-heading", "../nginx/no-such.conf", "/clocks/"]
    with (docs / "limits.md").open("a", encoding="utf-8") as file:
        file.writelines(f"\n[away]({mistake})\n" for mistake in mistakes)
    (docs / "forgotten.md").write_text("# A page that is not in the navigation\n")
    done = build(tmp_path / "site", root=root)
    assert done.returncode == 1
    names = ["nowhere.md", "no-such-heading", "nginx/no-such.conf", "/clocks", "forgotten.md"]
    said = done.stdout + done.stderr
    assert [name for name in names if name not in said] == [], said


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the site, and writes no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def shows(driver: Chrome, script: str) -> object:
    return driver.execute_script(f"return {script}")


@pytest.fixture(scope="module")
def window(address: str) -> Iterator[Chrome]:
    """One browser for all tests, since it takes longer to start than to look at a page."""
    with chromium() as driver:
        driver.get(address)
        yield driver


def test_a_browser_asks_no_other_host_and_scrolls_no_page_sideways(window: Chrome, address: str) -> None:
    # The window itself is never as narrow as a telephone.
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        for page in LOOKED_AT:
            window.get(address + page)
            wait_for(window, lambda driver: shows(driver, "document.readyState === 'complete'"))
            asked = json.loads(str(shows(window, "JSON.stringify(performance.getEntries().map(e => e.name))")))
            urls = [url for url in asked if re.match(r"\w+://", url)]
            assert len(urls) > 3
            assert [url for url in urls if not url.startswith(address)] == []
            assert shows(window, "document.documentElement.scrollWidth") == 390, page
    finally:
        window.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_is_for_those_who_have_chosen_dark(window: Chrome, address: str) -> None:
    lightness = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        window.get(f"{address}clocks/")
        colours = [
            str(shows(window, f"getComputedStyle(document.querySelector('{what}')).{which}"))
            for what, which in (("body", "backgroundColor"), ("figure.drawing text", "fill"))
        ]
        lightness.append([sum(map(float, re.findall(r"[\d.]+", colour)[:3])) for colour in colours])
    (light_page, dark_ink), (dark_page, light_ink) = lightness
    assert light_page > 600 > dark_page
    assert dark_ink < 384 < light_ink


def test_a_command_is_copied_without_its_prompt_and_its_output(window: Chrome, address: str) -> None:
    window.get(f"{address}start/")
    wait_for(window, lambda driver: shows(driver, "document.querySelectorAll('[data-clipboard-target]').length > 5"))
    button = "//div[contains(@class, 'highlight')][contains(., '504 after 5.0')]//button[@data-clipboard-target]"
    window.find_elements("xpath", button)[0].click()
    wait_for(window, lambda driver: shows(driver, "document.querySelector('.md-dialog--active') !== null"))
    window.find_element("css selector", ".md-search__input").send_keys(Keys.CONTROL, "v")
    copied = wait_for(window, lambda driver: str(shows(driver, "document.querySelector('.md-search__input').value")))
    assert copied.startswith("curl -s -o answer.html")
    assert "504 after" not in copied


def test_the_search_finds_a_key(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    assert any("before_response" in entry["text"] for entry in index["docs"])
