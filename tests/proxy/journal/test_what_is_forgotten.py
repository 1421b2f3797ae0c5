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
