"""Who can do what with a ticket across origins that is bound to a login which no script can read?

The page is from one origin, sseproxy at another, and the ticket's request is logged in by the cookie that binds it. All
origins are of one site, so that the browser sends the cookie wherever a script asks for it: nothing but sseproxy stands
between a foreign page and the stream.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.e2e.browser.pages import AGAIN, CLOSED, OPEN, Page, message
from tests.e2e.browser.stage import STREAM, Answer, Stage
from tests.e2e.browser.stories import QUICK
from tests.support.sseproxy_process import SseproxyProcess

_FILE = """
server: {listen: 127.0.0.1:0}
defaults:
  heartbeat: {interval: 50ms}
routes:
  - match: {path: /chat/completions}
    upstream: SERVICE
    tickets: {bind: "cookie:session"}
    auth: {cookie: session}
    end: {}
    cors: {origins: [FRIEND], credentials: true}
  - upstream: SERVICE
"""

#: What the service says about other origins does not count.
_ANSWER = Answer(
    (QUICK + b"data: Hel\n\n", b"data: lo\n\n", b"data: [DONE]\n\n"), fields=(STREAM, "Access-Control-Allow-Origin: *")
)
_WHOLE = [OPEN, message("Hel"), message("lo"), message("[DONE]"), AGAIN, CLOSED]

_QUESTION = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Who am I? 😀"}]}
_KEEP = """
    const response = await fetch(TARGET, {
        method: 'POST',
        headers: {'Content-Type': 'application/json', 'X-Team': 'blue'},
        body: JSON.stringify(QUESTION),
        credentials: 'include',
    });
    return [response.status, new URL((await response.json()).url, response.url).href];
"""
_REFUSED = "TypeError: Failed to fetch"


@dataclass(frozen=True, slots=True)
class Site:
    """The browser, and the origins of pages: one that sseproxy lets in, and one that it does not."""

    page: Page
    friend: str
    stranger: str

    def log_in(self, session: str) -> None:
        """At sseproxy's origin, and go to the friend's page."""
        self.page.load()
        self.page.stage.play(
            "/login", Answer(status="204 No Content", fields=(f"Set-Cookie: session={session}; HttpOnly; Path=/",))
        )
        self.page.run("await fetch('/login', {method: 'POST'})")
        self.page.load(self.friend)
        assert self.page.run("return document.cookie") == "token=s3cret"

    def log_out(self) -> None:
        self.page.driver.delete_cookie("session")

    def keep(self) -> Any:
        """The status and the ticket's URL, or what the browser says in place of them."""
        target = json.dumps(self.page.way.filled("{here}/_tickets/chat/completions?x=%20y"))
        return self.page.run(_KEEP.replace("TARGET", target).replace("QUESTION", json.dumps(_QUESTION)))

    def read(self, url: str, **options: str) -> Any:
        """The status that a script is told, or what the browser says in place of it."""
        return self.page.run(f"return (await fetch('{url}', {json.dumps(options)})).status")

    def check_open(self, url: str) -> None:
        """From here it can be opened, and nobody has done it before."""
        assert self.page.stage.requests("/chat") == []
        self.page.open(url, credentials=True)
        assert self.page.over() == _WHOLE
        assert len(self.page.stage.requests("/chat")) == 1


@pytest.fixture(scope="module")
def origins(stage: Stage) -> tuple[str, str]:
    """The service's own two, before anything stands in front of it."""
    return stage.way.here, stage.way.other


@pytest.fixture(scope="module")
def proxy(origins: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SseproxyProcess]:
    config = tmp_path_factory.mktemp("logins") / "sseproxy.yaml"
    friend, _ = origins  # the service's first one, too
    config.write_text(_FILE.replace("SERVICE", friend).replace("FRIEND", friend))
    with SseproxyProcess("-c", str(config)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def page(stage: Stage, browser: Chrome, proxy: SseproxyProcess) -> Iterator[Page]:
    with stage.tapped(int(proxy.url.rpartition(":")[2])) as way:
        yield Page(browser, stage, way)
        browser.get("about:blank")


@pytest.fixture
def site(origins: tuple[str, str], page: Page) -> Iterator[Site]:
    """The friend's page, and its user is logged in."""
    site = Site(page, *origins)
    site.log_in("owners")
    page.stage.play("/chat", _ANSWER, _ANSWER)
    yield site
    site.log_out()


def test_the_owner_reads_the_answer_and_the_service_sees_the_login(site: Site) -> None:
    status, url = site.keep()
    assert status == 201
    site.check_open(url)
    (request,) = site.page.stage.requests("/chat")
    assert (request.method, request.target) == ("POST", "/chat/completions?x=%20y")
    assert json.loads(request.body) == _QUESTION
    wanted = {"content-type": "application/json", "x-team": "blue", "accept": "*/*", "origin": site.friend}
    assert {name: request.fields[name] for name in wanted} == wanted
    assert (request.fields["authorization"], request.fields["cookie"]) == ("Bearer owners", "token=s3cret")


@pytest.mark.parametrize("session", ["thiefs", None], ids=["another login", "no login"])
def test_nobody_else_opens_it(site: Site, session: str | None) -> None:
    _, url = site.keep()
    site.log_out()
    if session is not None:
        site.log_in(session)
    site.page.open(url, name="thief", credentials=True)
    assert site.page.over("thief") == [CLOSED]
    for method in ("GET", "DELETE"):
        assert site.read(url, method=method, credentials="include") == 404
    site.log_in("owners")
    site.check_open(url)


def test_without_credentials_it_is_nobodys(site: Site) -> None:
    _, url = site.keep()
    site.page.open(url, name="forgetful")
    assert site.page.over("forgetful") == [CLOSED]
    assert site.read(url, credentials="omit") == 404
    site.check_open(url)


def test_a_foreign_page_gets_nothing_though_it_has_login_and_ticket(site: Site) -> None:
    _, url = site.keep()
    site.page.load(site.stranger)
    assert site.keep() == _REFUSED
    site.page.open(url, name="stranger", credentials=True)
    assert site.page.over("stranger") == [CLOSED]
    for method in ("GET", "DELETE"):
        assert site.read(url, method=method, credentials="include") == _REFUSED
    assert site.read(url, mode="no-cors", credentials="include") == 0
    site.page.load(site.friend)
    site.check_open(url)


_SHOWN = """
    const element = document.createElement('TAG');
    const ended = new Promise(resolve => { element.onload = element.onerror = () => resolve('ended'); });
    element.src = 'URL';
    document.body.append(element);
    return await ended;
"""
_NO_CORS = "return (await fetch('URL', {mode: 'no-cors', credentials: 'include'})).type"


#: How a page of another origin has something asked for without asking first, and what it is told.
SHOWN = [(_SHOWN.replace("TAG", "img"), "ended"), (_SHOWN.replace("TAG", "script"), "ended"), (_NO_CORS, "opaque")]


@pytest.mark.parametrize(("script", "told"), SHOWN, ids=["img", "script", "no-cors"])
@pytest.mark.parametrize("path", ["/chat/completions", "/_tickets/chat/completions"])
def test_what_a_foreign_page_shows_is_neither_logged_in_nor_kept(
    site: Site, proxy: SseproxyProcess, script: str, told: str, path: str
) -> None:
    """None of these has an `Origin`, and all have the cookie."""
    site.page.load(site.stranger)
    refused = len(_refused(proxy.stdout.lines, path))
    assert site.page.run(script.replace("URL", site.page.way.here + path)) == told
    proxy.stdout.wait_for(lambda lines: len(_refused(lines, path)) == refused + 1)
    assert site.page.stage.requests("/chat") == []


@pytest.mark.parametrize(("script", "told"), SHOWN, ids=["img", "script", "no-cors"])
def test_another_site_has_nothing_kept(site: Site, proxy: SseproxyProcess, script: str, told: str) -> None:
    """To the browser, 127.0.0.1 and localhost are two sites, and no cookie goes along."""
    path = "/_tickets/chat/completions"
    site.page.load(site.stranger.replace("127.0.0.1", "localhost"))
    assert site.page.run("return location.hostname") == "localhost"
    refused = len(_refused(proxy.stdout.lines, path))
    assert site.page.run(script.replace("URL", site.page.way.here + path)) == told
    proxy.stdout.wait_for(lambda lines: len(_refused(lines, path)) == refused + 1)


def test_a_link_of_another_site_is_logged_in(site: Site) -> None:
    site.page.load(site.stranger.replace("127.0.0.1", "localhost"))
    site.page.driver.execute_script("location.href = arguments[0]", site.page.way.here + "/chat/completions")
    (request,) = site.page.stage.wait_for_requests("/chat", 1)
    assert request.fields["authorization"] == "Bearer owners"


def _refused(lines: list[str], path: str) -> list[str]:
    return [line for line in lines if f"path={path} status=403" in line]
