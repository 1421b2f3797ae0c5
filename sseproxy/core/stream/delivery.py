"""Does the client take what it is sent, and when has it taken nothing for too long?"""

#: How many times in the limit a blocked client is looked at: progress is noticed that finely.
_LOOKS = 8


class DeliveryWatch:
    """Follows how one client takes a body. limit: seconds for which it may take nothing; ``None`` for ever.

    Bytes and time come from the driver, which calls `look` at each `next_look`, and asks `stalls_at` after it.
    unsent: bytes that waited in buffers of this process at the last look.
    """

    # Two clients take nothing, and they look different from here.
    #
    # 1. One that does not keep up is *blocked*: bytes wait in our buffers, from `block` to `unblock`. Each look at
    #    which fewer wait than at the one before is progress. Without progress for `limit`, it is stalled.
    # 2. One whose machine has vanished blocks nothing: what a slow stream sends fits into the kernel's buffers for a
    #    long time, and TCP is patient. Its sign is that the same bytes stay unacknowledged for `limit`.
    # 3. `look` comes before anything more is sent: what is missing then was sent before the last look.
    #
    # Hazards: heartbeats every 10 s with a limit of 30 s: at each look something is on its way, but not the same, so
    # the number of acknowledged bytes is compared and not whether any are missing. A client that is blocked may still
    # acknowledge, byte by byte, what the kernel holds: while it is blocked, only the bytes here count.

    __slots__ = ("_acknowledged", "_blocked_since", "_limit", "_looked_at", "_missing_since", "_progress_at", "unsent")

    def __init__(self, limit: float | None, *, now: float) -> None:
        self._limit = limit
        self._looked_at = now
        self._blocked_since: float | None = None
        self._progress_at = now
        self.unsent = 0
        self._acknowledged: int | None = None  # at the last look, if something was missing
        self._missing_since = now

    @property
    def is_blocked(self) -> bool:
        """True while the client does not take bytes as fast as they come."""
        return self._blocked_since is not None

    def block(self, *, unsent: int, now: float) -> None:
        """Bytes have begun to wait."""
        if self._blocked_since is None:
            self._blocked_since = now
        self._progress_at = self._looked_at = now
        self.unsent = unsent

    def unblock(self, *, now: float) -> float:
        """The client has taken all there was. Return for how many seconds it was blocked."""
        since, self._blocked_since = self._blocked_since, None
        return 0.0 if since is None else now - since

    def look(self, *, unsent: int, acknowledged: int | None, now: float) -> None:
        """Note how far the bytes have come.

        unsent: bytes that wait here. acknowledged: bytes acknowledged since the connection opened; ``None`` if none are
        outstanding or the platform cannot tell.
        """
        self._looked_at = now
        if self.is_blocked:
            if unsent < self.unsent:
                self._progress_at = now
            self.unsent = unsent
        elif acknowledged is None or acknowledged != self._acknowledged:
            self._acknowledged, self._missing_since = acknowledged, now

    def next_look(self) -> float | None:
        """When `look` should be called next, at the latest; ``None`` if nothing depends on it."""
        if self._limit is None:
            return None
        if self.is_blocked:
            return self._looked_at + self._limit / _LOOKS
        return self._limit + (self._looked_at if self._acknowledged is None else self._missing_since)

    def stalls_at(self) -> float | None:
        """When the client will have taken nothing for too long, unless another look shows progress."""
        if self._limit is None:
            return None
        if self.is_blocked:
            return self._progress_at + self._limit
        return None if self._acknowledged is None else self._missing_since + self._limit
