"""How does one Redis stream reach all clients that wait for it, with nothing lost in silence and nothing twice?"""

import asyncio
from collections.abc import Sequence
from enum import Enum

from sseproxy.core.errors import ReplyError, StoreAway
from sseproxy.core.frames import release_frames
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark, predecessor, write_mark
from sseproxy.core.journal.window import STREAM, Block, Window
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.place import Place
from sseproxy.origins.redis.bells import Bells, Ring, Watch
from sseproxy.origins.redis.continuity import NO_STREAM, StreamState, missing_after
from sseproxy.origins.redis.own_ids import OwnIds
from sseproxy.origins.redis.pages import Mirrored, StreamPages, blocks_of
from sseproxy.origins.redis.reads import Entry, StreamReads
from sseproxy.origins.redis.shared import NO_CONNECTION, Shared, Terms
from sseproxy.origins.redis.wishes import Wish
from sseproxy.timers import Timer


class Following(Enum):
    """new: the top of the stream is not known yet."""

    NEW = "new"
    UNDER_WAY = "under way"
    CLOSED = "closed"


class StreamFollower:
    """One stream: its window, its readers, and the task that looks what is new in Redis."""

    # The window is a mirror of the stream's end. A look reads what is behind `_end`, the last mark that was read, and
    # hands it to the window, which brings it to all readers. Rings start looks; a ring during a look starts another.
    #
    # 1. One look at a time, so entries are appended once and in order, whatever rings and how often. The number of its
    #    reads is bounded; each read has the link's timeout.
    # 2. A read begins *at* `_end`, not behind it. If the entry there is still the same, nothing behind it was trimmed.
    #    If not, the stream's counters decide (`continuity`).
    # 3. `_counted` is how many entries the stream had been given at `_end`. It may be too low (entries that were taken
    #    out before they were read), so that a client hears of a gap where there is none; it is never too high.
    # 4. What begins anew under the same name is another stream. Was the connection there all the time, then its end
    #    was seen (EXPIRE, DEL) and the readers have missed nothing but what the new one has trimmed. Was it not, they
    #    hear of a gap (`store`), and get what the window has not had.
    # 5. A reader begins only after a look that began behind its arrival: what another replica has shown its client is
    #    in Redis by then, so a position beyond the stream's last id is none of this stream.
    # 6. The window's top is `_end` at the end of each look, also where the last entries were skipped.
    #
    # Hazards: entries that are trimmed between two commands of one look (`entries_and_state`); a stream made anew
    # within a millisecond, with the same ids (`_last` compares what the entry holds); a failover that has lost the
    # newest writes (`_replaced` skips what readers have had); a reader that leaves before it has begun.

    def __init__(self, name: bytes, terms: Terms, shared: Shared, bells: Bells) -> None:
        self.name = name
        self.readers = 0
        self.following = Following.NEW
        self._terms, self._shared, self._bells = terms, shared, bells
        self._reads = StreamReads(shared.link, name)
        self._window = Window()
        self.fanout = Fanout(
            self._window,
            shared.loop,
            STREAM,
            shared.catching_up,
            history=StreamPages(self._reads, terms, shared, lambda: Mirrored(self._end, self._counted), self.ring),
            budget=shared.budget,
        )
        self._own_ids = OwnIds(self._reads, terms.form, terms.most)
        self._end: Mark = START
        self._last: int | None = None  # what the entry at `_end` holds, as a hash, if it was read
        self._counted: int | None = 0
        self._connection = NO_CONNECTION  # that of the last read
        self._waiting: dict[Place, Wish] = {}
        self._rung: Ring | None = None
        self._look: asyncio.Task[None] | None = None
        self._retry: Timer | None = None
        self._watch: Watch | None = None

    def join(self, place: Place, wish: Wish) -> None:
        """Let a reader begin, now or when Redis has been asked. The caller must call `leave` later."""
        self.readers += 1
        if self.following is Following.UNDER_WAY and self._begin_here(place, wish):
            return
        self._waiting[place] = wish
        self.ring(Ring.BELL)

    def leave(self, place: Place) -> None:
        """A reader has gone."""
        self.readers -= 1
        self._waiting.pop(place, None)

    def ring(self, ring: Ring) -> None:
        """Look what is new, soon. Does nothing while Redis is away: the next connection rings."""
        if self.following is Following.CLOSED or self._shared.is_away:
            return
        if self._rung is not Ring.BELL:
            self._rung = ring
        if self._look is None:
            self._look = self._shared.loop.create_task(self._look_around())

    async def close(self) -> None:
        """Leave no task and no timer. It has no readers any more."""
        self.following = Following.CLOSED
        if self._watch is not None:
            self._watch.close()
        if self._retry is not None:
            self._retry.cancel()
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])
        self.fanout.close()

    async def _look_around(self) -> None:
        try:
            while self._rung is not None:
                ring, self._rung = self._rung, None
                async with self._shared.looks:
                    await self._look_once(ring)
        except StoreAway:
            self._connection = NO_CONNECTION
            self._try_again()
        except ReplyError as error:
            self._shared.refused(self._terms, self.name, error)
            self._try_again()
        except Exception as error:  # noqa: BLE001 - clients wait for it, and the next look may succeed
            self._shared.loop.call_exception_handler({"message": "a look at a stream failed", "exception": error})
            release_frames(error)
            self._try_again()
        finally:
            self._look = None

    def _try_again(self) -> None:
        """The poll does, once it is armed. Until then, and for those who wait, this timer does."""
        self._rung = None
        shared = self._shared
        if (self._watch is None or self._waiting) and self._retry is None:
            wait = shared.limits.retry * (0.8 + 0.2 * shared.chance())
            self._retry = shared.clock.call_at(shared.clock.time() + wait, self._ring_again)

    def _ring_again(self) -> None:
        self._retry = None
        self.ring(Ring.BELL)

    async def _look_once(self, ring: Ring) -> None:
        waiting = list(self._waiting)  # readers that join during this look wait for the next one: see 5
        if self.following is Following.NEW:
            await self._start()
        elif not await self._read(ring):
            self._rung = Ring.BELL  # there is more, and other followers have a turn first
            return
        for place in waiting:
            if place in self._waiting and self._begin_here(place, self._waiting[place]):
                del self._waiting[place]
        if any(place in self._waiting for place in waiting):
            await self._begin_at_oldest(waiting)

    async def _begin_at_oldest(self, waiting: Sequence[Place]) -> None:
        """Let readers begin that want all there is, or named a position that is none of this stream."""
        state = await self._reads.state()
        if state is not NO_STREAM and state.last < self._end:
            self._rung = Ring.BELL  # begun anew since it was read: the window has to begin anew first
            return
        oldest = min(state.oldest, self._end)
        for place in waiting:
            wish = self._waiting.pop(place, None)
            if wish is None:
                continue
            if wish.missing is not None:
                self._shared.stats.gaps[wish.missing.reason] += 1
                place.begin(oldest, wish.missing)
            else:
                # Of a stream that is gone the window may still have entries. A client that names a position gets no
                # smaller one here, since it would be taken for one of the old stream elsewhere, and bring it twice.
                place.begin(self._end if state is NO_STREAM else oldest)

    async def _start(self) -> None:
        connection = self._shared.connection
        state = await self._reads.state()
        self._connection = connection
        self._end, self._counted = state.last, state.added
        self.fanout.start(state.last)
        self.following = Following.UNDER_WAY
        self._watch = self._bells.watch(self.name, lambda: write_mark(self._end), self.ring)

    def _begin_here(self, place: Place, wish: Wish) -> bool:
        """Let a reader begin if what is known suffices."""
        mark = wish.mark(self._end)
        if mark is not None:
            place.begin(mark)
        return mark is not None

    async def _read(self, ring: Ring) -> bool:
        """Bring the window to the end of the stream, or as far as one look goes. Return whether it is the end."""
        limits = self._shared.limits
        found, is_all = 0, False
        for _ in range(limits.pages):
            connection, count = self._shared.connection, self._reads.fitting(limits.count)
            entries = await self._next_entries(count)
            self._connection = connection
            if entries is None:
                continue  # begun anew
            await self._append(entries)
            found += len(entries)
            is_all = len(entries) < count - 1
            if is_all:
                break
            await self.fanout.settled()
        if self._window.top != self._end:
            self.fanout.break_in(self._end, None)
        if found and ring is Ring.POLL and self._rung is None:
            self._bells.missed()
        if self._watch is not None:
            self._watch.looked()
        return is_all

    async def _next_entries(self, count: int) -> Sequence[Entry] | None:
        """Return the entries behind `_end`; None if the stream goes on elsewhere, and `_end` is there now."""
        entries = await self._reads.entries(self._end, count)
        if self._holds_end(entries):
            return entries[1:]
        if not entries and self._end == START:
            return entries
        entries, state = await self._reads.entries_and_state(self._end, count)
        if self._holds_end(entries):
            return entries[1:]
        missing = missing_after(self._end, state, self._counted)
        if entries and entries[0].mark == self._end:  # there, but with something else in it
            missing = Missing(GapReason.UNKNOWN)
        if missing is None:
            if state.added is not None and state.last == (entries[-1].mark if entries else self._end):
                self._counted = state.added - len(entries)
            return entries
        if missing.reason is not GapReason.UNKNOWN:
            self._go_on(state.oldest, missing, state.removed)
            return None
        if self._connection == self._shared.connection or (state is NO_STREAM and not self._counted):
            return self._next_life(entries, state)
        await self._replaced(state, count)
        return None

    def _holds_end(self, entries: Sequence[Entry]) -> bool:
        if not entries or entries[0].mark != self._end:
            return False
        return self._last is None or self._last == _hash(entries[0])

    def _next_life(self, entries: Sequence[Entry], state: StreamState) -> Sequence[Entry] | None:
        """The stream was seen to its end, and may have begun anew."""
        self._counted = state.removed
        missing = missing_after(START, state)
        if state is NO_STREAM or (missing is None and state.oldest >= self._end):
            return entries
        self._go_on(state.oldest, missing, state.removed)
        return None

    async def _replaced(self, state: StreamState, count: int) -> None:
        """Redis lost the stream while it was not watched. Go on behind what readers have had, if that is there."""
        kept = self._window.after(self._window.base) or ()
        known = {entry.last: entry.text for entry in kept if isinstance(entry, Block)}
        own_ids = self._no_own_ids()
        base, skipped = state.oldest, 0
        while known:
            entries = [entry for entry in await self._reads.entries(base, count) if entry.mark > base]
            blocks = await blocks_of(entries, own_ids, self._terms, self._shared)
            new = next((block.last for block in blocks if known.get(block.last) != block.text), None)
            if new is not None:
                base = predecessor(new)
                skipped += sum(entry.mark < new for entry in entries)
                break
            skipped += len(entries)
            if not entries:
                break
            base = entries[-1].mark
        removed = None if state.removed is None else state.removed + skipped
        self._go_on(base, Missing(GapReason.STORE), removed)

    def _go_on(self, base: Mark, missing: Missing | None, counted: int | None) -> None:
        if missing is not None:
            self._shared.stats.gaps[missing.reason] += len(self.fanout)
        self._end, self._last, self._counted = base, None, counted
        self._own_ids = self._no_own_ids()
        self.fanout.break_in(base, missing)

    async def _append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        blocks = await blocks_of(entries, self._own_ids, self._terms, self._shared)
        now = self._shared.clock.time()
        for block in blocks:
            self._window.append(block, now=now)
        self._end, self._last = entries[-1].mark, _hash(entries[-1])
        if self._counted is not None:
            self._counted += len(entries)
        if blocks:
            self._shared.stats.deliveries += len(blocks) * len(self.fanout)
            self.fanout.publish()

    def _no_own_ids(self) -> OwnIds:
        return OwnIds(self._reads, self._terms.form, self._terms.most)


def _hash(entry: Entry) -> int:
    return hash(tuple(entry.fields))
