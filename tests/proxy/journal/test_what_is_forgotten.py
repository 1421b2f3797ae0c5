"""What of a request is left once its stream has begun? (contract of the journal: money)"""

import gc

import pytest

from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.opening import Opening
from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, RunStand
from tests.support.settled import eventually

ANSWER = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
SECRET = b"Cookie: s=one"


def openings() -> int:
    return sum(isinstance(each, Opening) for each in gc.get_objects())


def requests() -> int:
    return sum(isinstance(each, InboundRequest) for each in gc.get_objects())


@pytest.mark.parametrize("fields", [TAKES_IDS, ()])
async def test_the_request_of_an_answer_is_forgotten_once_it_is_answered(fields: tuple[bytes, ...]) -> None:
    async with RunStand.serve(ANSWER) as on:
        before = openings(), requests()
        tab, call = await on.open(b"POST /a", SECRET, *fields, body=b"{}", first=b"data: 1\n\n")
        await eventually(lambda: (openings(), requests()) == before)
        await tab.leave()
        await on.attended(0)
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        assert (openings(), requests()) == before


async def test_nothing_is_left_of_the_request_of_a_reader_but_of_the_one_that_asks_for_a_feed() -> None:
    async with RunStand.serve(FEED) as on:
        await on.open(b"GET /f", *EVENT_SOURCE, first=b"data: 1\n\n")
        before = openings(), requests()
        for _ in range(3):
            await on.read(b"GET /f", *EVENT_SOURCE)
        await eventually(lambda: (openings(), requests()) == before)


@pytest.mark.parametrize("method", [b"POST", b"OPTIONS", b"GET"])
@pytest.mark.parametrize("dots", [b"", b"./"])
async def test_no_log_has_the_name_of_a_run_whatever_is_wanted_of_it(
    method: bytes, dots: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sseproxy.access")
    route = "name: a, match: {path: /a}, cors: {origins: ['http://b.test']}, journal: {kind: answer}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        name = on.run.name
        asks = (b"Origin: http://b.test", b"Access-Control-Request-Method: DELETE", b"Connection: close")
        await (await on.send(method + b" /_runs/a/" + dots + name, *asks)).head()
        await call.finish()
        await tab.ending()
    assert "/_runs/a/" in caplog.text
    assert name.decode() not in caplog.text
