"""Does `useChat({resume: true})` of the AI SDK go on after whatever a user does, and is the model asked once?

The page is that of examples/resumable_chat, built as for production.
"""

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.e2e.journal.service import Call
from tests.e2e.journal.stand import Stand, Tab, build_chat_page, closing, new_tab, opening, stand, words
from tests.examples.chat_examples import ChatPage
from tests.support.browser import chromium, wait_for

RELOADS = 20


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    built = tmp_path_factory.mktemp("built")
    page = build_chat_page(built)
    with stand(tmp_path_factory.mktemp("use-chat"), folders={"/assets": built / "assets"}) as on:
        on.service.pages["/chat"] = page
        yield on


@pytest.fixture
def page() -> Iterator[ChatPage]:
    with chromium() as driver:
        yield ChatPage(driver)


def ask(page: ChatPage, on: Stand) -> Call:
    """Ask a question; return the call of the service."""
    before = len(on.service.calls)
    page.open(f"{on.url}/chat")
    page.ask()
    call = on.service.call(before)
    assert (call.method, call.target) == ("POST", "/api/chat")
    return call


def wait_for_button(driver: Chrome, name: str) -> None:
    """Wait until the page lets the user press a button: `send` when nothing is under way, `stop` when something is."""
    wait_for(driver, lambda _: any(found.is_enabled() for found in driver.find_elements(By.ID, name)))


def test_it_is_reloaded_many_times_within_one_answer(on: Stand, page: ChatPage) -> None:
    calls = len(on.service.calls)
    call = ask(page, on)
    call.begin()
    call.say(*opening())
    said: list[str] = []
    for number in range(RELOADS):
        said.append(f"word{number}")
        call.say(*words(said[-1]))
        assert page.wait_for_words(len(said)).split() == said
        page.driver.refresh()
        assert page.wait_for_words(len(said)).split() == said
    call.say(*closing())
    call.finish()
    assert page.wait_for_end().split() == said
    assert len(on.service.calls) == calls + 1


def test_it_is_reloaded_while_the_model_thinks(on: Stand, page: ChatPage) -> None:
    calls = len(on.service.calls)
    call = ask(page, on)
    for _ in range(3):
        page.driver.refresh()
        wait_for_button(page.driver, "stop")
    call.begin()
    call.say(*opening(), *words("at", "last"), *closing())
    call.finish()
    assert page.wait_for_end() == "at last"
    assert len(on.service.calls) == calls + 1


def test_a_second_tab_has_all_of_it(on: Stand, page: ChatPage) -> None:
    calls = len(on.service.calls)
    call = ask(page, on)
    first = Tab(page.driver)
    call.begin()
    call.say(*opening(), *words("one", "two"))
    assert page.wait_for_words(2) == "one two"
    page.open_second_tab()
    assert page.wait_for_words(2) == "one two"
    call.say(*words("three"), *closing())
    call.finish()
    assert page.wait_for_end() == "one two three"
    first.look()
    assert page.wait_for_end() == "one two three"
    assert len(on.service.calls) == calls + 1


def test_an_answer_goes_on_without_its_page(on: Stand, page: ChatPage) -> None:
    call = ask(page, on)
    url = page.driver.current_url
    call.begin()
    call.say(*opening(), *words("one"))
    page.wait_for_words(1)
    page.driver.get("about:blank")
    call.say(*words("two"))
    page.driver.get(url)
    assert page.wait_for_words(2) == "one two"
    assert call.left_at is None
    call.say(*closing())
    call.finish()
    assert page.wait_for_end() == "one two"


@pytest.mark.parametrize("begun", [False, True], ids=["thinks", "is silent"])
def test_a_second_tab_stops_it_within_a_second(on: Stand, page: ChatPage, begun: bool) -> None:
    took = []
    for _ in range(3):  # a machine that is busy may be slow once
        call = ask(page, on)
        first = Tab(page.driver)
        if begun:
            call.begin()
            call.say(*opening(), *words("one"))
            page.wait_for_words(1)
        page.open_second_tab()
        second = Tab(page.driver)
        wait_for_button(page.driver, "stop")
        pressed = time.monotonic()
        page.stop()
        took.append(call.wait_until_left() - pressed)
        for tab in (second, first):
            tab.look()
            wait_for_button(page.driver, "send")
            assert page.text("status") == "ready"
            page.driver.refresh()  # nothing is under way any more
            wait_for_button(page.driver, "send")
        new_tab(page.driver)
    assert min(took) < 1.0
