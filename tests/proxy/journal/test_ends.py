"""How does a run end for those who are there, and for those who come back later? (contract of the journal: ends)"""

import pytest

from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand, Tab, at, data_of, id_of
from tests.support.settled import eventually
from tests.support.virtual_clock import now, passing

ANSWER = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
KEYED = (
    "name: a, match: {path: /a}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
BROWSER = (COOKIE, *EVENT_SOURCE)


async def ended(on: RunStand, *, cleanly: bool, fields: tuple[bytes, ...] = IDS) -> tuple[bytes, bytes]:
    """The name of a run with two events that has ended, and the id of the last thing that its client has got."""
    tab, call = await on.open(b"POST /a", *fields, body=b"{}", first=b"data: 1\n\ndata: 2\n\n")
    await tab.events(2)
    if cleanly:
        await call.finish()
    else:
        call.break_off()
    blocks, is_clean = await tab.ending()
    assert is_clean == cleanly
    return on.run.name, id_of(blocks[-1]) or b"" if blocks else b""


# Those who are there.


async def test_a_clean_end_is_clean_for_all_of_them() -> None:
    async with RunStand.serve(ANSWER) as on:
        first, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        url = b"/_runs/a/" + on.run.name
        others = [await on.read(b"GET " + url, COOKIE) for _ in range(3)]
        await call.finish()
        for tab in (first, *others):
            blocks, is_clean = await tab.ending()
            assert (data_of(blocks), is_clean) == ([b"1"], True)
        assert on.run.end_reason == "upstream_end"


@pytest.mark.parametrize("fields", [IDS, (COOKIE,), BROWSER])
async def test_a_broken_end_is_an_error_with_the_position_of_the_end_where_ids_are_given(
    fields: tuple[bytes, ...],
) -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *fields, body=b"{}", first=b"data: 1\n\n")
        call.break_off()
        blocks, is_clean = await tab.ending()
        assert not is_clean
        assert b"event: error" in blocks[-1]
        assert id_of(blocks[-1]) == (None if fields == (COOKIE,) else on.run.name + b".1-2")


async def test_silence_ends_the_run_for_all_of_them() -> None:
    route = ANSWER + ", timeouts: {idle: 20s}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        began = now()
        for each in (tab, other):
            blocks, is_clean = await each.ending()
            assert b"event: error" in blocks[-1]
            assert not is_clean
        assert 19 < now() - began < 25
        assert on.run.end_reason == "idle_timeout"
        await call.left()


async def test_a_comment_of_the_upstream_counts_as_life() -> None:
    async with RunStand.serve(ANSWER + ", timeouts: {idle: 20s}") as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        for _ in range(4):
            await passing(15)
            await call.send(b": still here\n\n")
        await call.finish()
        blocks, is_clean = await tab.ending()
        assert (data_of(blocks), is_clean) == ([b"1"], True)


async def test_a_reader_who_comes_late_does_not_prolong_the_silence() -> None:
    async with RunStand.serve(ANSWER + ", timeouts: {idle: 20s}") as on:
        tab, _ = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        began = now()
        await passing(15)
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        assert not (await other.ending())[1]
        assert now() - began < 22
        assert not (await tab.ending())[1]


async def test_an_answer_may_take_so_long_whoever_reads_it() -> None:
    async with RunStand.serve(ANSWER + ", timeouts: {max_duration: 60s}") as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        began = now()
        await passing(50)
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        blocks, is_clean = await other.ending()
        assert b"event: error" in blocks[-1]
        assert not is_clean
        assert now() - began < 70
        assert on.run.end_reason == "max_duration"
        assert not (await tab.ending())[1]
        await call.left()


async def test_a_terminal_event_is_the_end_also_if_the_upstream_stays_open() -> None:
    async with RunStand.serve(ANSWER + ", end: {marker: '[DONE]'}") as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        await call.send(b"data: [DONE]\n\n")
        blocks, is_clean = await tab.ending()
        assert (data_of(blocks), is_clean) == ([b"1", b"[DONE]"], True)
        await call.left()
        assert on.run.end_reason == "upstream_end"


async def test_behind_a_terminal_event_a_broken_connection_is_a_clean_end() -> None:
    async with RunStand.serve(ANSWER + ", end: {marker: '[DONE]'}") as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: [DONE]\n\n")
        await tab.event()
        call.break_off()
        assert await tab.ending() == ([], True)
        assert on.run.state.end is not None
        assert on.run.state.end.is_clean


async def test_the_end_message_of_the_route_goes_to_browsers() -> None:
    async with RunStand.serve(ANSWER + ", end: {event: {name: end}}") as on:
        plain, call = await on.open(b"POST /a", COOKIE, body=b"{}", first=b"data: 1\n\n")
        browser = await on.read(b"GET /_runs/a/" + on.run.name, *BROWSER)
        await call.finish()
        assert (await plain.ending()) == ([b"data: 1"], True)
        blocks, is_clean = await browser.ending()
        assert is_clean
        assert any(block.startswith(b"event: end\n") for block in blocks)
        assert id_of(blocks[-1]) is not None
        back = await on.ask(b"GET /_runs/a/" + on.run.name, *BROWSER, at(id_of(blocks[-1]) or b""))
        assert back.status == 204


async def test_the_end_comes_behind_all_that_a_slow_client_still_lacks() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", COOKIE, body=b"{}")
        await on.attended(1)
        slow = await on.read(b"GET /_runs/a/" + on.run.name, *IDS)
        slow.peer.pause()
        await call.send(b"data: " + b"x" * 900_000 + b"\n\n")
        await call.finish()
        assert len((await tab.ending())[0]) == 1
        slow.peer.resume()
        blocks, is_clean = await slow.ending()
        assert (len(blocks), is_clean) == (1, True)


# Those who come back.


async def back(on: RunStand, position: bytes, *fields: bytes) -> Tab:
    return await on.read(b"POST /a", *fields, at(position), body=b"{}")


@pytest.mark.parametrize("fields", [IDS, (COOKIE,), BROWSER])
async def test_who_lacks_events_of_a_run_that_ended_well_gets_them_and_a_clean_end(fields: tuple[bytes, ...]) -> None:
    async with RunStand.serve(ANSWER) as on:
        run, _ = await ended(on, cleanly=True)
        blocks, is_clean = await (await back(on, run + b".1-1", *fields)).ending()
        assert (data_of(blocks), is_clean) == ([b"2"], True)
        assert len(on.calls) == 1


async def test_who_lacks_nothing_of_it() -> None:
    async with RunStand.serve(ANSWER) as on:
        run, _ = await ended(on, cleanly=True)
        assert await (await back(on, run + b".1-2", *IDS)).ending() == ([], True)
        assert await (await back(on, run + b".1-3", *IDS)).ending() == ([], True)
        assert await (await back(on, run + b".1-2", COOKIE)).ending() == ([], True)
        for mark in (b".1-2", b".1-3"):
            assert (await on.ask(b"GET /a", *BROWSER, at(run + mark))).status == 204
        assert len(on.calls) == 1


async def test_who_lacks_events_of_a_run_that_ended_badly_gets_them_and_the_error() -> None:
    async with RunStand.serve(ANSWER) as on:
        run, last = await ended(on, cleanly=False)
        assert last == run + b".1-3"
        for fields in (IDS, (COOKIE,)):
            blocks, is_clean = await (await back(on, run + b".1-1", *fields)).ending()
            assert data_of(blocks)[0] == b"2"
            assert b"event: error" in blocks[1]
            assert not is_clean
        assert (await on.ask(b"POST /a", *IDS, at(last), body=b"{}")).status == 410
        assert len(on.calls) == 1


async def test_a_browser_that_lacks_events_of_it_gets_the_error_and_a_clean_end_and_then_204() -> None:
    async with RunStand.serve(ANSWER) as on:
        run, last = await ended(on, cleanly=False)
        for position in (run + b".1-1", run + b".1-2"):
            tab = await on.read(b"GET /a", *BROWSER, at(position))
            blocks, is_clean = await tab.ending()
            assert is_clean
            assert b"event: error" in blocks[-1]
            assert id_of(blocks[-1]) == last
        assert (await on.ask(b"GET /a", *BROWSER, at(last))).status == 204
        assert len(on.calls) == 1


async def test_behind_an_error_of_the_upstream_a_browser_gets_only_the_id() -> None:
    async with RunStand.serve(ANSWER + ", dialect: openai-chat") as on:
        error = b'data: {"error": {"message": "no"}}\n\n'
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}", first=b"data: 1\n\n")
        await call.send(error)
        await tab.events(2)
        call.break_off()
        assert not (await tab.ending())[1]
        run = on.run.name
        again = await on.read(b"GET /a", *BROWSER, at(run + b".1-1"))
        blocks, is_clean = await again.ending()
        assert is_clean
        assert blocks[-2].endswith(error.strip())
        assert blocks[-1] == b"id: " + run + b".1-3"


async def test_what_is_kept_is_forgotten_after_its_age() -> None:
    route = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s', keep: {age: 60s}}"
    async with RunStand.serve(route) as on:
        run, _ = await ended(on, cleanly=True)
        await passing(55)
        assert (await on.ask(b"GET /_runs/a/" + run, COOKIE)).status == 200
        await passing(10)
        assert (await on.ask(b"GET /_runs/a/" + run, COOKIE)).status == 404
        assert (await on.ask(b"POST /a", *IDS, at(run + b".1-1"), body=b"{}")).status == 410
        assert list(on.desk) == []


async def test_by_its_key_nothing_is_read_once_it_has_ended() -> None:
    async with RunStand.serve(KEYED) as on:
        assert (await on.ask(b"GET /a/7/stream", COOKIE)).status == 204
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        other = await on.read(b"GET /a/7/stream", COOKIE)
        await call.finish()
        assert [data_of((await each.ending())[0]) for each in (tab, other)] == [[b"1"], [b"1"]]
        for fields in ((COOKIE,), BROWSER, IDS):
            assert (await on.ask(b"GET /a/7/stream", *fields)).status == 204
        position = on.run.name + b".1-0"
        resumed = await on.read(b"POST /a?c=7", *IDS, at(position), body=b"{}")
        assert data_of((await resumed.ending())[0]) == [b"1"]


async def test_by_its_key_it_is_replayed_if_the_route_says_so() -> None:
    route = (
        "name: a, match: {path: /a}, journal: {kind: answer, key: 'query:c', login: 'cookie:s', "
        "resume: {path: '/a/{key}/stream', ended: replay}, keep: {age: 60s}}"
    )
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await call.finish()
        await tab.ending()
        blocks, is_clean = await (await on.read(b"GET /a/7/stream", COOKIE)).ending()
        assert (blocks, is_clean) == ([b"data: 1"], True)
        await passing(61)
        assert (await on.ask(b"GET /a/7/stream", COOKIE)).status == 204


async def test_a_new_request_behind_an_end_begins_a_new_run() -> None:
    async with RunStand.serve(KEYED) as on:
        tab, call = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await call.finish()
        await tab.ending()
        again, _ = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 2\n\n")
        assert data_of([await again.event()]) == [b"2"]


async def test_an_upstream_that_says_204_when_a_feed_is_reopened_ends_it() -> None:
    async with RunStand.serve(FEED) as on:
        tab, call = await on.open(b"GET /f", *EVENT_SOURCE, first=b"id: 1\ndata: 1\n\n")
        await call.finish()
        again = await on.call(1)
        assert again.request.one(b"Last-Event-ID") == b"1"
        await again.answer(b"204 No Content")
        blocks, is_clean = await tab.ending()
        assert is_clean
        assert data_of(blocks) == [b"1"]
        assert on.run.state.end is not None
        assert (await on.ask(b"GET /f", *EVENT_SOURCE, at(b"1"))).status == 204
        await eventually(lambda: len(on.calls) == 2)


async def test_who_still_reads_a_run_that_is_forgotten_gets_all_of_it() -> None:
    route = (
        "name: a, match: {path: /a}, timeouts: {write: 600s}, "
        "journal: {kind: answer, login: 'cookie:s', keep: {age: 60s}}"
    )
    async with RunStand.serve(route, send_buffer=16 * 1024) as on:
        slow, call = await on.open(b"POST /a", COOKIE, body=b"{}")
        slow.peer.pause()
        for number in range(60):
            await call.send(b"data: %d" % number + b"x" * 16_000 + b"\n\n")
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        await passing(61)
        assert list(on.desk) == []
        slow.peer.resume()
        blocks, is_clean = await slow.ending()
        assert (len(blocks), is_clean) == (60, True)


async def test_a_run_that_was_stopped_before_its_head_is_over_whatever_is_asked_of_it() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab = await on.send(b"POST /a", *IDS, body=b"{}")
        await on.call()
        name = on.run.name
        assert (await on.ask(b"DELETE /_runs/a/" + name, COOKIE)).status == 204
        assert (await tab.peer.response()).status == 204
        for fields in ((COOKIE,), IDS, BROWSER):
            assert (await on.ask(b"GET /_runs/a/" + name, *fields)).status == 204
            for mark in (b".1-0", b".1-1"):
                assert (await on.ask(b"POST /a", *fields, at(name + mark), body=b"{}")).status == 204


async def test_a_run_that_was_replaced_before_its_head_is_over() -> None:
    async with RunStand.serve(KEYED) as on:
        old = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        first = await on.call()
        new = await on.send(b"POST /a?c=7", *IDS, body=b"{}")
        second = await on.call(1)
        await old.leave()
        await first.left()
        await second.begin(first=b"data: 1\n\n")
        assert data_of([await (await new.reading()).event()]) == [b"1"]
