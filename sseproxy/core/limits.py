"""How much may one route, one client and one stream take?"""

from sseproxy.core.frozen import frozen

KIB = 1024
MIB = 1024 * KIB

#: Bytes of an upstream's error body that are passed on inside an error event.
ERROR_BODY = 64 * KIB

#: Seconds in which the body of an answer that becomes an error event has to come.
REFUSAL_TIME = 30.0

#: The smallest hold-back buffer that makes sense: a byte order mark and a field name fit.
MINIMUM_LINE = 16


@frozen
class LimitPolicy:
    """Limits of one route; ``None`` means no limit.

    streams: open event streams of the route, per process.
    streams_per_client: open event streams of one client (an address, of IPv6 a /64), per route and process.
    line: bytes of an unfinished line that are held back.
    request_body: bytes of a request body; a larger one is refused with 413.
    event: bytes of an event that is kept; a larger one ends its run, and is skipped if it comes out of Redis.
    detached: runs without a reader, per process; detached_per_client: of one login, or without one of an address.
    """

    streams: int | None = 10_000
    streams_per_client: int | None = None
    line: int = 64 * KIB
    request_body: int | None = None
    event: int = MIB
    detached: int | None = 1000
    detached_per_client: int | None = 8

    @property
    def counts_streams(self) -> bool:
        """True if a route has a limit of its own for streams: what a request body declares then counts at once."""
        usual = LimitPolicy().streams
        return self.streams_per_client is not None or (self.streams is not None and self.streams != usual)

    @property
    def is_line_too_short(self) -> bool:
        """True if `line` is below `MINIMUM_LINE`."""
        return self.line < MINIMUM_LINE
