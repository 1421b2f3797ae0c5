"""What does one reader get next, and how is it written?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.positions import Mark, write_position


@dataclass(frozen=True, slots=True)
class Flavour:
    """How a stream is written for one kind of client.

    has_ids: each event gets its position as id, and gaps are events. Without: no ids, and a client for whom events are
    missing is broken off, since it would take a gap event for a message.
    prefix: what is in front of the marks of a position.
    """

    has_ids: bool = True
    prefix: bytes = b""
    gap: GapPolicy = field(default_factory=GapPolicy)

    def position(self, marks: Sequence[Mark]) -> bytes:
        """Return the position of a client that is at `marks`."""
        return self.prefix + write_position(marks)


#: For channels, and for clients that take no ids.
PLAIN = Flavour(has_ids=False)
