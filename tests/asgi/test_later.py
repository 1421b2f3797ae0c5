"""Does a task of ours begin only when whoever starts it has gone on, whatever the event loop's factory does?"""

import asyncio
import gc
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.later import begin_later
from tests.support.asgi_exchange import Exchange, script
from tests.support.virtual_clock import passing

EVENT = b"data: 1\n\n"

#: The usual one, and that of Python 3.12 whose tasks begin at once.
FACTORIES = [None, *(vars(asyncio)[name] for name in ("eager_task_factory",) if hasattr(asyncio, name))]


async def test_it_is_no_task_of_the_loops_factory() -> None:
    """`asyncio.eager_task_factory` takes the first step within `create_task`."""
    begun: list[str] = []

    async def work() -> None:
        begun.append("work")

    def factory(*_: Any, **__: Any) -> Any:
        raise AssertionError("the factory was asked")

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        task = begin_later(work())
        begun.append("who started it")
        await task
    finally:
        loop.set_task_factory(None)
    assert begun == ["who started it", "work"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fails_with", [None, RuntimeError, OSError])
@pytest.mark.parametrize("factory", FACTORIES)
async def test_a_stream_ends_as_ever_whatever_the_loops_factory(
    factory: Any, fails_with: type[Exception] | None
) -> None:
    error = None if fails_with is None else fails_with("so says the server")
    asyncio.get_running_loop().set_task_factory(factory)
    app = SSEKeepaliveMiddleware(script(EVENT, 1000.0), heartbeat="off", max_duration="40s")
    seen = Exchange(app, send_error=error).start()
    await passing(20)
    if error is None:
        with pytest.raises(StreamAborted):
            await seen.finish()
        assert seen.body.startswith(EVENT + b"event: error\n")
        assert not seen.is_whole
    else:
        seen.has_left = True  # the server says so to the last words only
        assert seen.task is not None
        await asyncio.wait([seen.task])
        assert isinstance(seen.task.exception(), StreamAborted if fails_with is OSError else RuntimeError)
        assert seen.body == EVENT
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
