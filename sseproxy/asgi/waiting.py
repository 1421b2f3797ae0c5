"""Does an awaitable of the server's have to wait, and for what?"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


class Watched(Generic[_Result]):
    """An awaitable that says when it has to wait: most calls of `send` do not, and then nothing is to be noted.

    on_wait: called with what is waited for, before each wait. Usually that is a future; granian waits for nothing in
    particular, turn by turn.
    """

    __slots__ = ("_awaitable", "_on_wait")

    def __init__(self, awaitable: Awaitable[_Result], on_wait: Callable[[Any], None]) -> None:
        self._awaitable = awaitable
        self._on_wait = on_wait

    def __await__(self) -> Generator[Any, Any, _Result]:
        steps: Generator[Any, Any, _Result] = self._awaitable.__await__()
        try:
            waited_for = next(steps)
            while True:
                self._on_wait(waited_for)
                try:
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
