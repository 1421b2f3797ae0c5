"""Does an awaitable of the server's have to wait, and for what?

Most calls of `send` do not, and then nothing is to be noted. So a hot path takes the first step by itself, and comes
here only for the rest.
"""

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

_Result = TypeVar("_Result")

#: For ``next(steps, DONE)``: there was nothing to wait for.
DONE: Any = object()


@types.coroutine
def rest_of(
    steps: Generator[Any, Any, _Result], waited_for: Any, on_wait: Callable[[Any], None]
) -> Generator[Any, Any, _Result]:
    """Wait for what is left of an awaitable.

    on_wait: called with what is waited for, before each wait. Usually that is a future; granian waits for nothing in
    particular, turn by turn. What it raises breaks the wait off, as a cancellation does: the server may clean up.
    """
    try:
        while True:
            try:
                on_wait(waited_for)
                answer = yield waited_for
            except BaseException as error:  # cancellation has to reach the server
                if not hasattr(steps, "throw"):
                    raise  # granian waits for something that is no generator; `yield from` would leave it too
                waited_for = steps.throw(error)
            else:
                waited_for = next(steps) if answer is None else steps.send(answer)
    except StopIteration as done:
        result: _Result = done.value
        return result


async def watched(awaitable: Awaitable[_Result], on_wait: Callable[[Any], None]) -> _Result:
    """Wait for all of an awaitable. on_wait: as `rest_of`."""
    steps: Generator[Any, Any, _Result] = awaitable.__await__()
    try:
        waited_for = next(steps)
    except StopIteration as done:
        result: _Result = done.value
        return result
    return await rest_of(steps, waited_for, on_wait)
