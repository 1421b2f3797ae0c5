"""Does an unchanged app with the real flask-sse library reach its pages through sseproxy?"""

import ast
import json
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By

from tests.examples.push_examples import FLASK_SSE, RunningExample, running_example
from tests.support.blocking_client import Request, fetch
from tests.support.browser import chromium, wait_for
from tests.support.processes import wait_until

EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@pytest.fixture(scope="module")
def example() -> Iterator[RunningExample]:
    with running_example(FLASK_SSE) as example:
        yield example


def subscribed(example: RunningExample, count: int = 1) -> None:
    wait_until(lambda: example.redis.cli("PUBSUB", "NUMSUB", "sse")[1] == count)


def test_the_app_does_not_know_of_sseproxy() -> None:
    names = {
        node.module
        for node in ast.walk(ast.parse((FLASK_SSE / "app.py").read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert names == {"flask", "flask_sse"}


def test_what_the_app_publishes_comes_as_the_library_would_send_it(example: RunningExample) -> None:
    with Request(example.url, "/stream", headers=EVENT_SOURCE) as stream:
        assert stream.status == 200
        subscribed(example)
        assert fetch(example.url, "/hello").body == b"Message sent!"
        stream.wait_for(b"\n\n")
        stream.read_until(lambda body: b"Hello" in body and body.endswith(b"\n\n"))
    fields = dict(line.split(": ", 1) for line in stream.body.decode().split("\n") if line and line[0] != ":")
    assert fields["event"] == "greeting"
    assert json.loads(fields["data"]) == {"message": "Hello!"}
    assert "id" not in fields


def test_many_streams_are_one_subscription_and_no_request_of_the_app(example: RunningExample) -> None:
    streams = [Request(example.url, "/stream", headers=EVENT_SOURCE) for _ in range(50)]
    try:
        assert {stream.status for stream in streams} == {200}
        subscribed(example)
        fetch(example.url, "/hello")
        for stream in streams:
            stream.wait_for(b"Hello!")
    finally:
        for stream in streams:
            stream.close()
    assert "/stream" not in example.app.output.text


def test_a_client_cannot_name_a_channel(example: RunningExample) -> None:
    with Request(example.url, "/stream?channel=secret", headers=EVENT_SOURCE) as stream:
        assert stream.status == 200
        subscribed(example)
        assert example.redis.cli("PUBLISH", "secret", json.dumps({"data": "for others"})) == 0
        fetch(example.url, "/hello")
        stream.wait_for(b"Hello!")
        assert b"for others" not in stream.body


def test_its_page_shows_what_is_published(example: RunningExample) -> None:
    with chromium() as browser:
        browser.get(f"{example.url}/")
        subscribed(example)
        fetch(example.url, "/hello")
        wait_for(browser, lambda driver: "The server says Hello!" in driver.find_element(By.ID, "greetings").text)
