"""Does examples/redis_push bring each message to its user, and nobody else's, in real browsers too?"""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.examples.push_examples import REDIS_PUSH, RunningExample, lines_of, running_example
from tests.support.blocking_client import Request, fetch
from tests.support.browser import chromium, wait_for
from tests.support.processes import wait_until

EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def example() -> Iterator[RunningExample]:
    with running_example(REDIS_PUSH) as example:
        yield example


def post(example: RunningExample, path: str, cookie: str = "", **form: str) -> Request:
    headers = {**FORM, **({"Cookie": cookie} if cookie else {})}
    with Request(example.url, path, method="POST", headers=headers, body=urlencode(form).encode()) as request:
        request.read()
    return request


def login(example: RunningExample, user: str) -> str:
    """Return the cookie."""
    return (post(example, "/login", user=user).field("Set-Cookie") or "").partition(";")[0]


def inbox(example: RunningExample, cookie: str, position: str = "") -> Request:
    resumed = {"Last-Event-ID": position} if position else {}
    return Request(example.url, "/inbox", headers={**EVENT_SOURCE, "Cookie": cookie, **resumed})


def texts(body: bytes) -> list[str]:
    """Return the texts of the messages, in their order."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line)["text"] for line in lines]


def last_id(body: bytes) -> str:
    ids = [line.removeprefix("id: ") for line in body.decode().split("\n") if line.startswith("id: ")]
    return ids[-1]


def test_the_page_brings_its_style(example: RunningExample) -> None:
    (style,) = re.findall(rb'<link rel="stylesheet" href="([\w.]+)">', fetch(example.url, "/").body)
    answer = fetch(example.url, f"/{style.decode()}")
    assert (answer.status, answer.field("Content-Type")) == (200, "text/css")
    assert b"--accent" in answer.body


def test_a_message_reaches_its_user_alone_and_news_reach_both(example: RunningExample) -> None:
    ann, bob = login(example, "ann"), login(example, "bob")
    with inbox(example, ann) as to_ann, inbox(example, bob) as to_bob:
        assert (to_ann.status, to_bob.status) == (200, 200)
        assert post(example, "/send", ann, to="bob", text="for Bob").status == 200
        assert post(example, "/send", bob, to="ann", text="for Ann").status == 200
        to_ann.wait_for(b"for Ann")
        to_bob.wait_for(b"for Bob")
        post(example, "/send", ann, to="all", text="for all")
        to_ann.wait_for(b"for all")
        to_bob.wait_for(b"for all")
        assert (texts(to_ann.body), texts(to_bob.body)) == (["for Ann", "for all"], ["for Bob", "for all"])


def test_the_lines_for_the_shell_do_what_they_say(example: RunningExample) -> None:
    to_one, to_all, if_there = lines_of(REDIS_PUSH / "README.md", "redis-cli")
    ann, bob = login(example, "ann"), login(example, "bob")
    typing = Request(example.url, "/typing", headers={**EVENT_SOURCE, "Cookie": ann})
    with inbox(example, ann) as to_ann, inbox(example, bob) as to_bob, typing:
        example.run_line(to_one)
        to_ann.wait_for(b"only for Ann")
        example.run_line(to_all)
        to_ann.wait_for(b"for all")
        to_bob.wait_for(b"for all")
        assert (texts(to_ann.body), texts(to_bob.body)) == (["only for Ann", "for all"], ["for all"])
        assert typing.status == 200
        wait_until(lambda: example.redis.cli("PUBSUB", "NUMSUB", "typing:ann")[1] == 1)
        example.run_line(if_there)
        typing.wait_for(b"data: shell\n\n")


def test_who_was_away_gets_what_came_meanwhile_once(example: RunningExample) -> None:
    ann, bob = login(example, "ann"), login(example, "bob")
    post(example, "/send", bob, to="ann", text="one")
    with inbox(example, ann) as first:
        first.wait_for(b"one")
        had = last_id(first.body)
    post(example, "/send", bob, to="ann", text="two")
    post(example, "/send", bob, to="all", text="three")
    with inbox(example, ann, had) as second:
        second.read_until(lambda body: b"two" in body and b"three" in body)
        assert sorted(texts(second.body)) == ["three", "two"]


def test_who_is_not_logged_in_reads_nothing(example: RunningExample) -> None:
    for cookie in ("", "session=guessed", "session=ann"):
        answer = fetch(example.url, "/inbox", headers={**EVENT_SOURCE, "Cookie": cookie})
        assert answer.status == 401
    assert fetch(example.url, "/inbox?user=ann", headers={**EVENT_SOURCE, "X-User": "ann"}).status == 401


def enter(browser: Chrome, example: RunningExample, user: str) -> None:
    browser.get(f"{example.url}/")
    browser.find_element(By.CSS_SELECTOR, f"button[value={user}]").click()
    wait_for(browser, lambda driver: driver.find_element(By.ID, "who").text == user.title())


def write(browser: Chrome, to: str, text: str) -> None:
    Select(browser.find_element(By.ID, "to")).select_by_value(to)
    browser.find_element(By.ID, "text").send_keys(text)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()


def shown(browser: Chrome) -> list[str]:
    """Return what the page shows in its inbox, the newest first."""
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#inbox li p")]


def test_two_users_in_two_browsers(example: RunningExample) -> None:
    with chromium() as ann, chromium() as bob:
        enter(ann, example, "ann")
        enter(bob, example, "bob")
        write(ann, "bob", "hello Bob")
        wait_for(bob, lambda driver: shown(driver) == ["ann: hello Bob"])
        write(bob, "ann", "hello Ann")
        wait_for(ann, lambda driver: shown(driver) == ["bob: hello Ann"])
        write(bob, "all", "hello all")
        for browser, own in ((ann, "bob: hello Ann"), (bob, "ann: hello Bob")):
            wait_for(browser, lambda driver, own=own: shown(driver) == ["bob: hello all", own])  # type: ignore[misc]


def test_a_page_gets_what_came_after_redis_was_away(example: RunningExample) -> None:
    def publish(text: str) -> None:
        example.redis.cli("XADD", "inbox:ann", "*", "data", json.dumps({"from": "bob", "text": text}))

    with chromium() as ann:
        enter(ann, example, "ann")
        publish("before")
        wait_for(ann, lambda driver: shown(driver) == ["bob: before"])
        example.redis.kill()
        example.redis.restart()
        publish("after")
        wait_for(ann, lambda driver: shown(driver) == ["bob: after", "bob: before"])
