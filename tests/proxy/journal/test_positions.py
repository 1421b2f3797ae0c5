"""Who gets ids, and where does a client go on that brings one? (contract of the journal: positions)"""

import pytest

from tests.support.run_stand import EVENT_SOURCE, JSON, TAKES_IDS, RunStand, at, data_of, id_of
from tests.support.settled import eventually

ANSWER = "name: a, match: {path: /a}, journal: {kind: answer}"
KEYED = "name: a, match: {path: /a}, journal: {kind: answer, key: 'query:c', login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
COOKIE = b"Cookie: s=one"
GOOGLE = b"X-Goog-Api-Client: genai/1"
FETCH_EVENT_SOURCE = (b"Accept: text/event-stream", b"User-Agent: Mozilla/5.0")


def with_ids(ids: str) -> str:
    return f"name: a, match: {{path: /a}}, journal: {{kind: answer, ids: {ids}}}"


@pytest.mark.parametrize(
    ("route", "fields", "has_ids"),
    [
        (ANSWER, TAKES_IDS, True),
        (ANSWER, FETCH_EVENT_SOURCE, True),
        (ANSWER, (), False),
        (ANSWER, (b"Accept: */*",), False),
        (ANSWER, (b"Accept: application/json, text/event-stream",), False),
        (ANSWER, (*TAKES_IDS, GOOGLE), False),
        (ANSWER, (*TAKES_IDS, b"User-Agent: google-genai-sdk/1.2"), False),
        (with_ids("always"), (), True),
        (with_ids("always"), (*TAKES_IDS, GOOGLE), True),
        (with_ids("never"), TAKES_IDS, False),
        (with_ids("never"), EVENT_SOURCE, False),
    ],
)
async def test_who_gets_ids(route: str, fields: tuple[bytes, ...], has_ids: bool) -> None:
    async with RunStand.serve(route) as on:
        tab, _ = await on.open(b"POST /a", *fields, body=b"{}", first=b"data: 1\n\ndata: 2\n\n")
        events = await tab.events(2)
        assert data_of(events) == [b"1", b"2"]
        run = on.run.name
        assert [id_of(each) for each in events] == ([run + b".1-1", run + b".1-2"] if has_ids else [None, None])


async def test_who_has_brought_a_position_gets_ids_whatever_it_accepts() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        other = await on.read(b"POST /a", at(position), b"Accept: */*", body=b"{}")
        await call.send(b"data: 2\n\n")
        assert await other.event() == b"id: " + on.run.name + b".1-2\ndata: 2"


async def test_the_sdk_that_breaks_on_ids_gets_exactly_what_the_upstream_sent() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, GOOGLE, body=b"{}", first=b"event: x\ndata: 1\n\n")
        await call.send(b"data: 2\n\n")
        await call.finish()
        assert await tab.ending() == ([b"event: x\ndata: 1", b"data: 2"], True)


async def test_only_an_event_source_gets_an_id_before_the_first_event() -> None:
    async with RunStand.serve(FEED) as on:
        first, call = await on.open(b"GET /f", *EVENT_SOURCE)
        run = on.run.name
        assert await first.event() == b"id: " + run + b".1-0"
        second = await on.read(b"GET /f", *TAKES_IDS)
        await call.send(b"data: 1\n\n")
        for tab in (first, second):
            assert await tab.event() == b"id: " + run + b".1-1\ndata: 1"


async def test_by_its_first_id_a_browser_gets_all_that_came_since() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE)
        primer = id_of(await tab.event()) or b""
        await tab.leave()
        await on.attended(0)
        await call.send(b"data: 1\n\ndata: 2\n\n")
        await eventually(lambda: on.run.state.seq == 2)
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(primer))
        assert data_of(await back.events(3)) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/a", (b"Last-Event-ID: %b",)),
        (b"/a?last-event-id=%b", ()),
        (b"/a?lastEventId=%b", ()),
        (b"/a?last_event_id=%b&x=y", ()),
        (b"/a?last%%2Devent%%2Did=%b", ()),
        (b"/a?last-event-id=nonsense", (b"Last-Event-ID: %b",)),  # an EventSource keeps its first URL
    ],
)
async def test_a_position_in_the_field_or_in_the_query(target: bytes, fields: tuple[bytes, ...]) -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
        position = id_of(await tab.event()) or b""
        where = target % position if b"%b" in target else target
        back = await on.read(b"POST " + where, *(each % position for each in fields), body=b"{}")
        assert data_of(await back.events(2)) == [b"2", b"3"]
        await call.send(b"data: 4\n\n")
        assert data_of([await back.event()]) == [b"4"]
        assert len(on.calls) == 1


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"OPTIONS"])
async def test_what_resumes_never_reaches_the_upstream_whatever_its_method(method: bytes) -> None:
    async with RunStand.serve("name: a, match: {path: /a}, journal: {kind: answer}") as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        body = None if method == b"GET" else b'{"expensive": true}' * 1000
        back = await on.read(method + b" /a", at(position), JSON, body=body)
        await call.send(b"data: 2\n\n")
        assert data_of([await back.event()]) == [b"2"]
        assert b"expensive" not in on.upstream.received
        assert len(on.calls) == 1


async def test_a_body_that_is_still_on_its_way_does_not_keep_a_client_from_resuming() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        back = await on.client()
        await back.peer.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\n" + at(position) + b"\r\nContent-Length: 9\r\n\r\n{")
        await back.reading()
        await call.send(b"data: 2\n\n")
        assert data_of([await back.event()]) == [b"2"]
        assert len(on.calls) == 1


async def test_a_client_that_has_everything_waits_for_what_comes() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        position = id_of(await tab.event()) or b""
        back = await on.read(b"POST /a", at(position), body=b"{}")
        await call.send(b"data: 2\n\n")
        await call.finish()
        assert [data_of((await each.ending())[0]) for each in (tab, back)] == [[b"2"], [b"2"]]


# Positions that are not known.


@pytest.mark.parametrize("position", [b"AAAAAAAAAAAAAAAAAAAAAA.1-1", b"AAAAAAAAAAA.1-1", b"AAAAAAAAAAAAAAAAAAAAAA.0-0"])
async def test_an_unknown_position_of_an_answer_is_gone(position: bytes) -> None:
    async with RunStand.serve(ANSWER) as on:
        for fields in (TAKES_IDS, EVENT_SOURCE, ()):
            response = await on.ask(b"POST /a", *fields, at(position), body=b"{}")
            assert (response.status, response.one(b"Content-Type")) == (410, b"application/problem+json")
        assert on.calls == []


async def test_a_position_ahead_of_its_run_is_gone() -> None:
    async with RunStand.serve(ANSWER) as on:
        await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        for mark in (b".1-2", b".2-1", b".2-0", b".18446744073709551615-0"):
            assert (await on.ask(b"POST /a", at(on.run.name + mark), body=b"{}")).status == 410
        assert len(on.calls) == 1


async def test_an_unknown_position_of_a_feed_is_a_gap_that_is_told_once() -> None:
    async with RunStand.serve(FEED) as on:
        _, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\ndata: 2\n\n")
        await eventually(lambda: on.run.state.seq == 2)
        lost = await on.read(b"GET /f", *EVENT_SOURCE, at(b"AAAAAAAAAAA.1-7"))
        gap = await lost.event()
        run = on.run.name
        data = b'{"reason": "unknown", "from": "AAAAAAAAAAA.1-7", "lost": null}'
        assert gap == b"event: gap\nid: " + run + b".1-0\ndata: " + data
        assert data_of(await lost.events(2)) == [b"1", b"2"]
        await lost.leave()
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(run + b".1-0"))
        await call.send(b"data: 3\n\n")
        assert data_of(await back.events(4)) == [b"1", b"2", b"3"]
        assert len(on.calls) == 1


async def test_an_unknown_position_opens_a_feed_and_does_not_reach_the_upstream() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f?last-event-id=AAAAAAAAAAA.1-7&x=y", *TAKES_IDS, at(b"AAAAAAAAAAA.1-7"))
        assert call.request.target == b"/f?x=y"
        assert call.request.all(b"Last-Event-ID") == []
        assert b'"reason": "unknown"' in await tab.event()
        await call.send(b"data: 1\n\n")
        assert data_of([await tab.event()]) == [b"1"]


async def test_who_takes_no_ids_hears_of_no_gap_but_is_refused() -> None:
    async with RunStand.serve("name: f, match: {path: /f}, journal: {kind: feed, login: anyone, ids: never}") as on:
        await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        assert (await on.ask(b"GET /f", *EVENT_SOURCE, at(b"AAAAAAAAAAA.1-7"))).status == 410
        assert (await on.ask(b"GET /f", *EVENT_SOURCE, GOOGLE, at(on.run.name + b".9-9"))).status == 410


async def test_who_takes_no_ids_is_broken_off_where_events_are_lost() -> None:
    route = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
    async with RunStand.serve(route) as on:
        plain, call = await on.open(b"GET /f", first=b"data: 1\n\n")
        other = await on.read(b"GET /f", *TAKES_IDS)
        assert data_of([await plain.event()]) == [b"1"]
        await call.finish()  # it names no events, so nothing says where it goes on
        again = await on.call(1)
        await again.begin(first=b"data: 2\n\n")
        assert await plain.ending() == ([], False)
        gap, event = await other.events(2)
        assert b'"reason": "upstream"' in gap
        assert event.endswith(b"data: 2")


async def test_events_that_are_trimmed_are_a_gap_with_their_number() -> None:
    route = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone, keep: {events: 2}}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        for number in range(1, 6):
            await call.send(b"data: %d\n\n" % number)
            await tab.event()
        run = on.run.name
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(run + b".1-1"))
        gap = await back.event()
        data = b'{"reason": "trimmed", "from": "' + run + b'.1-1", "lost": 2}'
        assert gap == b"event: gap\nid: " + run + b".1-3\ndata: " + data
        assert data_of(await back.events(2)) == [b"4", b"5"]


async def test_the_gap_event_is_called_as_the_route_says() -> None:
    route = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone, gap: {event: {name: lost}}}"
    async with RunStand.serve(route) as on:
        tab, _ = await on.open(b"GET /f", *TAKES_IDS, at(b"AAAAAAAAAAA.1-7"))
        assert (await tab.event()).startswith(b"event: lost\n")


# Ids of the upstream.


async def test_an_upstream_that_names_its_events_is_left_alone() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"id: a\ndata: 1\n\n")
        await call.send(b"data: 2\n\nid: c\ndata: 3\n\n")
        assert await tab.events(3) == [b"id: a\ndata: 1", b"data: 2", b"id: c\ndata: 3"]
        back = await on.read(b"GET /f", *EVENT_SOURCE, at(b"a"))
        assert await back.events(2) == [b"data: 2", b"id: c\ndata: 3"]
        assert len(on.calls) == 1


async def test_from_its_first_own_id_on_no_event_gets_another() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        await call.send(b"data: 2\n\nid: b\ndata: 3\n\ndata: 4\n\n")
        events = await tab.events(4)
        assert [id_of(each) for each in events] == [on.run.name + b".1-1", on.run.name + b".1-2", b"b", None]
        back = await on.read(b"GET /f", *TAKES_IDS, at(on.run.name + b".1-1"))
        assert data_of(await back.events(3)) == [b"2", b"3", b"4"]


async def test_the_first_place_of_an_id_that_occurs_twice_counts() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        await call.send(b"id: a\ndata: 1\n\nid: b\ndata: 2\n\nid: a\ndata: 3\n\n")
        await tab.events(3)
        back = await on.read(b"GET /f", *TAKES_IDS, at(b"a"))
        assert data_of(await back.events(2)) == [b"2", b"3"]


async def test_an_id_that_a_feed_under_way_does_not_know_is_a_gap() -> None:
    async with RunStand.serve(FEED) as on:
        await on.open(b"GET /f", *TAKES_IDS, first=b"id: a\ndata: 1\n\n")
        await eventually(lambda: on.run.state.seq == 1)
        back = await on.read(b"GET /f", *TAKES_IDS, at(b"zzz"))
        assert b'"reason": "unknown", "from": "zzz"' in await back.event()
        assert data_of([await back.event()]) == [b"1"]
        assert len(on.calls) == 1


async def test_an_id_of_no_run_goes_upstream_as_it_came() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f?last-event-id=44&x", *TAKES_IDS, at(b"45"), first=b"id: 46\ndata: 1\n\n")
        assert call.request.one(b"Last-Event-ID") == b"45"
        assert call.request.target == b"/f?last-event-id=44&x"
        assert await tab.event() == b"id: 46\ndata: 1"


async def test_an_own_id_finds_the_newest_run_of_a_key() -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=1", COOKIE, *TAKES_IDS, body=b"{}", first=b"id: x\ndata: 1\n\n")
        await call.send(b"id: y\ndata: 2\n\n")
        await tab.events(2)
        back = await on.read(b"POST /a?c=1", COOKIE, at(b"x"), body=b"{}")
        assert await back.event() == b"id: y\ndata: 2"
        assert len(on.calls) == 1
        _, other = await on.open(b"POST /a?c=2", COOKIE, at(b"x"), body=b"{}")
        assert other.request.one(b"Last-Event-ID") == b"x"


async def test_where_each_request_is_a_run_of_its_own_an_own_id_goes_upstream() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, _ = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"id: x\ndata: 1\n\n")
        await tab.event()
        _, call = await on.open(b"POST /a", at(b"x"), body=b"{}")
        assert call.request.one(b"Last-Event-ID") == b"x"


@pytest.mark.parametrize("by", ["field", "query"])
async def test_from_the_oldest(by: str) -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS, first=b"data: 1\n\n")
        await call.send(b"data: 2\n\n")
        await tab.events(2)
        if by == "field":
            back = await on.read(b"GET /f", *TAKES_IDS, at(b"oldest"))
        else:
            back = await on.read(b"GET /f?last-event-id=oldest", *TAKES_IDS)
        assert data_of(await back.events(2)) == [b"1", b"2"]
        assert len(on.calls) == 1


async def test_oldest_never_reaches_the_upstream() -> None:
    async with RunStand.serve(FEED) as on:
        _, call = await on.open(b"GET /f?last-event-id=oldest", *TAKES_IDS, at(b"oldest"))
        assert (call.request.target, call.request.all(b"Last-Event-ID")) == (b"/f", [])


# The same events.


async def test_comments_and_a_bom_are_not_kept_and_events_are_the_upstreams() -> None:
    sent = b"\xef\xbb\xbf: hello\r\n\r\nevent: x\r\ndata: a\r\ndata: b\r\n: c\r\nretry: 7\r\n\r\n: beat\n\ndata:z\n\n"
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", body=b"{}")
        for index in range(len(sent)):
            await call.send(sent[index : index + 1])
        await call.finish()
        blocks, is_clean = await tab.ending()
        assert (blocks, is_clean) == ([b"event: x\ndata: a\ndata: b\nretry: 7", b"data:z"], True)


async def test_an_event_beyond_the_limit_ends_the_run() -> None:
    route = "name: a, match: {path: /a}, limits: {event: 1KiB}, journal: {kind: answer}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        assert data_of([await tab.event()]) == [b"1"]
        await call.send(b"data: " + b"x" * 2000)
        blocks, is_clean = await tab.ending()
        assert b"event: error" in blocks[-1]
        assert not is_clean
        assert on.run.end_reason == "upstream_error"
        await call.left()


async def test_what_is_not_a_whole_event_at_the_end_is_not_kept() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", body=b"{}", first=b"data: 1\n\ndata: half")
        await call.finish()
        assert await tab.ending() == ([b"data: 1"], True)
