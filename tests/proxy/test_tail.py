"""What is left of a request while its response runs: for how long does it wait for a client that takes nothing?"""

from typing import Any, cast

from sseproxy.engine.admissions import Admissions
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.observer import AccessRecord
from sseproxy.proxy.tail import ANSWER_TIME, ResponseTail


class Unsent:
    """A response of which the client takes nothing."""

    has_unsent = True

    def __init__(self) -> None:
        self.within: list[float | None] = []

    async def wait_until_flushed(self, within: float | None) -> None:
        self.within.append(within)


async def test_an_answer_of_sseproxy_itself_does_not_wait_for_ever() -> None:
    """No route has said how long: the 204 to a browser that has seen the end of its stream is one such answer."""
    downstream = Unsent()
    record = AccessRecord("192.0.2.1", "GET", "/", 0.0)
    tail = ResponseTail(cast(Any, None), cast(Any, downstream), record, LiveStreams(), Admissions())
    await tail.wait()
    assert downstream.within == [ANSWER_TIME]
