"""Where is a reader in one window, and what does it wait for there?"""

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from sseproxy.core.errors import Unavailable
from sseproxy.core.flow import EventSink, Writable
from sseproxy.core.journal.cursor import Flavour, Step
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window import Break, Entry, Spot
from sseproxy.core.stream.tally import Sum, Tally
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.history import Page
from sseproxy.journal.members import OUT, Voice

#: Seconds after which a store is asked again that is away, or that lags behind the window.
_ASK_AGAIN: Final = 1.0


class Owner(Protocol):
    """The reader of a place."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def has_one_place(self) -> bool:
        """True if all that its sink gets comes from one window: a sink has one bypass."""

    def place_begun(self, missing: Missing | None) -> None:
        """A place has its position. Before it the client has missed `missing`."""

    def schedule(self) -> None:
        """A place wants a turn."""

    def hand_out(self, place: "Place", entries: Sequence[Entry]) -> None:
        """Give `entries`, which are behind what `place` had, to the client."""

    def break_off(self) -> None:
        """The client has missed something of which it cannot hear."""

    def fail(self, error: Exception) -> None:
        """End after a defect, or for what the history says."""

    def finish(self) -> None:
        """The client has all of a stream that has ended."""


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


class Standing(Enum):
    """What a place waits for."""

    READY = "its window"  # it has not begun
    LAGGING = "its turn"
    ASKING = "a page of its history"
    AHEAD = "a window that has come to its spot"
    LIVE = "something new"
    GONE = "nothing"


class _Nowhere:
    def write(self, data: bytes) -> None:
        raise AssertionError("something goes past a sink that does not know of it")


_NOWHERE: Final = _Nowhere()


class Place:
    """A reader's place in one window (a `Member` of its fan-out). Only `begin` is for its owner."""

    __slots__ = (
        "_asking",
        "_confirmed",
        "_joined",
        "_page",
        "_page_end",
        "_reader",
        "_since",
        "client",
        "fanout",
        "sink",
        "slot",
        "spot",
        "standing",
        "tally",
        "voice",
    )

    def __init__(self, reader: Owner, fanout: Fanout, flavour: Flavour, sink: EventSink) -> None:
        self.sink = sink
        self.client: Writable = _NOWHERE
        self.tally: Tally | None = None
        self._since = 0  # of the tally: the first piece that the sink has not counted
        self.slot = OUT
        self.spot = Spot(-1, START)
        self.standing = Standing.READY
        self._reader = reader
        self.fanout = fanout
        self._joined = fanout.join(flavour)
        self.voice: Voice | None = self._joined
        self._page: list[Entry] = []  # what is left of it
        self._page_end = START
        self._asking: _Cancellable | None = None
        self._confirmed: Spot | None = None  # the history has nothing behind it

    def begin(self, mark: Mark, missing: Missing | None = None) -> None:
        """The window is ready, and the reader gets what is behind `mark`.

        missing: what the client hears first. Once all places of a reader have begun, events flow; nothing is handed
        out within this call.
        """
        if self.spot.epoch >= 0 or self.standing is Standing.GONE:
            return
        self.spot = Spot(self.fanout.window.epoch, mark)
        self.fanout.lag(self)  # so that nothing is trimmed before its turn has come
        self._reader.place_begun(missing)

    @property
    def reached(self) -> Mark:
        """Up to where the client was given everything."""
        self.fanout.tighten()
        return self.spot.mark

    # The fan-out's side.

    def receive(self, text: bytes, events: int, now: float) -> None:
        self._close_bypass()
        self.sink.receive_events(text, events, now)

    def open_bypass(self, tally: Tally) -> None:
        if self.standing is Standing.LIVE and self._reader.has_one_place:
            client = self.sink.open_bypass(self, tally)
            if client is not None:
                self.client, self.tally, self._since = client, tally, len(tally)

    def take(self, step: Step) -> None:
        self._close_bypass()
        self.spot = step.to
        self._reader.hand_out(self, step.entries)

    def wake(self) -> None:
        self._close_bypass()
        self.standing = Standing.LAGGING
        self._reader.schedule()

    def fall(self) -> None:
        if not self._joined.flavour.has_ids:
            self._reader.break_off()

    def fail(self, error: Exception) -> None:
        self._reader.fail(error)

    # The sink's side (a `Bypass`).

    def passed(self) -> Sum | None:
        tally, voice = self.tally, self._joined
        if tally is None:
            return None
        # A pass writes to one reader after another, and this one's turn may still come.
        lacks_newest = tally is voice.tally and self.spot < voice.written_to
        start, self._since = self._since, len(tally) - 1 if lacks_newest else len(tally)
        return tally.between(start, self._since)

    def end_bypass(self) -> Sum | None:
        passed, self.tally = self.passed(), None
        return passed

    # The reader's side.

    def enter(self) -> bool:
        """Become live if there is nothing left to catch up with."""
        if self.standing is Standing.LAGGING and not self._page:
            if self.fanout.is_over(self.spot):
                self._reader.finish()
            else:
                # Set before: with one reader less behind, the producer may go on within `enter`, and even end.
                self.standing = Standing.LIVE
                if not self.fanout.enter(self):
                    self.standing = Standing.LAGGING
        return self.standing is Standing.LIVE

    def lag(self) -> None:
        """Be no longer live."""
        self._close_bypass()
        self.standing = Standing.LAGGING
        self.fanout.lag(self)

    def leave(self) -> None:
        self._close_bypass()
        self.client = _NOWHERE
        self.standing = Standing.GONE
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._page.clear()
        self.fanout.leave(self, self._joined)

    def advance(self) -> None:
        """Hand out the next chunk, or find out whom to ask for it."""
        step = self._next_step()
        if step is not None:
            self.take(step)

    # Private.

    def _close_bypass(self) -> None:
        if self.tally is not None:
            self.sink.close_bypass()

    def _next_step(self) -> Step | None:
        fanout, spot = self.fanout, self.spot
        if self._page:
            return self._from_page()
        if fanout.is_ahead(spot):
            # Without a history there is nothing to ask: a pass that is under way has not come so far yet.
            is_in_window = fanout.history is None and fanout.at < spot <= fanout.window.end
            if is_in_window or self._confirmed == spot or spot.epoch > fanout.at.epoch:
                self.standing = Standing.AHEAD
                fanout.wait(self)
            elif fanout.history is None:
                return self._gap(GapReason.UNKNOWN, None)
            else:
                self._ask()
            return None
        step = fanout.following(spot)
        if step is None and fanout.history is None:
            lost = fanout.window.lost(spot.mark) if fanout.policy.is_counted else None
            return self._gap(GapReason.TRIMMED, lost)
        if step is None:
            self._ask()
        return step

    def _gap(self, reason: GapReason, lost: int | None) -> Step:
        """The step to what is left."""
        window = self.fanout.window
        gap = Break(window.base, self.spot.mark, Missing(reason, lost))
        return Step((gap,), Spot(window.epoch, window.base))

    # The history.

    def _ask(self) -> None:
        self.standing = Standing.ASKING
        history = self.fanout.history
        assert history is not None
        self._asking = self.fanout.catching_up.ask(history, self.spot.mark, self._answered)

    def _answered(self, answer: Page | Exception) -> None:
        self._asking = None
        if isinstance(answer, Page):
            self._turn(answer)
        elif isinstance(answer, Unavailable):
            self._ask_later()
        else:
            self._reader.fail(answer)

    def _turn(self, page: Page) -> None:
        """Go on with `page`; but not if the stream began anew meanwhile: then the window decides."""
        (epoch, mark), window = self.spot, self.fanout.window
        if epoch == window.epoch:
            if page.missing is None:
                self._page, self._page_end = list(page.blocks), page.end
            elif mark < window.base < page.start:
                # The window has more than the store: what is missing is less than the store says.
                missing = Missing(page.missing.reason)
                self._page, self._page_end = [Break(window.base, mark, missing)], window.base
            else:
                self._page, self._page_end = [Break(page.start, mark, page.missing), *page.blocks], page.end
            if not self._page:
                self._confirmed = self.spot = Spot(epoch, max(mark, page.end))
                if self.spot.mark == mark < window.base:
                    self._ask_later()
                    return
        self.wake()

    def _ask_later(self) -> None:
        self.standing = Standing.ASKING
        self._asking = self._reader.loop.call_later(_ASK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._asking = None
        self.wake()

    def _from_page(self) -> Step:
        page, size, count = self._page, 0, 0
        while count < len(page) and size < self.fanout.policy.chunk:
            size += len(page[count].text)
            count += 1
        taken, self._page = page[:count], page[count:]
        mark = taken[-1].last if self._page else self._page_end
        return Step(taken, Spot(self.spot.epoch, mark))
