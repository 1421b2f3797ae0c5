"""What does one client get of one or several windows, and in what order?"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from sseproxy.core.errors import OriginError, ReaderBehind, UpstreamBroken
from sseproxy.core.flow import EventSink
from sseproxy.core.frames import release_frames
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.gap import GapReason, Missing, gap_event
from sseproxy.core.journal.positions import START, Mark, around
from sseproxy.core.journal.window import Break, Entry
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.place import Place, Standing

#: For the log: the head has gone already (RFC 9209 section 2.3.20).
_INCOMPLETE: Final = "http_response_incomplete"


class _State(Enum):
    FLOWING = "flowing"
    PAUSED = "paused"
    DONE = "done"


class Reader:
    """One client (a `BodySource`): what its sink gets are whole events, LF, with or without ids.

    named: the position that the client named, for a gap that `Place.begin` brings. has_primer: a block with only an id
    goes first, so that an `EventSource` can resume before its first event. on_done: called once, when the reader has
    left all its windows. on_end: called behind it if the client has all of a stream that has ended. counts: what all
    readers together have missed, by reason, whether they hear of it or are broken off. gaps: of how many the client has
    heard.

    Nothing is handed out before the next turn of the loop, so that the sink may be connected meanwhile.
    """

    # The places do the work, each with its window; the reader gives them turns, and holds the whole position.
    #
    # 1. Nothing is handed out before all places have begun: a position needs the marks of all of them.
    # 2. What is not live moves by `_step`, in a turn of `CatchingUp`: at most one chunk, then it is scheduled again.
    # 3. The spot of a place is moved before its bytes are handed out: the sink may pause, resume or abort within.
    # 4. Paused, no place is live, so that it costs the others nothing; what they then want waits for `resume`.
    # 5. When it is done, nothing leads from the reader to its places and its sink: no circle waits for the garbage
    #    collector.

    __slots__ = (
        "_begun",
        "_counts",
        "_flavour",
        "_has_primer",
        "_is_scheduled",
        "_missing",
        "_named",
        "_on_done",
        "_on_end",
        "_places",
        "_sink",
        "_spread",
        "_state",
        "_turn",
        "_when_begun",
        "gaps",
        "loop",
    )

    def __init__(
        self,
        sink: EventSink,
        flavour: Flavour,
        loop: asyncio.AbstractEventLoop,
        *,
        named: bytes = b"",
        has_primer: bool = False,
        on_done: Callable[[], None] | None = None,
        on_end: Callable[[], None] | None = None,
        counts: Counter[GapReason] | None = None,
    ) -> None:
        self.loop = loop
        self.gaps = 0
        self._sink: EventSink | None = sink
        self._flavour = flavour
        self._named = named
        self._has_primer = has_primer
        self._on_done = on_done
        self._on_end = on_end
        self._counts: Counter[GapReason] = Counter() if counts is None else counts
        self._places: list[Place] = []
        self._spread: list[Place | None] = []  # one for each mark of a position
        self._begun = 0
        self._when_begun: asyncio.Future[None] | None = None
        self._missing: Missing | None = None  # what the client hears first
        self._state = _State.FLOWING
        self._is_scheduled = False
        self._turn = 0

    def place(self, fanout: Fanout) -> Place:
        """Add a place in the window of `fanout`: one for each stream, in the order of positions, before any begins."""
        assert self._sink is not None
        place = Place(self, fanout, self._flavour, self._sink)
        self._places.append(place)
        self._spread.append(place)
        self._own_voices()
        return place

    def leave_out(self) -> None:
        """Count a mark in positions for a name that brings nothing, since an earlier place reads it already.

        That mark never moves. A client whose names differ later reads the second one from its beginning.
        """
        self._spread.append(None)
        self._own_voices()

    @property
    def has_one_place(self) -> bool:
        return len(self._spread) == 1

    @property
    def has_begun(self) -> bool:
        """True once it is known where the client begins: from then on it misses nothing."""
        return self._begun == len(self._places)

    def when_begun(self) -> asyncio.Future[None]:
        """Return what is done once the reader has begun, or is done."""
        if self._when_begun is None:
            self._when_begun = self.loop.create_future()
            if self.has_begun or self._state is _State.DONE:
                self._when_begun.set_result(None)
        return self._when_begun

    def miss(self, missing: Missing) -> None:
        """Let the client hear of `missing` first: it was let in before it could begin."""
        if not self.has_begun:
            self._missing = missing

    # The client's side (a `BodySource`).

    def pause(self) -> None:
        if self._state is _State.FLOWING:
            self._state = _State.PAUSED
            for place in self._places:
                if place.standing is Standing.LIVE:
                    place.lag()

    def resume(self) -> None:
        if self._state is _State.PAUSED:
            self._state = _State.FLOWING
            self._enter()

    def abort(self) -> None:
        if self._state is _State.DONE:
            return
        self._state = _State.DONE
        places, self._places = self._places, []
        self._spread.clear()
        self._sink = None
        self._begin()
        for place in places:
            place.leave()
        on_done, self._on_done = self._on_done, None
        self._on_end = None
        if on_done is not None:
            on_done()

    # The places' side.

    def place_begun(self, missing: Missing | None) -> None:
        """A place has its position. Before it the client has missed `missing`."""
        self._begun += 1
        if missing is not None:
            self._missing = missing if self._missing is None else self._missing.with_more(missing)
        if self.has_begun:
            self._begin()
        self.schedule()

    def schedule(self) -> None:
        """A place wants a turn."""
        if self._state is _State.FLOWING and not self._is_scheduled and self._begun == len(self._places):
            self._is_scheduled = True
            self._places[0].fanout.catching_up.soon(self._step)

    def hand_out(self, place: Place, entries: Sequence[Entry]) -> None:
        """Give `entries`, which are behind what `place` had, to the client."""
        sink = self._sink
        if sink is None:
            return
        if place.voice is not None:
            written = place.voice.replay(entries)
        else:
            written = self._flavour.write(entries, *around(self._marks(), self._spread.index(place)))
        if written.gaps or written.is_cut:
            self.gaps += written.gaps
            self._counts.update(entry.missing.reason for entry in entries if isinstance(entry, Break))
        if written.text and not written.is_cut:
            sink.receive_events(written.text, sum(entry.count for entry in entries), self.loop.time())
        elif written.text:
            sink.receive_data(written.text)
        if written.is_cut:
            self.break_off()

    def break_off(self) -> None:
        """The client has missed something of which it cannot hear."""
        self._end(ReaderBehind("The client does not keep up with the stream.", proxy_status=_INCOMPLETE))

    def fail(self, error: Exception) -> None:
        """End after a defect, or for what the history says."""
        if isinstance(error, OriginError):
            self._end(error)
            return
        self._report(error)
        self._end(UpstreamBroken("The stream broke off.", proxy_status=_INCOMPLETE))

    def finish(self) -> None:
        """The client has all of a stream that has ended."""
        on_end = self._on_end
        self.abort()
        if on_end is not None:
            on_end()

    # Private.

    def _begin(self) -> None:
        if self._when_begun is not None and not self._when_begun.done():
            self._when_begun.set_result(None)

    def _own_voices(self) -> None:
        """An id with several marks belongs to one reader: what it gets is written for it alone."""
        if len(self._spread) > 1 and self._flavour.has_ids:
            for each in self._places:
                each.voice = None

    def _marks(self) -> list[Mark]:
        return [START if place is None else place.spot.mark for place in self._spread]

    def _step(self) -> None:
        self._is_scheduled = False
        if self._state is not _State.FLOWING or self._begun < len(self._places):
            return
        try:
            if self._places[0].standing is Standing.READY:
                self._open()
            else:
                self._advance()
            self._enter()
        except Exception as error:  # noqa: BLE001 - else the client would wait for events that never come
            self.fail(error)

    def _open(self) -> None:
        """Say where the client begins, and what it has missed already."""
        for place in self._places:
            place.standing = Standing.LAGGING
        missing, sink = self._missing, self._sink
        if sink is None or (missing is None and not self._has_primer):
            return
        if missing is not None:
            self._counts[missing.reason] += 1
        if not self._flavour.has_ids:
            if missing is not None:
                self.break_off()
            return
        position = self._flavour.position(self._marks())
        if missing is None:
            sink.receive_data(b"id: %b\n\n" % position)
            return
        self.gaps += 1
        sink.receive_data(gap_event(self._flavour.gap, missing, from_position=self._named, id=position))

    def _advance(self) -> None:
        """Give a turn to one of the places that want it."""
        lagging = [place for place in self._places if place.standing is Standing.LAGGING]
        if lagging:
            self._turn += 1
            lagging[self._turn % len(lagging)].advance()

    def _enter(self) -> None:
        """Let all places be live that have everything; a further turn is for the others."""
        if self._state is _State.FLOWING:
            wanting = [place for place in self._places if not place.enter()]
            if any(place.standing in (Standing.LAGGING, Standing.READY) for place in wanting):
                self.schedule()

    def _end(self, error: OriginError) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            try:
                sink.receive_error(error)
            except Exception as defect:  # noqa: BLE001 - the caller works for other readers, too
                self._report(defect)

    def _report(self, error: Exception) -> None:
        self.loop.call_exception_handler({"message": "unexpected error in a reader", "exception": error})
        release_frames(error)
