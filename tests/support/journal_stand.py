"""Windows, a store behind them, and clients who check each byte that they get against all that ever happened.

The checkers know what was emitted, and share no code with the package but the reading of positions. A client's rule:
each event is the next one that was emitted behind its position; each gap begins at its position, and nothing in it was
to be had when it came.
"""

import asyncio
import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from sseproxy.core.errors import OriginError, ReaderBehind, Unavailable
from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark, read_mark, read_position, write_position
from sseproxy.core.journal.window import Block, Window
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.history import Page
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from tests.support.bypassed import Bypassed
from tests.support.virtual_clock import until
from tests.support.whatwg import Event, parse

#: So small that everything happens within a few events.
SMALL = WindowPolicy(
    tail=WindowLimits(events=2),
    most=WindowLimits(events=6, bytes=400),
    least=WindowLimits(events=1),
    chunk=40,
    readers=2,
)
#: Events of a page: few, and still more than a chunk.
_PAGE = 6

SMALL_CHANNEL = replace(SMALL, tail=WindowLimits(events=0), least=WindowLimits(events=0), is_counted=True)

_EVENT = re.compile(rb"(?:id: (?P<id>[^\n]*)\n)?data: (?P<data>[^\n]*)\n\n")
_GAP = re.compile(rb"event: gap\nid: (?P<id>[^\n]*)\ndata: (?P<gap>[^\n]*)\n\n")
_PRIMER = re.compile(rb"id: (?P<id>[^\n]*)\n\n")


IDS = Flavour()

#: Behind all marks.
_END = (2**63, 0)


class Has(Enum):
    """What is behind a window."""

    STORE = "store"
    NOTHING = "nothing"


@dataclass
class Stream:
    """One stream: all that was emitted, what the store has of it, and the window. number: among those of a stand.

    emitted: marks, growing. kept: those of them in the store. unseen: how far the follower is behind.
    """

    number: int
    has: Has
    window: Window
    fanout: Fanout
    emitted: list[Mark] = field(default_factory=list)
    kept: list[Mark] = field(default_factory=list)
    following: list[Mark] = field(default_factory=list)
    is_away: bool = False
    delay: int = 0

    def text(self, mark: Mark) -> bytes:
        return b"data: %d %d-%d\n\n" % (self.number, *mark)

    def emit(self, jump: int, *, is_lost: bool = False) -> None:
        """The publisher adds an entry; the follower has not seen it yet. is_lost: it never will."""
        major, minor = self.emitted[-1] if self.emitted else START
        mark = (major + jump, 1 if jump else minor + 1)
        self.emitted.append(mark)
        if not is_lost:
            self.kept.append(mark)

    def follow(self, *, publish: bool = True) -> None:
        """The window gets what the store has new, and hears of what the store no longer has."""
        for mark in [*self.next_ones(self.window.top), None]:
            before = self.latest_lost(mark or _END)
            if before is not None:
                lost = len(self.between(self.window.top, before))
                self.fanout.break_in(before, Missing(GapReason.STORE, lost if before[1] % 2 else None))
            if mark is not None:
                self.window.append(Block(mark, 1, self.text(mark)), now=0.0)
        if publish:
            self.fanout.publish()

    def append_block(self, count: int) -> None:
        """Several events at once, as a producer of runs has them."""
        major, minor = self.window.top
        marks = [(major, minor + 1 + index) for index in range(count)]
        self.emitted += marks
        self.kept += marks
        self.window.append(Block(marks[-1], count, b"".join(map(self.text, marks))), now=0.0)

    def next_ones(self, mark: Mark) -> list[Mark]:
        return [kept for kept in self.kept if kept > mark]

    def between(self, first: Mark, last: Mark) -> list[Mark]:
        return self.emitted[bisect_right(self.emitted, first) : bisect_right(self.emitted, last)]

    def latest_lost(self, mark: Mark) -> Mark | None:
        """The last lost event between the window's top and `mark`, which is the first kept one behind it."""
        lost = [each for each in self.between(self.window.top, mark) if each not in self.kept]
        return lost[-1] if lost else None

    def is_to_be_had(self, mark: Mark) -> bool:
        """True if the window or the store has the event."""
        if self.has is Has.STORE and mark in self.kept:
            return True
        entries = self.window.after(self.window.base) or []
        return any(isinstance(entry, Block) and mark in [at for at, _ in entry.events()] for entry in entries)

    async def page(self, after: Mark, most: int) -> Page:
        for _ in range(self.delay):
            await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("The store is away.", retry_after=1)
        found = self.next_ones(after)[:_PAGE]
        end = found[-1] if found else max([after, *self.emitted[-1:]])
        lost = [
            mark for mark in self.between(after, end) if mark not in self.kept and mark < (found[0] if found else end)
        ]
        lost = lost if found else self.between(after, end)
        start = lost[-1] if lost else after
        missing = Missing(GapReason.TRIMMED, len(lost)) if lost else None
        # Behind a hole within the page: the page ends before it.
        for index, mark in enumerate(found[1:], 1):
            if self.between(found[index - 1], mark) != [mark]:
                found, end = found[:index], found[index - 1]
                break
        return Page(tuple(Block(mark, 1, self.text(mark)) for mark in found), start, end, missing)


class Stand:
    """Streams, and clients of them. Made within a running loop."""

    def __init__(self, has: list[Has], policy: WindowPolicy = SMALL, *, steps: int = 2, pages: int = 2) -> None:
        self.loop = asyncio.get_running_loop()
        self.catching_up = CatchingUp(self.loop, steps=steps, pages=pages)
        self.defects: list[BaseException] = []
        self.loop.set_exception_handler(lambda _, context: self.defects.append(context["exception"]))
        self.streams: list[Stream] = []
        self.clients: list[Client] = []
        for number, each in enumerate(has):
            window = Window()
            history = _Behind() if each is Has.STORE else None
            fanout = Fanout(window, self.loop, policy, self.catching_up, history=history)
            stream = Stream(number, each, window, fanout)
            if history is not None:
                history.stream = stream
            self.streams.append(stream)

    def join(self, begin: list[Mark], numbers: list[int], **options: object) -> "Client":
        client = Client([self.streams[number] for number in numbers], begin, self.loop, **options)  # type: ignore[arg-type]
        self.clients.append(client)
        client.begin_all()
        return client

    async def turns(self, number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Everything that can happen has happened: streams are followed, all clients resumed, time has passed."""
        for client in self.clients:
            client.within = None
            client.resume()
        await self.turns(20)  # clients ask a store that is away before it is back
        for stream in self.streams:
            stream.is_away = False
            stream.follow()
        for _ in range(3):
            await asyncio.sleep(2.0)
            await self.turns(50)
            await until(lambda: not self.catching_up)

    def close(self) -> None:
        for client in self.clients:
            client.reader.abort()


class _Behind:
    """The history of a stream that is made after it."""

    stream: Stream

    async def page(self, after: Mark, most: int) -> Page:
        return await self.stream.page(after, most)


class Client(Bypassed):
    """A sink that checks what it gets, and does something within the next call if it is asked to."""

    def __init__(
        self,
        streams: list[Stream],
        begin: list[Mark],
        loop: asyncio.AbstractEventLoop,
        *,
        flavour: Flavour = IDS,
        has_primer: bool = False,
    ) -> None:
        self.streams = streams
        self.begin = begin
        self.marks = list(begin)
        self.flavour = flavour
        self.out = b""
        self.ids = [write_position(begin)]
        self.events: list[Event] = []
        self.lengths = [0]  # of `events` when each of `ids` came
        self.gaps = 0
        self.error: OriginError | None = None
        self.done = 0
        self.within: Callable[[], None] | None = None
        self.is_paused = False
        self.reader = Reader(self, flavour, loop, has_primer=has_primer, on_done=self._on_done)
        self.places: list[Place] = [self.reader.place(stream.fanout) for stream in streams]

    def begin_all(self) -> None:
        for place, mark in zip(self.places, self.begin, strict=True):
            place.begin(mark)

    def pause(self) -> None:
        self.is_paused = True
        self.reader.pause()

    def resume(self) -> None:
        self.is_paused = False
        self.reader.resume()

    @property
    def is_done(self) -> bool:
        return self.done > 0

    @property
    def has_everything(self) -> bool:
        pairs = zip(self.streams, self.marks, strict=True)
        return all(not stream.between(mark, _END) for stream, mark in pairs)

    def _on_done(self) -> None:
        self.done += 1

    def receive_data(self, data: bytes) -> None:
        assert not self.is_done, "a reader that has ended goes on"
        assert not self.is_paused, "a reader that is paused goes on"
        assert data
        self.out += data
        at = 0
        while at < len(data):
            found = _EVENT.match(data, at) or _GAP.match(data, at) or _PRIMER.match(data, at)
            assert found, data[at:]
            at = found.end()
            self._check(**{name: text for name, text in found.groupdict().items() if text is not None})
        within, self.within = self.within, None
        if within is not None:
            within()

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        self.receives()
        self.receive_data(data)

    def receive_eof(self) -> None:
        raise AssertionError("a feed has no end")

    def receive_error(self, error: OriginError) -> None:
        assert self.error is None
        self.error = error

    def _check(self, id: bytes | None = None, data: bytes | None = None, gap: bytes | None = None) -> None:  # noqa: A002
        if data is not None:
            number, _, mark = data.partition(b" ")
            index = next(index for index, stream in enumerate(self.streams) if stream.number == int(number))
            read = read_mark(mark)
            assert read is not None
            assert self.streams[index].between(self.marks[index], read) == [read], "lost, twice or out of order"
            self.marks[index] = read
            self.events.append(Event("message", data.decode(), "" if id is None else id.decode()))
        if gap is not None:
            assert id is not None
            self._check_gap(gap, id)
        if id is not None:
            assert id == write_position(self.marks)
            self.ids.append(id)
            self.lengths.append(len(self.events))
        assert (id is not None) is self.flavour.has_ids

    def _check_gap(self, gap: bytes, name: bytes) -> None:
        said = json.loads(gap)
        marks = read_position(name, len(self.marks))
        assert marks is not None
        assert said["from"].encode() == write_position(self.marks)
        moved = [index for index, mark in enumerate(marks) if mark != self.marks[index]]
        assert len(moved) == 1
        (index,) = moved
        missed = self.streams[index].between(self.marks[index], marks[index])
        assert missed, "a gap in which nothing is missing"
        assert said["lost"] in (None, len(missed))
        assert not any(map(self.streams[index].is_to_be_had, missed)), "a gap over what is there"
        self.marks = list(marks)
        self.gaps += 1
        self.events.append(Event("gap", gap.decode(), name.decode()))

    def check_at_the_end(self) -> None:
        """All that was to be handed out has been, and a browser reads it as this client does."""
        assert parse(self.out).events == self.events
        assert self.reader.gaps == self.gaps
        assert self.done <= 1
        assert (self.error is not None) <= self.is_done
        if isinstance(self.error, ReaderBehind):
            assert self.flavour is PLAIN
            lacking = [stream.between(mark, _END)[:1] for stream, mark in zip(self.streams, self.marks, strict=True)]
            assert any(
                mark and not stream.is_to_be_had(mark[0]) for stream, mark in zip(self.streams, lacking, strict=True)
            )
        elif not self.is_done:
            assert self.has_everything, "a reader got stuck"
