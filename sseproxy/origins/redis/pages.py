"""What does a Redis stream still hold behind the position of a client who comes back?"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sseproxy.core.errors import ReplyError, Unavailable
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window import Block
from sseproxy.journal.history import Page
from sseproxy.origins.redis.bells import Ring
from sseproxy.origins.redis.continuity import NO_STREAM, StreamState, missing_after
from sseproxy.origins.redis.own_ids import OwnIds
from sseproxy.origins.redis.reads import Entry, StreamReads
from sseproxy.origins.redis.shared import Shared, Terms

#: Readers of one stream that go through its history at the same time, and whose own ids are kept meanwhile.
_MOST_PASSED = 8


class Mirrored(NamedTuple):
    """How far a follower has read. counted: the entries that the stream had been given by then, if it counts them."""

    end: Mark
    counted: int | None

    @property
    def is_gone(self) -> bool:
        """True if the follower has seen that the stream is no more, and nothing of the next one."""
        return self.counted == 0 and self.end > START

    def missing(self, state: StreamState) -> Missing | None:
        """Return what `state` lacks behind the end; GapReason.UNKNOWN: it is that of another stream."""
        return missing_after(self.end, state, self.counted)


class StreamPages:
    """The `History` of one stream."""

    # A page ends where the follower's mirror does, at the latest: so a reader that has had all pages is at a mark of
    # the window, and what Redis has got meanwhile comes to it from there, like to all others.
    #
    # A page of a stream that has begun anew would bring events that the window brings again once the follower has
    # noticed. So the follower looks first, and the reader asks again. Of a stream that is gone nothing comes any more,
    # not what the window has either: the reader's position may be one that it got with the news of the end.

    def __init__(
        self,
        reads: StreamReads,
        terms: Terms,
        shared: Shared,
        mirrored: Callable[[], Mirrored],
        ring: Callable[[Ring], None],
    ) -> None:
        """mirrored: how far the follower has read. ring: makes it look."""
        self._reads, self._terms, self._shared = reads, terms, shared
        self._mirrored, self._ring = mirrored, ring
        # Where pages ended, and the own ids up to there: the next page need not read them back.
        self._passed: OrderedDict[Mark, OwnIds] = OrderedDict()

    async def page(self, after: Mark, most: int) -> Page:
        """Read at most `most` events behind `after`. Raises `Unavailable` while Redis cannot be read."""
        try:
            return await self._page(after, self._reads.fitting(most))
        except ReplyError as error:
            self._shared.refused(self._terms, self._reads.name, error)
            raise Unavailable("The store refused a command.", retry_after=1, cause=error.code) from error

    async def _page(self, after: Mark, most: int) -> Page:
        start, missing, mirror = after, None, self._mirrored()
        mirrored = mirror.end
        entries = await self._reads.entries(after, most + 1)
        if not entries or entries[0].mark != after:
            entries, state = await self._reads.entries_and_state(after, most + 1)
            missing = self._missing_after(after, state, mirror)
            if missing is not None:
                start = state.oldest
                self._shared.stats.gaps[missing.reason] += 1
            if missing is not None and missing.reason is GapReason.UNKNOWN:
                entries = await self._reads.entries(START, most + 1)
        found = [entry for entry in entries if entry.mark > start]
        within = [entry for entry in found if entry.mark <= mirrored]
        if start > mirrored:  # the mirror has begun anew meanwhile, and the reader with it
            end = found[-1].mark if found else start
        elif len(within) < len(found) or len(entries) <= most:
            found, end = within, mirrored
        else:
            end = found[-1].mark
        own_ids = self._passed.pop(start, None) or OwnIds(self._reads, self._terms.form, self._terms.most)
        blocks = await blocks_of(found, own_ids, self._terms, self._shared)
        if end < mirrored:
            self._passed[end] = own_ids
            if len(self._passed) > _MOST_PASSED:
                self._passed.popitem(last=False)
        return Page(blocks, start, end, missing)

    def _missing_after(self, after: Mark, state: StreamState, mirror: Mirrored) -> Missing | None:
        """Return what is missing behind `after`. Raises `Unavailable` while the follower reads another stream."""
        missing = mirror.missing(state)
        is_seen = state is NO_STREAM and mirror.is_gone
        if not is_seen and missing is not None and missing.reason is GapReason.UNKNOWN:
            self._ring(Ring.BELL)
            raise Unavailable("The stream begins anew.", retry_after=1, cause="it is not the one that was followed")
        return missing_after(after, state)


async def blocks_of(entries: Sequence[Entry], own_ids: OwnIds, terms: Terms, shared: Shared) -> tuple[Block, ...]:
    """Return the events of `entries`, without duplicates and what cannot be read."""
    blocks = []
    for mark, fields in entries:
        event = shared.entry_event(terms, fields)
        if await own_ids.has_passed(mark, event.own_id if event is not None else None):
            shared.stats.duplicates += 1
        elif event is not None:
            blocks.append(Block(mark, 1, event.text))
    return tuple(blocks)
