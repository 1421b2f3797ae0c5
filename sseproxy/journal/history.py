"""Where does a reader find events that its window no longer has?"""

from dataclasses import dataclass
from typing import Protocol

from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import Block


@dataclass(frozen=True, slots=True)
class Page:
    """What a store has behind a mark.

    blocks: everything that exists behind `start` up to `end`. missing: what is missing between the mark that was asked
    for and `start`; ``None``: nothing, and then `start` is that mark. end: the last block's mark, or, if the store has
    nothing behind it, the top of the stream.
    """

    blocks: tuple[Block, ...]
    start: Mark
    end: Mark
    missing: Missing | None = None


class History(Protocol):
    """What a store keeps of one stream."""

    async def page(self, after: Mark, most: int) -> Page:
        """Read at most `most` events behind `after`.

        Raise `Unavailable` while the store is away: the reader asks again a little later.
        """
