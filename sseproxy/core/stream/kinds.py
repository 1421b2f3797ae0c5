"""Which kinds of streams are kept alive: how is one recognised, which head does it get, and what makes its session?

A kind is one object: proxy and middlewares ask it, and know no media type themselves. To add one, write a class with
the members of `MediaKind` in a module of its own, and list an instance in `KINDS`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from sseproxy.core.http.fields import Headers, event_stream, media_type
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import StreamTransfer

#: Statuses without a body, and 206: its bytes are those that ``Content-Range`` names (RFC 9110 section 14.4).
_NEVER = frozenset((204, 206, 304))


class MediaKind(Protocol):
    """A kind of stream. media_type: its type and subtype, in lower case."""

    @property
    def media_type(self) -> bytes: ...

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        """Return the header fields that leave, from end-to-end `headers`. decoded: a content coding was undone."""

    def promised_head(self) -> Headers:
        """Return the header fields of a stream that is begun before its upstream has answered."""

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> StreamTransfer:
        """Make the state machine of one stream, which writes its heartbeats and its errors; see `StreamSession`."""


class EventStreams:
    """Server-sent events (WHATWG HTML section 9.2)."""

    media_type = b"text/event-stream"

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        return event_stream(headers, decoded=decoded)

    def promised_head(self) -> Headers:
        return event_stream([(b"Content-Type", self.media_type)], decoded=False)

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> StreamSession:
        return StreamSession(plan, end_message=end_message, responded=responded, lead=lead, now=now)


EVENT_STREAM: MediaKind = EventStreams()

KINDS = (EVENT_STREAM,)

_BY_MEDIA_TYPE = {kind.media_type: kind for kind in KINDS}
_SUBTYPES = tuple(kind.media_type.partition(b"/")[2] for kind in KINDS)


def kind_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> MediaKind | None:
    """Return the kind of stream that a response with a body is; ``None`` if heartbeats must not go into it."""
    media = media_type(headers)
    return None if media is None or status in _NEVER else _BY_MEDIA_TYPE.get(media)


def is_of_a_kind(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the media type of `headers` is that of a kind, whatever the status of the response."""
    return media_type(headers) in _BY_MEDIA_TYPE


def promised_kind(accept: Iterable[bytes], kinds: Sequence[MediaKind] = KINDS) -> MediaKind:
    """Return the kind that is promised to a client which declares a stream: the first one that it names.

    accept: the values of its ``Accept`` fields. If they name none, it is the first of `kinds`.
    """
    said = b",".join(accept).lower()
    return next((kind for kind in kinds if said.find(kind.media_type) >= 0), kinds[0])


def may_be_stream(content_type: bytes | bytearray) -> bool:
    """True if a value of ``Content-Type`` may name a kind: a first look, cheaper than `kind_of`."""
    said = content_type.lower()
    # `find` and not `in`, which first tries whether the bytes are a number, and makes an exception when they are not.
    return any(said.find(subtype) >= 0 for subtype in _SUBTYPES)
