"""Does a page with `EventSource` do what it should behind nginx: one that loses patience, and one with HTTP/2?"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from sseproxy.demo.nginx import unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.e2e.browser.pages import Page
from tests.e2e.browser.stage import Answer, End, Stage, Way
from tests.support.browser import wait_for
from tests.support.certificates import new_authority, new_certificate
from tests.support.nginx import nginx_running
from tests.support.sseproxy_process import SseproxyProcess

_CONF = Path(__file__).parents[3] / "nginx" / "http2.conf"

#: The page that everybody begins with.
_PAGE = b"""<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<ol id="shown"></ol>
<p id="state"></p>
<script>
  const stream = new EventSource('/stream');
  stream.onmessage = (event) => {
    const message = JSON.parse(event.data);
    const item = document.createElement('li');
    item.textContent = message.text;
    document.getElementById('shown').append(item);
  };
  stream.onerror = () => {
    const state = stream.readyState === EventSource.CONNECTING ? 'reconnecting' : 'closed';
    document.getElementById('state').textContent += `${state} `;
  };
</script>
"""
_SEED = Answer((_PAGE,), fields=("Content-Type: text/html",), heartbeats=0)

#: Milliseconds that nginx waits, and how many heartbeats of 50 ms last longer than that for certain.
_PATIENCE = 1500
_MANY = 45

_NGINX = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout {patience}ms;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {target}; }} }}
"""


@contextmanager
def _impatient(target: str) -> Iterator[str]:
    """nginx in front of `target`; yields its URL."""
    sock = listener()
    port = port_of(sock)
    with nginx_running(unprivileged(_NGINX.format(patience=_PATIENCE, port=port, target=target)), sock):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _kept_alive(stage: Stage) -> Iterator[Way]:
    """sseproxy in front of the stage, and the tap in front of that."""
    arguments = ("--upstream", stage.way.here, "--listen", "127.0.0.1:0", "--heartbeat", "50ms")
    with SseproxyProcess(*arguments) as proxy, stage.tapped(int(proxy.url.rpartition(":")[2])) as way:
        yield way


def _texts(browser: Chrome) -> list[str]:
    script = "return [...document.querySelectorAll('#shown li')].map((item) => item.textContent)"
    shown: list[str] = browser.execute_script(script)
    return shown


def _wait_until_shown(browser: Chrome, texts: list[str]) -> None:
    assert wait_for(browser, lambda _: (shown := _texts(browser))[len(texts) - 1 :] and shown) == texts


def _state(browser: Chrome) -> str:
    state: str = browser.execute_script("return document.getElementById('state').textContent.trim()")
    return state


def _text(text: str) -> bytes:
    return b'data: {"text": "%b"}\n\n' % text.encode()


def test_the_page_shows_each_event_at_once_and_outlasts_every_silence(stage: Stage, browser: Chrome) -> None:
    words = ["Hello", "World", "again"]
    stage.play("/seed", _SEED)
    stream = Answer((b"retry: 1\n\n", *map(_text, words)), heartbeats=_MANY, by_hand=True)
    stage.play("/stream", stream)
    with _kept_alive(stage) as way, _impatient(way.here) as url:
        browser.get(f"{url}/seed")
        stage.send_next("/stream")
        for number in range(1, len(words) + 1):
            stage.send_next("/stream")
            _wait_until_shown(browser, words[:number])
        wait_for(browser, lambda _: _state(browser) == "reconnecting closed")
        _wait_until_shown(browser, words)
        assert len(stage.requests("/stream")) == 2
        browser.get("about:blank")


def test_without_sseproxy_nginx_cuts_the_page_off(stage: Stage, browser: Chrome) -> None:
    stage.play("/seed", _SEED)
    stage.play("/stream", Answer((b"retry: 1\n\n", _text("Hello")), End.HELD))
    with _impatient(stage.way.here) as url:
        browser.get(f"{url}/seed")
        stage.wait_until_left("/stream")
        wait_for(browser, lambda _: _state(browser) == "reconnecting closed")
        _wait_until_shown(browser, ["Hello"])


def test_without_sseproxy_nginx_answers_504_and_the_page_gives_up(stage: Stage, browser: Chrome) -> None:
    stage.play("/seed", _SEED)
    stage.play("/stream", Answer(end=End.SILENT))
    with _impatient(stage.way.here) as url:
        browser.get(f"{url}/seed")
        wait_for(browser, lambda _: _state(browser) == "closed")
        assert len(stage.requests("/stream")) == 1


# HTTP/2.


@contextmanager
def _encrypted(target: str, folder: Path, *, http2: bool) -> Iterator[str]:
    """nginx/http2.conf in front of `target`; yields its URL."""
    authority = new_authority(folder)
    loopback = new_certificate(folder, authority, "loopback", "IP:127.0.0.1")
    sock = listener()
    port = port_of(sock)
    replaced = {
        r"127\.0\.0\.1:8443": f"127.0.0.1:{port}",
        r"http://127\.0\.0\.1:8090": target,
        r" certificate\.pem;": f" {loopback.certificate};",
        r" key\.pem;": f" {loopback.key};",
    }
    conf = _CONF.read_text()
    for pattern, value in replaced.items():
        conf, found = re.subn(pattern, value, conf)
        assert found
    with nginx_running(conf if http2 else conf.replace(" ssl http2;", " ssl;"), sock):
        yield f"https://127.0.0.1:{port}"


@pytest.mark.parametrize(("http2", "at_once"), [(False, 6), (True, 20)], ids=["HTTP/1.1", "HTTP/2"])
def test_how_many_are_open_at_once(stage: Stage, browser: Chrome, tmp_path: Path, http2: bool, at_once: int) -> None:
    with ExitStack() as exits:
        way = exits.enter_context(_kept_alive(stage))
        way.here = exits.enter_context(_encrypted(way.here, tmp_path, http2=http2))
        stage.play("/many", *[Answer((b"data: 1\n\n",), End.HELD)] * 20)
        page = Page(browser, stage, way)
        page.load()
        protocol = page.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert protocol == ("h2" if http2 else "http/1.1")
        for number in range(20):
            page.open(f"/many?{number}", name=f"{number}")
        stage.wait_for_requests("/many", at_once)
        wait_for(browser, lambda _: sum(["message", "1", ""] in page.log(f"{n}") for n in range(20)) == at_once)
        # The rest has been waiting for as long as it took the others to be told something.
        assert len(stage.requests("/many")) == at_once
        for number in range(20):
            page.close(f"{number}")
        browser.get("about:blank")
