"""Does the page in examples/eventsource do what it shows, by itself and as the second page of the demo?"""

import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from sseproxy.config.loader import load
from tests.support.browser import wait_for
from tests.support.programs import require
from tests.support.server_process import ServerProcess
from tests.support.sseproxy_process import SseproxyProcess

_ROOT = Path(__file__).parents[3]
_APP = _ROOT / "examples" / "eventsource" / "app.py"
_FILE = _APP.with_name("sseproxy.yaml")


@contextmanager
def _example(name: str = "127.0.0.1") -> Iterator[str]:
    """The command in the first line, on ports that the kernel chooses; yields the page's URL, with that name in it."""
    service, proxy = _APP.read_text().splitlines()[0].removeprefix("# ").split(" & ")
    assert shlex.split(proxy)[:2] == ["sseproxy", "serve"]
    arguments = [str(_ROOT / word) if "/" in word else word for word in shlex.split(proxy)[2:]]
    with ExitStack() as exits:
        page, other = (exits.enter_context(_address()) for _ in range(2))
        command = shlex.split(service.replace("9000", "0"))
        app = exits.enter_context(ServerProcess(*command, f"http://{other}"))
        flags = ("--upstream", app.url, "--listen", page, "--listen", other)
        origin = f"http://{page.replace('127.0.0.1', name)}"
        environment = {"PAGE_ORIGIN": origin}
        with SseproxyProcess(*arguments, *flags, environment=environment) as process:
            assert process.urls == [f"http://{page}", f"http://{other}"]
            yield f"{origin}/"
        app.ask_to_end()
        app.wait()
    assert "Traceback" not in app.output.text


@contextmanager
def _address() -> Iterator[str]:
    """One to listen on, on a port that the kernel gives to nobody else meanwhile."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def _demo(gateway: str) -> Iterator[str]:
    command = [sys.executable, "-m", "sseproxy", "demo", "--gateway", gateway]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        yield next(filter(None, (re.search(r"http://\S+/eventsource/", line) for line in process.stdout)))[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with _example() as url:
        yield url


def _text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def _ask(browser: Chrome, *, model: str = "answers", elsewhere: bool = False) -> None:
    where = browser.find_element(By.ID, "where")
    wait_for(browser, lambda _: _other(browser).is_enabled())
    Select(where).select_by_index(int(elsewhere))
    Select(browser.find_element(By.ID, "model")).select_by_value(model)
    browser.find_element(By.ID, "send").click()


def _other(browser: Chrome) -> WebElement:
    """The other origin, as one may choose it."""
    return browser.find_elements(By.CSS_SELECTOR, "#where option")[1]


def _told(browser: Chrome) -> list[str]:
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#told span")]


def _log_in(browser: Chrome, url: str) -> None:
    browser.get(url)
    browser.find_element(By.ID, "login").click()
    wait_for(browser, lambda _: _text(browser, "who").startswith("logged in"))


@pytest.fixture
def page(browser: Chrome, url: str) -> Iterator[Chrome]:
    """The page, logged in."""
    _log_in(browser, url)
    yield browser
    browser.delete_all_cookies()
    browser.get("about:blank")


def test_the_example_is_short() -> None:
    assert len(_APP.read_text().splitlines()) <= 70


def test_the_example_is_one_command_as_it_stands() -> None:
    """Service, page and sseproxy agree about their addresses without being told any."""
    config = load(_FILE, flags={}, environ={})
    page, other = (f"http://{address}" for address in config.server.listen)
    assert runpy.run_path(str(_APP))["make_app"].__defaults__ == (other,)
    assert _APP.read_text().splitlines()[1].endswith(f'Then open {page}/"""')
    assert [set(route.cors.origins) for route in config.routes if route.cors is not None] == [{page}]


def test_there_are_heartbeats_where_the_page_speaks_of_them() -> None:
    """Before the response and within it, in each silence of the service."""
    (silence,) = map(float, re.findall(r"sleep\((\d+) if number in", _APP.read_text()))
    chat = load(_FILE, flags={}, environ={}).routes[0].heartbeat
    assert chat.interval is not None
    assert chat.before_response is not None
    assert 2 * chat.interval < silence
    assert chat.before_response < silence


def test_the_button_waits_for_the_login_and_says_so(browser: Chrome, url: str) -> None:
    browser.get(url)
    browser.execute_script("sessionStorage.clear()")
    browser.refresh()
    send = browser.find_element(By.ID, "send")
    assert not send.is_enabled()
    assert send.get_attribute("aria-describedby") == "status"
    assert _text(browser, "status").startswith("Log in first")
    _log_in(browser, url)
    wait_for(browser, lambda _: browser.find_element(By.ID, "send").is_enabled())
    browser.refresh()
    assert browser.find_element(By.ID, "send").is_enabled()


def test_a_login_that_is_over_is_refused(page: Chrome) -> None:
    page.delete_all_cookies()
    _ask(page)
    wait_for(page, lambda _: _text(page, "status").startswith("Refused: The request lacks the cookie"))


def test_an_answer_comes_whole_and_the_browser_stops_by_itself(page: Chrome) -> None:
    _ask(page)
    wait_for(page, lambda _: _text(page, "state") == "CLOSED")
    assert _text(page, "status") == "Whole."
    assert _text(page, "answer").endswith("be asked to stop.")
    told = _told(page)
    host = urlsplit(page.current_url).netloc
    assert told[:2] == [f"POST: 201 from {host}", f"open, at {host}"]
    assert told[2:-2] == ["message, the first of many", "[DONE]", "end"]
    assert [what.partition(":")[0] for what in told[-2:]] == ["error, CONNECTING", "error, CLOSED"]
    wait_for(page, lambda _: "sent everything" in _text(page, "seen"))
    assert re.search(r"POST /chat/completions\s+Authorization\s+Bearer \S+\s+Cookie\s+none\s", _text(page, "seen"))


def _check_other_origins(browser: Chrome) -> None:
    """The page asks at another origin; a page of a third one does in vain, though it knows the ticket."""
    _ask(browser, elsewhere=True)
    wait_for(browser, lambda _: _text(browser, "status") == "Streaming…")
    page, other = _host(browser), urlsplit(_other(browser).get_attribute("value") or "").netloc
    assert _told(browser)[:2] == [f"POST: 201 from {other}", f"open, at {other}"]
    browser.switch_to.frame("stranger")
    assert len({page, other, _host(browser)}) == 3
    assert _text(browser, "origin") == f"http://{_host(browser)}"
    browser.find_element(By.ID, "try").click()
    got = wait_for(browser, lambda _: (got := browser.find_elements(By.CSS_SELECTOR, "dd[class]"))[2:] and got)
    assert [each.text for each in got] == ["nothing"] * 3
    ticket = browser.execute_script("return location.hash.slice(1)")
    browser.switch_to.default_content()
    wait_for(browser, lambda _: _text(browser, "state") == "CLOSED")
    assert _text(browser, "status") == "Whole."
    # The last that the service saw is the page's own request: the other page's came behind it, and never got there.
    last = "return document.querySelector('#seen article').innerText"
    wait_for(browser, lambda _: "sent everything" in browser.execute_script(last))
    assert re.findall(r"Authorization\s+(\w+) .*\s+Cookie\s+(.*)\s+Host\s+(.*)\s", _text(browser, "seen"))[0] == (
        ("Bearer", "none", other)
    )
    # The ticket that the other page knew was worth something, and still is: to whoever it belongs to.
    assert urlsplit(ticket).path.startswith("/_tickets/tkt_")
    opens = "fetch(arguments[0], {credentials: 'include'}).then((got) => (got.body.cancel(), arguments[1](got.status)))"
    assert browser.execute_async_script(opens, ticket) == 200


def _host(browser: Chrome) -> str:
    host: str = browser.execute_script("return location.host")
    return host


def test_another_name_of_the_same_machine_is_another_site(browser: Chrome) -> None:
    """The cookie of `localhost` does not go to 127.0.0.1: the page does not offer it, and sseproxy says why."""
    with _example("localhost") as url:
        _log_in(browser, url)
        hint = wait_for(browser, lambda _: (text := _other(browser).text).startswith("another: ") and text)
        assert hint == f"another: open this page at {url.replace('localhost', '127.0.0.1').removesuffix('/')}"
        assert not _other(browser).is_enabled()
        assert not browser.find_element(By.ID, "foreign").is_displayed()
        status, detail = browser.execute_async_script(
            "const [done] = [...arguments].slice(-1);"
            "fetch('origins').then((got) => got.json()).then(({other}) => fetch("
            "`${other}/_tickets/chat/completions`, {method: 'POST', credentials: 'include', body: '{}'}))"
            ".then(async (got) => done([got.status, (await got.json()).detail]), (error) => done([0, String(error)]))"
        )
        assert (status, detail.count("localhost and 127.0.0.1 are two sites")) == (400, 1), detail
        browser.delete_all_cookies()
        browser.get("about:blank")


def test_it_asks_at_another_origin_and_nobody_else_does(page: Chrome) -> None:
    _check_other_origins(page)


@pytest.mark.parametrize("gateway", ["embedded", "nginx"])
def test_the_demo_runs_it(browser: Chrome, gateway: str) -> None:
    if gateway == "nginx":
        require("nginx")
    with _demo(gateway) as url:
        browser.get(url.removesuffix("eventsource/"))
        assert browser.find_element(By.LINK_TEXT, "the second page").get_attribute("href") == url
        _log_in(browser, url)
        _ask(browser)
        wait_for(browser, lambda _: _text(browser, "status") == "Whole.")
        _check_other_origins(browser)
        browser.delete_all_cookies()
        browser.get("about:blank")


def test_an_answer_that_breaks_off_is_told_and_not_asked_for_again(page: Chrome) -> None:
    _ask(page, model="breaks-off")
    wait_for(page, lambda _: _text(page, "status") == "Broken off.")
    assert _text(page, "state") == "CLOSED"
    wait_for(page, lambda _: "broke off" in _text(page, "seen"))


def test_stop_reaches_the_service(page: Chrome) -> None:
    _ask(page)
    wait_for(page, lambda _: _text(page, "status") == "Streaming…")
    page.find_element(By.ID, "stop").click()
    wait_for(page, lambda _: "DELETE: 204" in _told(page))
    assert _text(page, "status") == "Stopped."
    wait_for(page, lambda _: "the client left" in _text(page, "seen"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(page: Chrome, scheme: str) -> None:
    """Text and what it stands on differ enough (WCAG 2.2, 1.4.3: 4.5 to 1)."""
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    colours = page.execute_script(
        "const style = getComputedStyle(document.documentElement);"
        "return Object.fromEntries(['ground', 'card', 'text', 'quiet', 'accent', 'good', 'bad']"
        ".map((name) => [name, style.getPropertyValue(`--${name}`).trim()]))"
    )
    pairs = [("text", "card"), ("text", "ground"), ("quiet", "card"), ("quiet", "ground"), ("card", "accent")]
    pairs += [("good", "card"), ("bad", "card"), ("accent", "ground")]
    assert min(_contrast(colours[one], colours[other]) for one, other in pairs) >= 4.5
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_page_fits_a_phone(page: Chrome) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
