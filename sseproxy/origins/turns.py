"""How does a long body go on in turns, so that other connections have a turn in between?"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final

# Why nothing is read from a source, as bits of a number: an `enum.Flag` costs more than decoding an event.
#: The sink takes no more.
SINK: Final = 1
#: Others have their turn of the event loop.
TURN: Final = 2
#: Too much waits for a sink that is not known yet.
FULL: Final = 4


class SourceInTurns(ABC):
    """A `BodySource` that hands on what has arrived in turns of the event loop.

    later: calls back in the next turn; the event loop's `call_soon`.
    """

    # Plan: several have reasons to stop the source. Each one states its reason and takes back only its own; the source
    # reads while there is none. A base class and no part, because a part that calls back would be a circle of
    # references for each response.
    #
    # Rules:
    # 1. Work does not start inside itself: a sink may pause, resume or abort while it is given something.
    # 2. What has arrived is worked off before more is read: when a reason goes, work comes first and reading second.
    # 3. Behind a turn that was long nothing happens until the next turn of the event loop, also if the sink resumes.
    # 4. A source that has ended reads (its connection may serve another request), and is not touched any more.
    #
    # Hazard: one read of uvloop can bring 8 MiB, and a few compressed bytes stand for any number. Handed on in one go
    # they would keep all other streams of the process from their heartbeats.

    __slots__ = ("_is_reading", "_is_working", "_later", "_silence")

    def __init__(self, later: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._later = later
        self._silence = 0  # the reasons that hold
        self._is_working = False
        self._is_reading: bool | None = True  # None: the source has ended

    def pause(self) -> None:
        """Hand on nothing, and read nothing, until `resume`. Calling it again is allowed."""
        self._stop(SINK)

    def resume(self) -> None:
        """Go on. Calling it again is allowed."""
        self._go_on(SINK)

    @abstractmethod
    def _work(self) -> bool:
        """Do what may be done in one turn, until `_silence` is set. Return True if others must have a turn now."""

    @abstractmethod
    def _set_reading(self, wanted: bool) -> None:
        """Let the source read, or not."""

    def _run(self) -> None:
        """Work, if that is allowed now."""
        if self._is_working or self._silence & TURN:
            return
        self._is_working = True
        try:
            was_long = self._work()
        finally:
            self._is_working = False
        if was_long:
            self._silence |= TURN
            (self._later or asyncio.get_running_loop().call_soon)(partial(self._go_on, TURN))
        self._settle()

    def _stop(self, reason: int) -> None:
        self._silence |= reason
        self._settle()

    def _go_on(self, reason: int) -> None:
        self._silence &= ~reason
        self._run()

    def _end_reading(self) -> None:
        """Let the source read, once and for all: it has ended."""
        if self._is_reading is False:
            self._set_reading(True)
        self._is_reading = None

    def _settle(self) -> None:
        wanted = not self._silence
        if self._is_reading is not None and wanted is not self._is_reading:
            self._is_reading = wanted
            self._set_reading(wanted)
