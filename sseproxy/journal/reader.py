"""What does one client get of one or several windows, and in what order?"""

import asyncio
from collections.abc import Callable

from sseproxy.core.flow import BodySink
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.journal.fanout import Fanout


class Place:
    """A reader's place in one window."""

    def begin(self, mark: Mark, missing: Missing | None = None) -> None:
        """The window is ready, and the reader gets what is behind `mark`.

        missing: what the client is told first. Once all places of a reader have begun, events flow; nothing is handed
        out within this call.
        """
        raise NotImplementedError


class Reader:
    """One client (a `BodySource`): what its sink gets are whole events, LF, with or without ids.

    named: the position that the client named, for a gap that `Place.begin` brings. has_primer: a block with only an id
    goes first, so that an `EventSource` can resume before its first event. on_done: called once, when the reader has
    left all its windows.
    gaps: how many gaps the client was told.
    """

    gaps: int

    def __init__(
        self,
        sink: BodySink,
        flavour: Flavour,
        loop: asyncio.AbstractEventLoop,
        *,
        named: bytes = b"",
        has_primer: bool = False,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        raise NotImplementedError

    def place(self, fanout: Fanout) -> Place:
        """Add a place in the window of `fanout`: one for each stream, in the order of positions, before any begins."""
        raise NotImplementedError

    @property
    def position(self) -> bytes | None:
        """The position up to which events were handed out; ``None`` while it is not known."""
        raise NotImplementedError

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError
