"""What is a run: in which phase is it, where is its end, and which ids has its upstream given to its events?

A run is one stream of an upstream, kept outside its connections. Pure: no I/O, no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.own_places import OwnPlaces
from sseproxy.core.journal.positions import Mark, write_mark
from sseproxy.core.journal.window import Block, Break, Window
from sseproxy.core.stream.transfer import CloseReason

_BOUNDARY = b"\n\n"
_new = tuple.__new__  # half the price of `Block(…)`


class RunPhase(Enum):
    """How far a run is."""

    OPENING = "opening"  # its upstream was asked
    OPEN = "open"
    REOPENING = "reopening"  # its upstream is asked again
    ASLEEP = "asleep"  # a feed without readers; the next one wakes it
    ENDED = "ended"
    REFUSED = "refused"  # the upstream has answered with something else


@dataclass(frozen=True, slots=True)
class RunHead:
    """The head that all readers of a run get. fields: without those of one response (J7)."""

    status: int
    reason: bytes
    fields: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The last entry of a run. mark: its position, behind all events."""

    mark: Mark
    reason: CloseReason
    is_clean: bool


class RunState:
    """One run. name: by which positions name it. window: what is kept of its events.

    token: grows each time another connection may write. seq: of the last entry. head: once the upstream has answered.
    own_ids: where the events are that the upstream has named, and that are kept. last_own_id: the last one.
    is_named: the upstream has named an event; from there on no event gets an id of sseproxy.
    """

    # 1. Marks are (token, seq). A token is never used again once there is a greater one, and `seq` never falls.
    # 2. Every entry has a seq: events, breaks, and the end, behind which there is none.
    # 3. The first place of an id counts: who resumes from a repeated one gets events again rather than none.
    # 4. A run is named from its first named event on. A position of the run from before it stays good.
    #
    # Hazards: an upstream that is asked to go on behind an id may include the event of that id, or begin at the very
    # first event. So the leading events that are kept, id and text, are dropped (`_is_repeating`), up to the first that
    # is new. Not by their ids alone: an upstream that counts from 1 over each connection would lose its events.
    # An empty id takes the one before it back (WHATWG HTML section 9.2.6).

    __slots__ = (
        "_is_repeating",
        "_seq",
        "end",
        "head",
        "is_named",
        "last_own_id",
        "name",
        "own_ids",
        "phase",
        "token",
        "window",
    )

    def __init__(self, name: bytes, window: Window, *, token: int = 1, seq: int = 0) -> None:
        self.name = name
        self.window = window
        self.phase = RunPhase.OPENING
        self.token = token
        self._seq = seq
        self.head: RunHead | None = None
        self.end: RunEnd | None = None
        self.own_ids = OwnPlaces()
        self.last_own_id: bytes | None = None
        self.is_named = False
        self._is_repeating = False

    @property
    def seq(self) -> int:
        """The number of the last entry: what is loose has got its number from the window."""
        return max(self._seq, self.window.top[1])

    @seq.setter
    def seq(self, seq: int) -> None:
        self._seq = seq

    @property
    def mark(self) -> Mark:
        """The mark of the last entry; before the first one, that behind which it comes."""
        return self.token, self.seq

    @property
    def is_under_way(self) -> bool:
        """True if events may still come, now or when a reader wakes it."""
        return self.phase not in (RunPhase.ENDED, RunPhase.REFUSED)

    @property
    def prefix(self) -> bytes:
        """What is in front of the mark in each position of the run."""
        return self.name + b"."

    def position(self, mark: Mark) -> bytes:
        """Return the position that `mark` is."""
        return self.prefix + write_mark(mark)

    def reaches(self, mark: Mark) -> bool:
        """Return whether the run has come to `mark`; each of its two numbers is to be no later."""
        return mark[0] <= self.token and mark[1] <= self.seq

    def place_of(self, own_id: bytes) -> Mark | None:
        """Return the first place of an id that the upstream has given, if it is still kept."""
        self.own_ids.drop(self.window.base)
        return self.own_ids.first(own_id)

    # The upstream.

    def opened(self, head: RunHead) -> None:
        """The upstream has answered with a stream."""
        self.phase, self.head = RunPhase.OPEN, head

    def refused(self) -> None:
        """The upstream has answered with something else, or not at all."""
        self.phase = RunPhase.REFUSED

    def broken(self) -> None:
        """The upstream's connection is over, and another one is wanted."""
        self.phase = RunPhase.REOPENING

    def resumed(self) -> Break | None:
        """The upstream goes on. Return the break that readers hear of, unless it was asked to go on behind an id."""
        self.phase = RunPhase.OPEN
        if self.last_own_id is not None:
            # Where ids occur again, one that is kept may also name a new event.
            self._is_repeating = self.own_ids.are_unique
            return None
        before = self.window.top
        self.seq += 1
        return Break(self.mark, before, Missing(GapReason.UPSTREAM))

    def take(self, cut: Cut) -> Sequence[Block]:
        """Give places to events of the upstream, and return them."""
        if cut.ids or self._is_repeating:
            return self._take_named(cut)
        self._seq = seq = self.seq + cut.count
        return (_new(Block, ((self.token, seq), cut.count, cut.text, self.is_named)),)

    # What becomes of the run.

    def sleep(self) -> None:
        """A feed has no reader: what it has is kept for the next one."""
        self.phase = RunPhase.ASLEEP

    def wake(self) -> None:
        """A reader has come, and the upstream is asked again."""
        self.phase = RunPhase.REOPENING

    def claimed(self, token: int) -> None:
        """Entries have `token` from now on."""
        self.token = token

    def finish(self, reason: CloseReason, *, is_clean: bool) -> RunEnd:
        """End. Return the first end, also if another one comes later."""
        if self.end is None:
            self.seq += 1
            self.end = RunEnd(self.mark, reason, is_clean)
            self.phase = RunPhase.ENDED
        return self.end

    # Private.

    def _take_named(self, cut: Cut) -> Sequence[Block]:
        """Give places to events of which some are named; drop those that come again; split where naming begins."""
        self._seq = self.seq
        self.own_ids.drop(self.window.base)
        texts = [text + _BOUNDARY for text in cut.text.split(_BOUNDARY)[: cut.count]]
        names = dict(cut.ids)
        blocks: list[Block] = []
        start = 0
        if self._is_repeating:
            known: dict[Mark, bytes] = {}
            while start < cut.count and (place := self.own_ids.first(names.get(start))) is not None:
                if place not in known:
                    known = dict(self.window.events_with(place))
                if known.get(place) != texts[start]:
                    break
                start += 1
            self._is_repeating = start == cut.count
        first_named = min((index for index in names if index >= start), default=None)
        if not self.is_named and first_named is not None and first_named > start:
            blocks.append(self._block(texts[start:first_named], names, start))
            start = first_named
        if first_named is not None:
            self.is_named = True
        if start < cut.count:
            blocks.append(self._block(texts[start:], names, start))
        return blocks

    def _block(self, texts: Sequence[bytes], names: dict[int, bytes], start: int) -> Block:
        # `_seq` and not `seq`, which asks the window each time.
        for index in range(start, start + len(texts)):
            self._seq += 1
            if index in names:
                self.last_own_id = names[index] or None
                self.own_ids.add(names[index], (self.token, self._seq))
        return Block((self.token, self._seq), len(texts), b"".join(texts), self.is_named)
