"""How long may one call of the server's `send` wait, and does that say that the client takes no more?"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from sseproxy.asgi.waiting import AbortableWait, rest_of
from sseproxy.core.frames import release_frames


class ServerWait:
    """A call that has to wait, and can be broken off. on_wait: called before each wait that is one.

    Hazard: granian's `send` waits turn by turn, for nothing in particular, also where the client takes all. Only its
    second turn counts.
    """

    def __init__(self, on_wait: Callable[[], object]) -> None:
        self._on_wait = on_wait
        self._wait = AbortableWait()

    async def run(self, steps: Generator[Any, Any, None], waited_for: Any) -> None:
        """Wait for what is left of the call. Raises what the server raises, but not for `abort`."""
        try:
            await rest_of(steps, waited_for, self._note)
        except (asyncio.CancelledError, Exception) as error:
            # Hazard: what a task group in front makes of the abort may be any error.
            task = asyncio.current_task()
            if not self._wait.is_aborted or (task is not None and task.cancelling()):
                raise
            release_frames(error)

    def abort(self) -> None:
        """Break the call off."""
        self._wait.abort()

    def _note(self, waited_for: Any) -> None:
        is_first_turn = waited_for is None and not self._wait.has_waited
        self._wait.note_wait(waited_for)
        if not is_first_turn:
            self._on_wait()
