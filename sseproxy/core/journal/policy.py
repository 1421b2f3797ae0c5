"""What does a route read from Redis?"""

from dataclasses import field
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.templates import Template, TemplateKind

#: Streams or channels of one route.
MOST_NAMES = 8


class Format(StrEnum):
    """How a message or an entry is read."""

    TEXT = "text"
    JSON = "json"
    FLASK_SSE = "flask-sse"


class Start(StrEnum):
    """Where a reader without a position begins."""

    LATEST = "latest"
    OLDEST = "oldest"


@frozen
class RedisPolicy:
    """The streams, or the channels, whose events a route sends.

    url: where Redis is; may hold a password. place: the same without secrets, for logs.
    """

    streams: tuple[Template, ...] = ()
    channels: tuple[Template, ...] = ()
    format: Format = Format.TEXT
    start: Start = Start.LATEST
    gap: GapPolicy = field(default_factory=GapPolicy)
    url: str = field(default="", repr=False)
    place: str = "redis"

    @property
    def is_stream(self) -> bool:
        return bool(self.streams)

    @property
    def shows_names(self) -> bool:
        """False if names hold what clients have written, such as cookies: no log may have them."""
        return all(value.kind is TemplateKind.AUTH for name in self.names for value in name.values)

    @property
    def names(self) -> tuple[Template, ...]:
        """What the route reads, in the order of its positions."""
        return self.streams or self.channels
