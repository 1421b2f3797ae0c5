"""How much has the upstream of one run brought so far, over all its connections?"""

from sseproxy.core.stream.transfer import TransferStats


class Traffic:
    """What the connections of a run have brought, one after the other. An event costs nothing here."""

    __slots__ = ("_bytes", "_events", "_stats")

    def __init__(self) -> None:
        self._events = 0
        self._bytes = 0
        self._stats: TransferStats | None = None

    def follow(self, stats: TransferStats) -> None:
        """Count what another connection brings from now on."""
        self._events, self._bytes = self.events, self.bytes
        self._stats = stats

    @property
    def events(self) -> int:
        """Whole events."""
        return self._events + (0 if self._stats is None else self._stats.events)

    @property
    def bytes(self) -> int:
        """Bytes of these events, as they are kept."""
        return self._bytes + (0 if self._stats is None else self._stats.bytes_out)

    @property
    def last_upstream_at(self) -> float | None:
        """When the upstream has last said something, in seconds of the event loop; ``None``: nothing so far."""
        stats = self._stats
        return None if stats is None or stats.first_byte_at is None else stats.last_upstream_at
