"""Does the dashboard show in a real browser what is true, and can a person use it with a keyboard and on a phone?"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support.blocking_client import Request
from tests.support.browser import wait_for
from tests.support.many_streams import ManyStreams
from tests.support.sseproxy_process import SseproxyProcess

#: A path that would be markup if it were decoded, or not encoded; and what no client can send, were it able to.
_PATH = "/%3Cimg/src=x/onerror=alert(1)%3E&lt;b&gt;'onerror=1"
_MARKUP = "<img src=x onerror=alert(2)>"


@contextlib.contextmanager
def proxy(folder: Path, upstream: str, *, workers: int = 1, admin: str = "127.0.0.1:0") -> Iterator[SseproxyProcess]:
    limits = {"streams": 4000, "streams_per_client": 4000}
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": workers, "drain": {"timeout": "100ms"}},
        "admin": {"listen": admin},
        "routes": [
            {"name": "feeds", "match": {"prefix": "/feeds"}, "upstream": upstream, "limits": limits},
            {"name": "chat", "upstream": upstream, "timeouts": {"idle": "5m"}, "limits": limits},
        ],
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with SseproxyProcess("-c", str(folder / "c.yaml"), "--no-access-log") as process:
        yield process


def console(browser: Chrome) -> list[Any]:
    """What the browser has complained about since this was last asked."""
    said: list[Any] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return said


class Board:
    """The dashboard in a browser. A test leaves it with an empty console."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    @classmethod
    @contextlib.contextmanager
    def opened(cls, browser: Chrome, process: SseproxyProcess) -> "Iterator[Board]":
        """Open it, and wait until it is up to date."""
        console(browser)
        board = cls(browser, process.urls[-1])
        browser.get(board.url)
        board.until(lambda: board.text("#state") == "Live", "it is live")
        yield board
        assert console(browser) == []
        browser.get("about:blank")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until `condition` holds. AssertionError: it never does."""
        try:
            wait_for(self.browser, lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"never: {what}\n{self.text('body')}") from None

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What is shown there, as a user sees it."""
        return self.find(selector).text

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    @property
    def paths(self) -> list[str]:
        """The paths of all rows, from the top."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('#live tbody .path')].map(node => node.textContent)"
        )
        return found

    def cell(self, path: str, selector: str) -> str:
        """The text of one cell of the row of `path`; empty: there is no such row."""
        found: str = self.run(
            "const row = [...document.querySelectorAll('#live tbody tr')]"
            ".find(row => row.querySelector('.path').textContent === arguments[0]);"
            "return row ? row.querySelector(arguments[1]).textContent : ''",
            path,
            selector,
        )
        return found

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)


@pytest.fixture
def streams() -> Iterator[ManyStreams]:
    with ManyStreams() as streams:
        yield streams


def targets(count: int, prefix: str = "/a") -> list[str]:
    return [f"{prefix}/{number}" for number in range(count)]


def test_without_streams(browser: Chrome, tmp_path: Path) -> None:
    with proxy(tmp_path, "http://127.0.0.1:9") as process, Board.opened(browser, process) as board:
        assert board.text("#none strong") == "No stream is open."
        assert board.text("#t-open .value") == "0"
        assert board.text("#ends .empty") == "No stream has ended in the last 5 minutes."
        names = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#routes tbody th")]
        assert names == ["chat", "feeds"], "the routes of the file"
        board.until(lambda: board.text("#t-events .value") == "0/s", "a rate is known")
        assert board.paths == []
        assert browser.title == "0 streams · sseproxy"


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_follow_their_streams(browser: Chrome, tmp_path: Path, streams: ManyStreams, workers: int) -> None:
    with proxy(tmp_path, streams.url, workers=workers) as process, Board.opened(browser, process) as board:
        streams.open(process.url, [*targets(4), "/feeds/1"])
        board.until(lambda: len(board.paths) == 5, "all are shown")
        assert sorted(board.paths) == [*targets(4), "/feeds/1"]
        assert board.text("#t-open .value") == "5"
        assert ("2 workers" in board.text("#where")) is (workers == 2)
        board.run("for (const row of document.querySelectorAll('#live tbody tr')) row.wasThere = true")
        for _ in range(3):
            streams.send("/a/2")
        board.until(lambda: board.cell("/a/2", "[data-label=events]") == "4", "the row has changed")
        board.until(lambda: board.paths[-1] == "/a/2", "the one that has just spoken is the last one")
        assert board.run("return [...document.querySelectorAll('#live tbody tr')].every(row => row.wasThere)")
        words = board.find("#live [role=meter]").get_attribute("aria-valuetext") or ""
        assert "a heartbeat after 15 s" in words
        assert words.endswith(("ends after 5 m (timeouts.idle)", "no limit"))  # an answer's, a feed's
        streams.leave()
        board.until(lambda: board.paths == [], "all are gone")
        board.until(lambda: "client_gone 5" in board.text("#legend").replace("\n", " "), "why they have ended")


def test_two_thousand_streams(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        streams.open(process.url, targets(2000))
        board.until(lambda: board.text("#t-open .value") == "2,000", "all are counted")
        board.until(lambda: len(board.paths) == 50, "some are shown")
        assert board.text("#shown") == "50 of 2,000, the longest silence first"
        assert board.text("#more").startswith("1,950 more are not shown")
        assert board.run("return document.querySelectorAll('*').length") < 1500
        board.press("/", *"/a/123")
        board.until(lambda: board.text("#shown") == "11 of 2,000 match", "the filter has been heard")
        assert sorted(board.paths) == ["/a/123", *(f"/a/123{number}" for number in range(10))]
        board.press(*" nonsense")
        board.until(lambda: board.text("#none strong") == "No stream matches.", "two words, and none fits")
        board.press(Keys.ESCAPE)
        board.until(lambda: len(board.paths) == 50, "without a filter again")
        assert board.run("return document.documentElement.scrollWidth <= innerWidth")


def test_the_order_is_chosen_by_a_head_of_the_table(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        streams.open(process.url, targets(3))
        board.until(lambda: len(board.paths) == 3, "all are shown")
        streams.send("/a/1")
        board.find("th[data-order=events] button").send_keys(Keys.ENTER)
        board.until(lambda: board.paths[0] == "/a/1", "the one with the most events is the first one")
        assert board.find("th[data-order=events]").get_attribute("aria-sort") == "descending"
        assert board.find("th[data-order=silence]").get_attribute("aria-sort") is None


def test_a_stream_is_ended_with_the_keyboard(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        streams.open(process.url, targets(2))
        board.until(lambda: len(board.paths) == 2, "both are shown")
        button = browser.find_elements(By.CSS_SELECTOR, "#live .end")[1]
        path = board.paths[1]
        assert path in (button.accessible_name or "")
        button.send_keys(Keys.ENTER)
        assert path in board.text("#ask")
        assert browser.switch_to.active_element.text == "Keep it"
        board.press(Keys.ESCAPE)
        assert not board.find("#ask").is_displayed()
        assert browser.switch_to.active_element == button, "back where it was"
        board.press(Keys.ENTER, Keys.TAB, Keys.ENTER)
        board.until(lambda: board.text("#said") == f"Ended: {path}", "it says so")
        assert board.paths[1] == path, "while the focus is in the table no row moves"
        assert board.cell(path, ".end") == "ended"
        board.press(Keys.ENTER)
        assert not board.find("#ask").is_displayed(), "it cannot be ended twice"
        board.find("#filter").send_keys("")
        board.run("document.activeElement.blur()")
        board.until(lambda: board.paths == [other for other in targets(2) if other != path], "it is gone")
        board.until(lambda: "killed 1" in board.text("#legend").replace("\n", " "), "it has ended for a reason")


def test_rows_hold_still_under_the_pointer(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        streams.open(process.url, targets(3))
        board.until(lambda: len(board.paths) == 3, "all are shown")
        first = board.paths[0]
        enter = "document.querySelector('#live tbody').dispatchEvent(new PointerEvent('%s', {pointerType: 'mouse'}))"
        board.run(enter % "pointerenter")
        streams.send(first)
        board.until(lambda: board.cell(first, "[data-label=events]") == "2", "its figures change")
        assert board.paths[0] == first
        board.run(enter % "pointerleave")
        board.until(lambda: board.paths[-1] == first, "it moves behind that")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [0, 5, 200])
def test_on_a_phone(browser: Chrome, tmp_path: Path, streams: ManyStreams, count: int, scheme: str) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    media = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        try:
            streams.open(process.url, [f"/{'long' * 40}/{number}" for number in range(count)])
            board.until(lambda: len(board.paths) == min(count, 50), "the streams are shown")
            assert board.run("return document.documentElement.scrollWidth") == 390
            assert (
                board.run("const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth")
                <= 0
            )
            red, *_ = board.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert (red > 128) is (scheme == "light")
            if count:
                assert board.run("return getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"
                button = board.find("#live .end").rect
                assert button["x"] + button["width"] <= 390
                assert button["height"] >= 30, "a thumb finds it"
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_markup_of_clients_is_text(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        streams.open(process.url, [_PATH])
        board.until(lambda: board.paths == [_PATH], "it is shown as it is")
        assert board.run("return document.querySelectorAll('img, #live b').length") == 0
        snapshot = json.dumps(board.run("return newest"))
        for text in ("127.0.0.1", _PATH, "chat", "generic"):
            snapshot = snapshot.replace(json.dumps(text), json.dumps(_MARKUP))
        board.run("draw(arguments[0]); rows.values().next().value.end.click()", json.loads(snapshot))
        for place in ("#live .route", "#live .path", "#live .peer", "#routes tbody", "#ask dl", "#t-silence .more"):
            assert _MARKUP in board.run("return document.querySelector(arguments[0]).textContent", place)
        assert board.run("return document.querySelectorAll('img').length") == 0
        board.run("document.querySelector('#ask').close()")


def test_the_policy_lets_no_other_script_in(browser: Chrome, tmp_path: Path) -> None:
    """Were markup inserted after all, the browser would refuse, and a script of a client would not run."""
    with proxy(tmp_path, "http://127.0.0.1:9") as process:
        browser.get(process.urls[-1])
        for markup in (
            "document.body.innerHTML = '<img src=x onerror=stolen()>'",
            "document.createElement('img').setAttribute('onerror', 'stolen()')",
            "document.createElement('script').textContent = 'stolen()'",
        ):
            found = browser.execute_script(f"try {{ {markup} }} catch (error) {{ return error.name }}")
            assert found == "TypeError", markup
        console(browser)
        away = "const picture = document.createElement('img'); picture.src = 'http://127.0.0.1:9/?stolen';"
        browser.execute_script(f"{away} document.body.append(picture)")
        said = wait_for(browser, console)
        assert "Content Security Policy" in str(said), "nor can anything be sent away"
        browser.get("about:blank")


def test_newer_dashboards_take_its_place_until_it_is_wanted_again(browser: Chrome, tmp_path: Path) -> None:
    with proxy(tmp_path, "http://127.0.0.1:9") as process, Board.opened(browser, process) as board:
        with contextlib.ExitStack() as others:
            for _ in range(4):
                other = others.enter_context(Request(process.urls[-1], "/events"))
                other.wait_for(b"\n\n")
            board.until(lambda: board.text("#state") == "Stopped", "it has been replaced")
            assert "Newer dashboards" in board.text("#notice")
        board.find("#notice button").send_keys(Keys.ENTER)
        board.until(lambda: board.text("#state") == "Live", "it is up to date again")
        assert not board.find("#notice").is_displayed()


def test_a_link_on_another_site_opens_it(browser: Chrome, tmp_path: Path) -> None:
    with proxy(tmp_path, "http://127.0.0.1:9") as process:
        browser.get(f"data:text/html,<a href='{process.urls[-1]}/'>the dashboard</a>")
        browser.find_element(By.TAG_NAME, "a").click()
        wait_for(browser, lambda driver: driver.find_element(By.ID, "state").text == "Live")
        browser.get("about:blank")


def test_it_comes_back_with_the_process(browser: Chrome, tmp_path: Path) -> None:
    with socket.socket() as reserved:  # no other process gets its port meanwhile
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with proxy(tmp_path, "http://127.0.0.1:9", admin=f"127.0.0.1:{port}") as process:
            browser.get(process.urls[-1])
            wait_for(browser, lambda driver: driver.find_element(By.ID, "state").text == "Live")
        wait_for(browser, lambda driver: driver.find_element(By.ID, "state").text == "No answer, trying again")
        with proxy(tmp_path, "http://127.0.0.1:9", admin=f"127.0.0.1:{port}"):
            wait_for(browser, lambda driver: driver.find_element(By.ID, "state").text == "Live")
            browser.get("about:blank")
        console(browser)


def test_it_can_be_held(browser: Chrome, tmp_path: Path, streams: ManyStreams) -> None:
    with proxy(tmp_path, streams.url) as process, Board.opened(browser, process) as board:
        board.find("#pause").send_keys(Keys.ENTER)
        assert board.text("#state") == "Paused"
        streams.open(process.url, targets(1))
        later = (
            "const seen = last; return new Promise(done => setInterval(() => last > seen + 1500 && done(rows.size)))"
        )
        assert board.run(later) == 0, "some snapshots later"
        board.find("#pause").send_keys(Keys.ENTER)
        board.until(lambda: board.paths == targets(1), "it goes on")
