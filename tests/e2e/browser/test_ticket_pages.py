"""What does a browser make of a ticket's URL that somebody has slipped its user?

The service answers with a page whose script was in the request, as an echo would.
"""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser.pages import Page
from tests.e2e.browser.stage import Answer, Stage
from tests.support.browser import wait_for
from tests.support.sseproxy_process import SseproxyProcess

_FILE = """
server: {listen: 127.0.0.1:0}
routes:
  - upstream: SERVICE
    tickets: {}
"""

_SCRIPT = "<!doctype html><script>document.cookie = 'pwned=1; path=/'; fetch('/pwned')</script>"
_ECHO = Answer(
    (_SCRIPT.encode(),), heartbeats=0, fields=("Content-Type: text/html", "Set-Cookie: session=theirs; Path=/")
)


@pytest.fixture(scope="module")
def page(stage: Stage, browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    config = tmp_path_factory.mktemp("pages") / "sseproxy.yaml"
    config.write_text(_FILE.replace("SERVICE", stage.way.here))
    with SseproxyProcess("-c", str(config)) as proxy, stage.tapped(int(proxy.url.rpartition(":")[2])) as way:
        yield Page(browser, stage, way)
        browser.get("about:blank")


def _ask_only(page: Page, target: str) -> str:
    """The URL of a ticket that nobody has opened."""
    keep = f"return (await (await fetch('{target}', {{method: 'POST', body: '?'}})).json()).url"
    url: str = page.run(keep)
    return url


@pytest.mark.parametrize("way_in", ["address", "link", "frame", "script", "image", "prefetch"])
def test_a_ticket_is_no_page(page: Page, way_in: str) -> None:
    page.load()
    page.stage.play("/chat", _ECHO)
    page.stage.play("/pwned")
    page.run("document.cookie = 'pwned=; max-age=0; path=/'; document.cookie = 'session=mine; path=/'")
    url = _ask_only(page, "/_tickets/chat")
    if way_in == "address":
        page.driver.get(page.way.filled("{here}") + url)
        assert '"status": 404' in page.driver.page_source
    elif way_in == "link":
        page.run(f"location.href = '{url}'")
        wait_for(page.driver, lambda driver: '"status": 404' in driver.page_source)
    else:
        tag, source = {"frame": ("iframe", "src"), "script": ("script", "src"), "image": ("img", "src")}.get(
            way_in, ("link", "href")
        )
        page.run(f"""
            const element = Object.assign(document.createElement('{tag}'), {{rel: 'prefetch', {source}: '{url}'}});
            const done = new Promise((resolve) => element.onload = element.onerror = resolve);
            document.body.append(element);
            await done;
        """)
    assert page.stage.requests("/chat") == page.stage.requests("/pwned") == []
    page.load()
    assert "pwned" not in page.run("return document.cookie")
    read = f"const response = await fetch('{url}'); return [response.status, await response.text(), document.cookie]"
    status, text, cookies = page.run(read)
    assert (status, text) == (200, _SCRIPT)
    assert "session=mine" in cookies
    page.driver.delete_cookie("session")
