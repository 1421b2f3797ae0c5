"""Does an awaitable of the server's have to wait, for what, and how is its wait broken off?

Most calls of `send` do not wait, and then nothing is to be noted. So a hot path takes the first step by itself, and
comes here only for the rest.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from enum import Enum, auto
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


class _WaitState(Enum):
    GOES_ON = auto()
    TO_RAISE = auto()  # it is aborted at its next step
    ABORTED = auto()


class AbortableWait:
    """One call of the server's that can be aborted from outside of its task, and without cancelling that."""

    def __init__(self) -> None:
        self._waits_for: Any = DONE
        self._state = _WaitState.GOES_ON

    @property
    def has_waited(self) -> bool:
        """Whether it has had to wait."""
        return self._waits_for is not DONE

    @property
    def is_aborted(self) -> bool:
        return self._state is not _WaitState.GOES_ON

    async def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Wait for all of an awaitable. Raises `CancelledError` behind `abort`, or what the server makes of it."""
        return await watched(awaitable, self.note_wait)

    def note_wait(self, waited_for: Any) -> None:
        """Raises `CancelledError`, once: a server that cleans up after it may wait again."""
        self._waits_for = waited_for
        if self._state is _WaitState.TO_RAISE:
            self._state = _WaitState.ABORTED
            raise asyncio.CancelledError

    def abort(self) -> None:
        """End the wait now, or at its next step."""
        if hasattr(self._waits_for, "cancel"):
            self._state = _WaitState.ABORTED
            self._waits_for.cancel()
        else:  # granian waits for nothing in particular, and will be here again
            self._state = _WaitState.TO_RAISE
