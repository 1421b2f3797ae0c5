"""Has the upstream said all that it had to say, although its connection broke? (contract section 5, `marker`)"""

from typing import Any

from sseproxy.core.events import CR, LF, LINE_END
from sseproxy.core.session import StreamSession
from sseproxy.core.transfer import CloseReason

_FIELD = b"data"


class MarkerWatch:
    """Knows whether the last event of a stream had exactly `marker` for its data.

    Bounded: of a line, and of the data of an event, no more is kept than it takes to know that it is something else.
    """

    __slots__ = ("_after_cr", "_data", "_limit", "_line", "_marker", "seen")

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._limit = len(marker) + len(_FIELD) + 3  # colon, blank, and one byte too many
        self._line = b""  # the beginning of the line under way
        self._data: bytes | None = None  # the beginning of the data of the event under way
        self._after_cr = False
        self.seen = False

    def feed(self, data: bytes) -> None:
        """Go on with `data`, which is not empty and begins where the last piece ended."""
        if self._after_cr:
            data = data.removeprefix(LF)
        self._after_cr = data.endswith(CR)
        lines = LINE_END.split(data)
        lines[0] = self._line + lines[0]
        self._line = lines.pop()[: self._limit]
        for line in lines:
            if line:
                self._take(line)
            elif self._data is not None:
                self.seen = self._data == self._marker
                self._data = None

    def _take(self, line: bytes) -> None:
        name, _, value = line[: self._limit].partition(b":")
        if name == _FIELD:
            value = value.removeprefix(b" ")
            self._data = value if self._data is None else (self._data + LF + value)[: self._limit]


class MarkedSession(StreamSession):
    """An event stream whose upstream marks its end, so that what happens behind the marker's event is no error."""

    __slots__ = ("_watch",)

    def __init__(self, *, marker: str, **options: Any) -> None:
        super().__init__(**options)
        self._watch = MarkerWatch(marker.encode())

    def receive_error(self, reason: CloseReason, *, now: float) -> None:
        if reason is CloseReason.UPSTREAM_ERROR and self._is_complete:
            self.receive_eof(now=now)
        else:
            super().receive_error(reason, now=now)

    @property
    def _is_complete(self) -> bool:
        """Nothing that would matter has come after the marker's event."""
        return self._watch.seen and self._is_between_events and not self._held

    def _receive_pieces(self, data: bytes, *, now: float) -> None:
        super()._receive_pieces(data, now=now)
        self._settled = b""  # the quick way of whole events would lead past the watch

    def _without_second_half(self, data: bytes) -> bytes:
        if data.startswith(LF):
            self._watch.feed(LF)
        return super()._without_second_half(data)

    def _pass_on(self, data: bytes, *, now: float) -> None:
        if data:
            self._watch.feed(data)
        super()._pass_on(data, now=now)
