"""Does docs/journal.md tell the truth of what each key of a journal changes: login, gap, `again`, `stop`, `detach`?"""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.journal.stand import Stand, stand
from tests.e2e.journal.test_journal_manual import ANN, EVENT_SOURCE, ask, data, delete
from tests.support.blocking_client import Request, fetch
from tests.support.whatwg import parse

_MORE = """
  - name: private
    match: {path: /feed, host: private.test}
    upstream: SERVICE
    journal: {kind: feed, login: [cookie:session]}
  - name: public
    match: {path: /feed}
    upstream: SERVICE
    journal: {kind: feed, login: anyone, keep: {events: 3}}
  - name: joined
    match: {path: /ask}
    upstream: SERVICE
    journal: {kind: answer, key: "header:Idempotency-Key", login: [cookie:session], again: join}
  - name: chat
    match: {path: /api/chat}
    upstream: SERVICE
    authorize: {url: "SERVICE/whoami"}
    journal:
      kind: answer
      key: "body:id"
      login: [cookie:session]
      detach: 50ms
      resume: {path: "/api/chat/{key}/stream"}
      stop: {path: "/api/chat/{key}/stop", methods: [POST]}
"""


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("manual"), _MORE) as on:
        yield on


def test_a_feed_takes_only_the_login_that_it_names_upstream(more: Stand) -> None:
    sent = {"Cookie": "session=ann; theme=dark", "Authorization": "Bearer secret", **EVENT_SOURCE}
    for host, cookie in (("private.test", "session=ann"), ("public.test", None)):
        before = len(more.service.calls)
        with Request(more.url, "/feed", headers={**sent, "Host": host}):
            call = more.service.call(before)
            assert call.fields.get("Cookie") == cookie
            assert "Authorization" not in call.fields
    assert fetch(more.url, "/feed", headers={**EVENT_SOURCE, "Host": "private.test"}).status == 400


def test_what_a_feed_no_longer_has_is_a_gap(more: Stand) -> None:
    before = len(more.service.calls)
    with Request(more.url, "/feed?gap", headers=EVENT_SOURCE) as request:
        call = more.service.call(before)
        call.begin()
        for number in range(1, 7):
            call.say(str(number))
            request.wait_for(b"data: %d" % number)
        first, *_ = (event.last_event_id for event in parse(request.body).events)
        with Request(more.url, "/feed?gap", headers={**EVENT_SOURCE, "Last-Event-ID": first}) as again:
            again.wait_for(b"data: 6")
            gap, *rest = parse(again.body).events
            assert gap.type == "gap"
            assert json.loads(gap.data) == {"reason": "trimmed", "from": first, "lost": 2}
            assert [event.data for event in rest] == ["4", "5", "6"]


def test_a_retry_with_the_same_key_joins(more: Stand) -> None:
    key = {"Idempotency-Key": "one", "Accept": "text/event-stream"}
    first, call = ask(more, "/ask", **key)
    with first, Request(more.url, "/ask", method="POST", headers={**ANN, **key}, body=b"{}") as second:
        call.begin()
        assert second.status == 200  # it has joined
        call.say("one")
        call.finish()
        assert data(first.read()) == data(second.read()) == ["one"]
        assert more.service.calls[-1] is call


def test_stop_has_a_path_of_its_own(more: Stand) -> None:
    request, call = ask(more, "/api/chat", "s")
    with request:
        call.begin()
        call.say("one")
        request.wait_for(b"one")
        with Request(more.url, "/api/chat/s/stop", method="POST", headers=ANN) as stop:
            stop.read()
            assert stop.status == 204
        call.wait_until_left()
        assert data(request.read()) == ["one"]


def test_a_login_that_was_withdrawn_neither_resumes_nor_stops(more: Stand) -> None:
    url = "/api/chat/w/stream"
    request, call = ask(more, "/api/chat", "w")
    with request:
        call.begin()
        call.say("one")
        request.wait_for(b"one")
        more.service.withdrawn.add("ann")
        try:
            assert fetch(more.url, url, headers=ANN).status == 401
            assert delete(more, url) == 401
            call.say("two")
            request.wait_for(b"two")
        finally:
            more.service.withdrawn.clear()
        assert delete(more, url) == 204
        call.wait_until_left()


def test_an_answer_without_readers_is_stopped_after_a_while(more: Stand) -> None:
    request, call = ask(more, "/api/chat", "d")
    call.begin()
    call.say("one")
    request.wait_for(b"one")
    request.close()
    call.wait_until_left()
