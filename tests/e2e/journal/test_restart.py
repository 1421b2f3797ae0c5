"""What of its runs outlives a process that is asked to end, with `store.file` and without it?"""

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.journal.service import Call, Service
from tests.e2e.journal.stand import ROUTES
from tests.support.blocking_client import Request, fetch
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import Event, parse

EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Host": "feed.test"}

_CONFIG = """
server: {{listen: "127.0.0.1:0", drain: {{timeout: 60s, spread: off}}}}
{store}
defaults: {{dialect: auto, timeouts: {{response: 15m, idle: auto}}}}
routes:
{routes}
"""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service.serving() as service:
        yield service


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Closes the requests of a test."""
    with contextlib.ExitStack() as opened:
        yield opened


def process(folder: Path, service: Service, *, keeps: bool = True) -> SseproxyProcess:
    """keeps: it has a file for its runs."""
    store = f"store: {{file: {folder / 'journal'}, secret: the-same-in-all-tests}}" if keeps else ""
    config = folder / "sseproxy.yaml"
    config.write_text(_CONFIG.format(store=store, routes=ROUTES.strip("\n")).replace("SERVICE", service.url))
    return SseproxyProcess("-c", str(config))


def heard(request: Request) -> list[Event]:
    return parse(request.body).events


def ask(url: str, service: Service, opened: contextlib.ExitStack, *said: str) -> tuple[Request, Call]:
    """Ask on the route whose answers have no name but their own, and hear so much of the answer."""
    before = len(service.calls)
    headers = {"Accept": "text/event-stream"}
    request = opened.enter_context(Request(url, "/ask", method="POST", headers=headers, body=b"{}"))
    call = service.call(before)
    call.begin()
    for each in said:
        call.say(each)
        request.wait_for(each.encode())
    return request, call


def test_with_a_file_clients_go_on_at_the_next_process(
    tmp_path: Path, service: Service, opened: contextlib.ExitStack
) -> None:
    with process(tmp_path, service) as first:
        feed = opened.enter_context(Request(first.url, "/feed", headers=EVENT_SOURCE))
        source = service.call()
        source.begin()
        for number in range(1, 4):
            source.send(f"id: {number}\ndata: {number}\n\n")
            feed.wait_for(b"data: %d" % number)
        answer, call = ask(first.url, service, opened, "one", "two")
        call.finish()
        answer.read()
        url, ids = answer.field("Content-Location") or "", [event.last_event_id for event in heard(answer)]
        first.send_signal(signal.SIGTERM)
        feed.read()  # it is sent away
        assert first.wait() == 0
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600
    calls = len(service.calls)
    with process(tmp_path, service) as second:
        assert not (tmp_path / "journal").exists()
        assert [event.data for event in heard(fetch(second.url, url))] == ["one", "two"]
        with Request(second.url, "/ask", method="POST", headers={"Last-Event-ID": ids[0]}, body=b"{}") as resumed:
            resumed.read()
            assert [event.data for event in heard(resumed)] == ["two"]
        with Request(second.url, "/feed", headers={**EVENT_SOURCE, "Last-Event-ID": "2"}) as back:
            again = service.call(calls)
            assert again.fields["Last-Event-ID"] == "3"
            again.begin()
            again.send("id: 4\ndata: 4\n\n")
            back.wait_for(b"data: 4")
            assert [event.data for event in heard(back)] == ["3", "4"]
    assert len(service.calls) == calls + 1


def test_without_a_file_a_feed_has_a_gap_and_an_answer_is_gone(
    tmp_path: Path, service: Service, opened: contextlib.ExitStack
) -> None:
    with process(tmp_path, service, keeps=False) as first:
        feed = opened.enter_context(Request(first.url, "/feed", headers=EVENT_SOURCE))
        source = service.call()
        source.begin()
        source.say("one")
        feed.wait_for(b"one")
        answer, call = ask(first.url, service, opened, "one")
        call.finish()
        answer.read()
        positions = [heard(each)[-1].last_event_id for each in (feed, answer)]
        first.send_signal(signal.SIGTERM)
        feed.read()
        assert first.wait() == 0
    calls = len(service.calls)
    with process(tmp_path, service, keeps=False) as second:
        assert fetch(second.url, answer.field("Content-Location") or "").status == 404
        with Request(second.url, "/ask", method="POST", headers={"Last-Event-ID": positions[1]}, body=b"{}") as gone:
            gone.read()
            assert gone.status == 410
        with Request(second.url, "/feed", headers={**EVENT_SOURCE, "Last-Event-ID": positions[0]}) as back:
            again = service.call(calls)
            again.begin()
            again.say("two")
            back.wait_for(b"two")
            gap, two = heard(back)
            assert json.loads(gap.data) == {"reason": "unknown", "from": positions[0], "lost": None}
            assert (gap.type, two.data) == ("gap", "two")
    assert len(service.calls) == calls + 1


def test_a_drain_lets_an_answer_finish_for_all_its_readers(
    tmp_path: Path, service: Service, opened: contextlib.ExitStack
) -> None:
    with process(tmp_path, service, keeps=False) as draining:
        answer, call = ask(draining.url, service, opened, "one")
        url = answer.field("Content-Location") or ""
        reader = opened.enter_context(Request(draining.url, url))
        reader.wait_for(b"one")
        draining.send_signal(signal.SIGTERM)
        draining.stderr.wait_for(lambda lines: any("drain" in line for line in lines))
        call.say("two")
        call.finish()
        for each in (answer, reader):
            each.read()
            assert [event.data for event in heard(each)] == ["one", "two"]
        assert draining.wait() == 0
