"""Does each request that is waiting come due at its time, at the price of one timer?"""

import asyncio
from typing import cast

from sseproxy.asgi.early_answer import EarlyAnswerTimer
from sseproxy.asgi.options import read_options
from sseproxy.asgi.request_end import new_signer
from sseproxy.asgi.response_switch import Common
from tests.support.virtual_clock import VirtualLoop, now, passing


class Request:
    """Notes when it came due."""

    at: float | None = None

    def come_due(self) -> None:
        assert self.at is None
        self.at = now()


def timer() -> EarlyAnswerTimer:
    return EarlyAnswerTimer(10.0, asyncio.get_running_loop())


async def test_each_comes_due_at_its_time() -> None:
    waiting, requests = timer(), [Request() for _ in range(5)]
    began = now()
    for request in requests:
        waiting.begin(request)
        assert request in waiting
        await passing(3)
    await passing(60)
    assert [round(request.at - began, 3) for request in requests if request.at] == [10, 13, 16, 19, 22]
    assert not any(request in waiting for request in requests)


async def test_who_has_a_response_does_not() -> None:
    waiting, requests = timer(), [Request() for _ in range(4)]
    for request in requests:
        waiting.begin(request)
    for request in (requests[0], requests[2], requests[2]):
        waiting.end(request)
    await passing(60)
    assert [request.at is None for request in requests] == [True, False, True, False]


async def test_one_that_fails_does_not_keep_the_others_waiting() -> None:
    class Broken(Request):
        def come_due(self) -> None:
            raise RuntimeError("mine")

    failed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(str(context["exception"])))
    waiting, last = timer(), Request()
    began = now()
    for request in (Broken(), Request(), Broken(), last):
        waiting.begin(request)
    await passing(60)
    assert failed == ["mine", "mine"]
    assert last.at is not None
    assert round(last.at - began, 3) == 10


async def test_there_is_one_timer_and_in_the_end_none() -> None:
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    waiting = timer()
    for _ in range(100):
        request = Request()
        waiting.begin(request)
        waiting.end(request)
    assert len(loop.armed()) == 1
    await passing(60)
    assert loop.armed() == []
    waiting.begin(late := Request())
    await passing(60)
    assert late.at is not None


def test_each_event_loop_has_its_own() -> None:
    common = Common(read_options({"before_response": "10s"}), new_signer(""))
    seen = list[EarlyAnswerTimer]()

    async def main() -> None:
        seen.append(common.early_timer(10.0))
        assert common.early_timer(10.0) is seen[-1]
        seen[-1].begin(Request())

    asyncio.run(main())
    asyncio.run(main())
    assert seen[0] is not seen[1]
