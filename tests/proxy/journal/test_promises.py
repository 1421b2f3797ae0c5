"""What does a client of a run get that was promised a stream, and gets something else?"""

import pytest

from tests.support.run_stand import EVENT_SOURCE, JSON, TAKES_IDS, RunStand, Tab, at, data_of

COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
KEYED = (
    "name: a, match: {path: /a}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
EARLY = ", heartbeat: {interval: 5s, before_response: 10s}"
URL = b"GET /a/7/stream"


async def waiting(on: RunStand, count: int = 2, *fields: bytes) -> list[Tab]:
    """Clients that wait for the head of one run."""
    tabs = [await on.send(b"POST /a?c=7", COOKIE, *TAKES_IDS, body=b"{}")]
    await on.call()
    for number in range(1, count):
        tabs.append(await on.send(URL, COOKIE, *(fields or TAKES_IDS)))
        await on.attended(number + 1)
    return tabs


@pytest.mark.parametrize("count", [1, 2])
async def test_a_json_answer_becomes_one_event_of_a_promised_stream(count: int) -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        tabs = await waiting(on, count)
        for tab in tabs:
            await tab.reading()
        await on.calls[0].answer(b"200 OK", b'{"a": 1}', JSON)
        for tab in tabs:
            blocks, is_clean = await tab.ending()
            assert data_of(blocks) == [b'{"a": 1}']
            assert is_clean
        assert list(on.desk) == []


@pytest.mark.parametrize("count", [1, 2])
async def test_a_refusal_becomes_an_error_event_of_a_promised_stream(count: int) -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        tabs = await waiting(on, count)
        for tab in tabs:
            await tab.reading()
        await on.calls[0].answer(b"429 Slow Down", b'{"error": "slow"}', JSON, b"Retry-After: 7")
        for tab in tabs:
            blocks, is_clean = await tab.ending()
            assert not is_clean
            assert b"event: error" in blocks[-1]
            assert b'"status": 429' in blocks[-1]
            assert b"slow" in blocks[-1]
            assert b"7" in blocks[-1]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_failure_becomes_an_error_event_of_a_promised_stream(count: int) -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        tabs = await waiting(on, count)
        for tab in tabs:
            await tab.reading()
        on.calls[0].break_off()
        for tab in tabs:
            blocks, is_clean = await tab.ending()
            assert not is_clean
            assert b'"status": 502' in blocks[-1]


async def test_a_stop_is_a_clean_end_of_a_promised_stream() -> None:
    async with RunStand.serve(KEYED + EARLY) as on:
        tabs = await waiting(on, 2)
        for tab in tabs:
            await tab.reading()
        assert (await on.ask(b"DELETE /a/7/stream", COOKIE)).status == 204
        for tab in tabs:
            assert (await tab.ending())[1]
        await on.calls[0].left()


async def test_a_promise_to_a_browser_of_a_feed_ends_with_a_block_that_stops_it() -> None:
    async with RunStand.serve(FEED + EARLY) as on:
        tab = await on.send(b"GET /f", *EVENT_SOURCE)
        call = await on.call()
        await tab.reading()
        await call.answer(b"404 Not Found", b"no")
        blocks, is_clean = await tab.ending()
        assert is_clean
        last = blocks[-1].removeprefix(b"id: ")
        assert (await on.ask(b"GET /f", *EVENT_SOURCE, at(last))).status == 204
        assert len(on.calls) == 1
