"""What is a page told of a ticket that is too large, one too many, too late, unknown, or asked for again?

The page is of another origin than sseproxy, so that it can read no more than what it may.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser.pages import AGAIN, CLOSED, OPEN, Page, broke_off, message
from tests.e2e.browser.stage import Answer, End, Stage
from tests.e2e.browser.stories import QUICK
from tests.support.sseproxy_process import SseproxyProcess

_FILE = """
server: {listen: 127.0.0.1:0}
log: {level: debug}
defaults:
  heartbeat: {interval: 50ms}
  cors: {origins: [FRIEND]}
routes:
  - match: {path: /brief}
    upstream: SERVICE
    tickets: {ttl: 100ms, max_body: 16}
  - upstream: SERVICE
    tickets: {}
"""

_FUNCTIONS = """
    const keep = (path, body) => fetch(`HERE/_tickets${path}`, {method: 'POST', body});
    const url = async (response) => new URL((await response.json()).url, response.url).href;
    const told = async (response) => {
        return [response.status, response.headers.get('Retry-After'), (await response.json()).detail];
    };
"""


@pytest.fixture
def page(stage: Stage, browser: Chrome, tmp_path: Path) -> Iterator[Page]:
    config, friend = tmp_path / "sseproxy.yaml", stage.way.here
    config.write_text(_FILE.replace("SERVICE", friend).replace("FRIEND", friend))
    with SseproxyProcess("-c", str(config)) as proxy, stage.tapped(int(proxy.url.rpartition(":")[2])) as way:
        page = Page(browser, stage, way)
        page.load(friend)
        yield page
        browser.get("about:blank")
    assert "/_tickets/" in proxy.stdout.text
    assert "tkt_" not in proxy.stdout.text + proxy.stderr.text


def _run(page: Page, script: str) -> Any:
    return page.run(_FUNCTIONS.replace("HERE", page.way.here) + script)


def test_a_request_that_is_too_large(page: Page) -> None:
    status, _, detail = _run(page, "return told(await keep('/brief', 'x'.repeat(17)))")
    assert (status, detail) == (413, "The request body is larger than 16 bytes.")
    assert _run(page, "return (await keep('/brief', 'x'.repeat(16))).status") == 201


def test_more_than_one_client_may_have_kept(page: Page) -> None:
    """An eighth of 256 MiB, and each takes a little more than its body."""
    kept, last, refused = _run(
        page,
        """
        let kept = 0, last, response;
        while ((response = await keep('/chat', 'x'.repeat(2 ** 20))).status === 201) {
            last = await url(response);
            kept += 1;
        }
        return [kept, last, await told(response)];
        """,
    )
    assert (kept, refused) == (31, [503, "5", "Too many requests of this client are kept."])
    assert page.run(f"return (await fetch('{last}', {{method: 'DELETE'}})).status") == 204
    assert _run(page, "return (await keep('/chat', 'x'.repeat(2 ** 20))).status") == 201
    assert page.stage.requests("/chat") == []


def test_a_ticket_that_has_expired(page: Page) -> None:
    page.stage.play("/brief", Answer((QUICK + b"data: 1\n\n",)))
    late = _run(page, "return url(await keep('/brief', '?'))")
    script = f"let found; do found = await fetch('{late}', {{method: 'HEAD'}}); while (found.status === 200);"
    assert page.run(script + "return found.status") == 404
    page.open(late)
    assert page.over() == [CLOSED]
    assert page.stage.requests("/brief") == []


def test_a_ticket_that_nobody_has(page: Page) -> None:
    page.open("{here}/_tickets/tkt_" + "A" * 22)
    assert page.over() == [CLOSED]


# One request, whatever the browser does.


def _is_at(page: Page, messages: int) -> None:
    page.run(f"while (watched.source.log.length <= {messages}) await new Promise(requestAnimationFrame)")


def _twice_at_once(page: Page, ticket: str) -> None:
    page.open(ticket, name="other")
    assert page.over("other") == [CLOSED]
    assert page.log() == [OPEN, message("1")]
    page.close()


def _closed_and_opened_again(page: Page, ticket: str) -> None:
    page.close()
    page.stage.wait_until_left("/chat")
    page.open(ticket, name="other")
    assert page.over("other") == [CLOSED]


def _page_left_and_loaded_again(page: Page, ticket: str) -> None:
    page.driver.refresh()
    page.stage.wait_until_left("/chat")
    page.open(ticket, name="other")
    assert page.over("other") == [CLOSED]


def _read_by_fetch_too(page: Page, ticket: str) -> None:
    assert page.run(f"return (await fetch('{ticket}')).status") == 204
    page.close()


@pytest.mark.parametrize(
    "then", [_twice_at_once, _closed_and_opened_again, _page_left_and_loaded_again, _read_by_fetch_too]
)
def test_a_ticket_is_one_request(page: Page, then: Callable[[Page, str], None]) -> None:
    page.stage.play("/chat", *[Answer((QUICK + b"data: 1\n\n",), End.HELD)] * 3)
    ticket = _run(page, "return url(await keep('/chat', '?'))")
    page.open(ticket)
    _is_at(page, messages=1)
    then(page, ticket)
    assert len(page.stage.requests("/chat")) == 1


def test_a_ticket_that_was_closed_before_its_answer_is_one_request(page: Page) -> None:
    page.stage.play("/chat", *[Answer(end=End.SILENT)] * 3)
    ticket = _run(page, "return url(await keep('/chat', '?'))")
    page.open(ticket)
    page.stage.wait_for_requests("/chat", 1)
    page.close()
    page.stage.wait_until_left("/chat")
    page.open(ticket, name="other")
    assert page.over("other") == [CLOSED]
    assert len(page.stage.requests("/chat")) == 1


def test_a_service_that_breaks_off_again_and_again_is_asked_once(page: Page) -> None:
    page.stage.play("/chat", *[Answer((QUICK + b"data: 1\n\n",), End.BROKEN)] * 3)
    page.open(_run(page, "return url(await keep('/chat', '?'))"))
    assert page.over() == [OPEN, message("1"), broke_off(), AGAIN, CLOSED]
    assert len(page.stage.requests("/chat")) == 1
