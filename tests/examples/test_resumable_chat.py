"""Does an answer of examples/resumable_chat survive whatever its pages do, and was the model asked once?"""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.webdriver import Chrome

from sseproxy.demo.resume.app import ANSWER
from tests.examples.chat_examples import FOLDER, ChatPage, RunningChat, running_chat, vite
from tests.support.browser import chromium, wait_for

_WHOLE = " ".join(ANSWER.split())


@pytest.fixture(scope="module")
def chat() -> Iterator[RunningChat]:
    with running_chat() as chat:
        yield chat


@pytest.fixture(scope="module")
def urls(chat: RunningChat) -> Iterator[dict[str, str]]:
    """Where the two pages are."""
    with vite(chat.url) as url:
        yield {"plain": f"{chat.url}/", "useChat": url}


@pytest.fixture
def driver() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture(params=["plain", "useChat"])
def page(request: pytest.FixtureRequest, urls: dict[str, str], driver: Chrome) -> ChatPage:
    page = ChatPage(driver)
    page.open(urls[request.param])
    return page


def asked(page: ChatPage) -> int:
    """How often the model was asked in this conversation, as the service says."""
    name = parse_qs(urlsplit(page.driver.current_url).query)["chat"][0]
    fetched = "fetch(`/api/chat/${arguments[0]}`).then((got) => got.json()).then(arguments[1])"
    return int(page.driver.execute_async_script(fetched, name)["asked"])


def test_it_survives_whatever_its_page_does(page: ChatPage) -> None:
    """Reloads while the model thinks and in the middle, a page that has gone, a second tab."""
    first, url = page.driver.current_window_handle, page.driver.current_url
    page.ask()
    page.driver.refresh()
    for words in (3, 6):
        said = page.wait_for_words(words)
        assert _WHOLE.startswith(said)
        page.driver.refresh()
        assert page.wait_for_words(words).startswith(said)
    page.driver.get("about:blank")
    page.driver.get(url)
    page.wait_for_words(8)
    page.open_second_tab()
    assert page.wait_for_words(9).startswith(_WHOLE[:20])
    assert page.wait_for_end() == _WHOLE
    page.driver.switch_to.window(first)
    assert page.wait_for_end() == _WHOLE
    page.driver.refresh()
    assert page.wait_for_end() == _WHOLE
    assert asked(page) == 1


def test_it_is_stopped_from_the_second_tab(page: ChatPage) -> None:
    first = page.driver.current_window_handle
    page.ask()
    page.wait_for_words(2)
    page.open_second_tab()
    page.wait_for_words(2)
    page.stop()
    said = page.wait_for_end()
    page.driver.switch_to.window(first)
    assert page.wait_for_end().startswith(said[:10])
    page.driver.refresh()
    kept = page.wait_for_end()
    assert _WHOLE.startswith(kept)
    assert kept != _WHOLE
    assert asked(page) == 1


def test_another_login_finds_nothing(chat: RunningChat, driver: Chrome) -> None:
    page = ChatPage(driver)
    page.open(f"{chat.url}/")
    url = driver.current_url
    page.ask()
    page.wait_for_words(2)
    with chromium() as stranger:
        other = ChatPage(stranger)
        other.open(url)
        wait_for(stranger, lambda _: "the model was asked" in stranger.page_source)
        assert other.answer == ""
        status = "fetch(`/api/chat/${arguments[0]}/stream`).then((got) => arguments[1](got.status))"
        name = parse_qs(urlsplit(url).query)["chat"][0]
        assert stranger.execute_async_script(status, name) == 204
    assert page.wait_for_end() == _WHOLE


def test_the_versions_that_were_tried_are_pinned() -> None:
    manifest = json.loads((FOLDER / "vite" / "package.json").read_text())
    versions = {**manifest["dependencies"], **manifest["devDependencies"]}
    assert all(version[0].isdigit() for version in versions.values())
