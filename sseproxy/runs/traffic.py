"""How much has the upstream of one run brought so far, over all its connections?"""

from sseproxy.core.journal.loose import Loose
from sseproxy.core.stream.transfer import TransferStats


class Traffic:
    """What the connections of a run have brought, one after the other. An event costs nothing here.

    loose: what of it came that way.
    """

    __slots__ = ("_bytes", "_events", "_stats", "loose")

    def __init__(self) -> None:
        self.loose = Loose()
        self._events = 0
        self._bytes = 0
        self._stats: TransferStats | None = None

    def follow(self, stats: TransferStats) -> None:
        """Count what another connection brings from now on."""
        if self._stats is not None:
            self._events += self._stats.events
            self._bytes += self._stats.bytes_out
        self._stats = stats

    @property
    def events(self) -> int:
        """Whole events."""
        return self.loose.events + self._events + (0 if self._stats is None else self._stats.events)

    @property
    def bytes(self) -> int:
        """Bytes of these events, as they are kept."""
        return self.loose.bytes + self._bytes + (0 if self._stats is None else self._stats.bytes_out)

    @property
    def last_upstream_at(self) -> float | None:
        """When the upstream has last said something, in seconds of the event loop; ``None``: nothing so far."""
        stats = self._stats
        return None if stats is None or stats.first_byte_at is None else max(stats.last_upstream_at, self.loose.at)
