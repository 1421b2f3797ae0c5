"""One browser and one stage for all that is tried in them."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser.pages import SCRIPT, Page
from tests.e2e.browser.stage import Stage
from tests.support.browser import chromium
from tests.support.sseproxy_process import SseproxyProcess

_HEARTBEAT = "50ms"


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    with chromium(any_certificate=True) as driver:
        yield driver


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage.set_up(SCRIPT) as stage:
        yield stage


@pytest.fixture(autouse=True)
def _no_stories_of_other_tests(stage: Stage) -> None:
    stage.forget()


@pytest.fixture(scope="module", params=["direct", "through"])
def page(request: pytest.FixtureRequest, browser: Chrome, stage: Stage) -> Iterator[Page]:
    """The page straight from the service, and then everything through sseproxy with a heartbeat every 50 ms."""
    if request.param == "direct":
        page = Page(browser, stage, stage.way)
        page.load()
        yield page
        return
    arguments = ("--upstream", stage.way.here, "--listen", "127.0.0.1:0", "--heartbeat", _HEARTBEAT)
    with SseproxyProcess(*arguments) as proxy, stage.tapped(int(proxy.url.rpartition(":")[2])) as way:
        page = Page(browser, stage, way)
        page.load()
        yield page
        browser.get("about:blank")
