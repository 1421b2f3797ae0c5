"""What does a Redis stream still hold behind the position of a client who comes back?"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from sseproxy.core.errors import ReplyError, Unavailable
from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window import Block
from sseproxy.journal.history import Page
from sseproxy.origins.redis.continuity import missing_after
from sseproxy.origins.redis.own_ids import OwnIds
from sseproxy.origins.redis.reads import Entry, StreamReads
from sseproxy.origins.redis.shared import Shared, Terms

#: Readers of one stream that go through its history at the same time, and whose own ids are kept meanwhile.
_MOST_PASSED = 8


class StreamPages:
    """The `History` of one stream."""

    # A page ends where the follower's mirror does, at the latest: so a reader that has had all pages is at a mark that
    # the window knows, and what Redis has got meanwhile comes to it from there, like to all others.

    def __init__(self, reads: StreamReads, terms: Terms, shared: Shared, mirrored: Callable[[], Mark]) -> None:
        """mirrored: the mark up to which the follower has read."""
        self._reads, self._terms, self._shared, self._mirrored = reads, terms, shared, mirrored
        # Where pages ended, and the own ids up to there: the next page need not read them back.
        self._passed: OrderedDict[Mark, OwnIds] = OrderedDict()

    async def page(self, after: Mark, most: int) -> Page:
        """Read at most `most` events behind `after`. Raises `Unavailable` while Redis cannot be read."""
        try:
            return await self._page(after, self._reads.fitting(most))
        except ReplyError as error:
            self._shared.refused(self._reads.name, error)
            raise Unavailable("The store refused a command.", retry_after=1, cause=error.code) from error

    async def _page(self, after: Mark, most: int) -> Page:
        start, missing, mirrored = after, None, self._mirrored()
        entries = await self._reads.entries(after, most + 1)
        if not entries or entries[0].mark != after:
            entries, state = await self._reads.entries_and_state(after, most + 1)
            missing = missing_after(after, state)
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
