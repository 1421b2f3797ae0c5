"""Which kinds of streams are kept alive: how is one recognised, which head does it get, and what makes its session?

A kind is one object: proxy and middlewares ask it, and know no media type themselves. To add one, write a class with
the members of `MediaKind` in a module of its own, and list an instance in `KINDS`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from sseproxy.core.http.fields import Headers, event_stream, media_type
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.ndjson import NdjsonStreams
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import StreamTransfer

#: Statuses without a body, and 206: its bytes are those that ``Content-Range`` names (RFC 9110 section 14.4).
_NEVER = frozenset((204, 206, 304))


class MediaKind(Protocol):
    """A kind of stream. media_types: types and subtypes, in lower case; the first one is promised."""

    @property
    def media_types(self) -> Sequence[bytes]: ...

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        """Return the header fields that leave, from end-to-end `headers`. decoded: a content coding was undone."""

    def promised_head(self) -> Headers:
        """Return the header fields of a stream that is begun before its upstream has answered."""

    def adapted(self, plan: StreamPlan) -> StreamPlan:
        """Return how a stream of this kind is treated, if `plan` says how one of events would be."""

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> StreamTransfer:
        """Make the state machine of one stream, which writes its heartbeats and its errors; see `StreamSession`."""


class EventStreams:
    """Server-sent events (WHATWG HTML section 9.2)."""

    media_types = (b"text/event-stream",)

    def head(self, headers: Headers, *, decoded: bool) -> Headers:
        return event_stream(headers, decoded=decoded)

    def promised_head(self) -> Headers:
        return event_stream([(b"Content-Type", self.media_types[0])], decoded=False)

    def adapted(self, plan: StreamPlan) -> StreamPlan:
        return plan

    def new_session(
        self, plan: StreamPlan, *, end_message: EndMessage | None, responded: bool, lead: float, now: float
    ) -> StreamSession:
        return StreamSession(plan, end_message=end_message, responded=responded, lead=lead, now=now)


EVENT_STREAM: MediaKind = EventStreams()
NDJSON: MediaKind = NdjsonStreams()

KINDS = (EVENT_STREAM, NDJSON)

_BY_MEDIA_TYPE = {media: kind for kind in KINDS for media in kind.media_types}

#: Finds the subtype of a kind: a first look.
_names_kind = re.compile(
    b"|".join(re.escape(media.partition(b"/")[2]) for media in _BY_MEDIA_TYPE), re.IGNORECASE
).search


def kind_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> MediaKind | None:
    """Return the kind of stream that a response with a body is; ``None`` if heartbeats must not go into it."""
    media = media_type(headers)
    return None if media is None or status in _NEVER else _BY_MEDIA_TYPE.get(media)


def is_of_a_kind(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the media type of `headers` is that of a kind, whatever the status of the response."""
    return media_type(headers) in _BY_MEDIA_TYPE


def names_records(accept: Iterable[bytes]) -> bool:
    """True if the values of ``Accept`` name NDJSON, and no event stream."""
    said = b",".join(accept).lower()
    return any(said.find(media) >= 0 for media in NDJSON.media_types) and said.find(EVENT_STREAM.media_types[0]) < 0


def may_be_stream(content_type: bytes | bytearray) -> bool:
    """True if a value of ``Content-Type`` may name a kind: a first look, cheaper than `kind_of`."""
    return _names_kind(content_type) is not None
