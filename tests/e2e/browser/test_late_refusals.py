"""Does a browser stop asking an app that has refused late, whichever worker it comes back to?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser import refusing_apps
from tests.e2e.browser.pages import AGAIN, CLOSED, OPEN, Page
from tests.e2e.browser.stage import Stage, Way
from tests.support.processes import wait_until
from tests.support.server_process import ServerProcess

_COMMANDS = {
    "uvicorn": ("uvicorn", "tests.e2e.browser.refusing_apps:app", "--port", "0", "--workers", "2", "--lifespan", "off"),
    "aiohttp": ("python", refusing_apps.__file__),
}


@dataclass(frozen=True, slots=True)
class App:
    """A served app, and the page in the browser."""

    page: Page
    record: Path

    def came(self, where: str, path: str) -> list[str]:
        """The last ids of the requests that came to the server, or to the app; ``-`` for none."""
        lines = [line.split() for line in self.record.read_text().splitlines()]
        return [last for came_to, came_for, last in lines if (came_to, came_for) == (where, path)]


@pytest.fixture(scope="module", params=_COMMANDS)
def app(
    request: pytest.FixtureRequest, browser: Chrome, stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    record = tmp_path_factory.mktemp("late") / "record"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(refusing_apps.RECORD, str(record))
        server = ServerProcess(*_COMMANDS[request.param])
    with server:
        page = Page(browser, stage, Way(request.param, server.url, server.url))
        page.load()
        yield App(page, record)
        browser.get("about:blank")


@pytest.mark.parametrize("status", [204, 404])
def test_it_comes_back_once_and_is_closed(app: App, status: int) -> None:
    path = f"/late/{status}"
    app.page.open(path)
    log = app.page.over()
    told = [(entry[0], json.loads(entry[1])["status"]) for entry in log if isinstance(entry[1], str)]
    assert told == ([] if status == 204 else [("error", status)])
    assert [entry for entry in log if not isinstance(entry[1], str)] == [OPEN, AGAIN, CLOSED]
    first, again = app.came("server", path)
    assert first == "-"
    assert again.startswith("sseproxy-end-")
    assert app.came("app", path) == ["-"]


def test_it_asks_again_where_the_answer_may_be_another(app: App) -> None:
    app.page.open("/late/503")
    wait_until(lambda: len(app.came("app", "/late/503")) > 1)
    app.page.close()
    assert app.came("app", "/late/503")[:2] == ["-", "-"]
