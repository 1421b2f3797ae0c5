"""What was the last event of a stream? Enough of it is kept to recognise a terminal event or an error."""

from sseproxy.core.stream.events import CR, LF, LINE_END

_FIELDS = (b"event", b"data")
_BOUNDARY = LF + LF

#: Bytes that are kept of the beginning of a line, and again of its end: service names and reasons stand there.
_KEPT = 1024


class LastEvent:
    """Follows a stream and keeps the type and the data of its last complete event.

    name, data: of that event (WHATWG HTML section 9.2.6), empty before the first one. limit: so many bytes of the data
    are kept as they are, or `_KEPT`; of longer data only the first and the last ones are.

    at: when it was complete, in the caller's seconds.

    Two ways lead in. `feed` takes bytes that are cut anywhere. `newest` may be set to bytes that are nothing but whole
    events, which costs nothing per event; `settle` looks at them when it has to.
    """

    __slots__ = ("_after_cr", "_data", "_limit", "_line", "_name", "at", "data", "name", "newest")

    def __init__(self, limit: int = 0) -> None:
        self._limit = max(limit, _KEPT)
        self._line = b""  # of the line under way
        self._name = b""  # of the event under way
        self._data: bytes | None = None
        self._after_cr = False
        self.name = b""
        self.data = b""
        self.newest = b""
        self.at = 0.0

    def feed(self, data: bytes, now: float) -> None:
        """Go on with `data`, which is not empty and begins where the last piece ended. `settle` comes first."""
        data = self._without_earlier_events(data)
        if self._after_cr:
            data = data.removeprefix(LF)
        self._after_cr = data.endswith(CR)
        lines = LINE_END.split(data)
        lines[0] = self._line + lines[0]
        self._line = self._squeezed(lines.pop())
        for line in lines:
            if line:
                self._take(line)
            else:
                self._dispatch(now)

    def settle(self, at: float) -> None:
        """Look at `newest`, whose last byte came at `at`."""
        newest, self.newest = self.newest, b""
        if newest:
            self._line, self._after_cr = b"", False
            self.feed(newest, at)

    def _without_earlier_events(self, data: bytes) -> bytes:
        """Leave out whole events in front of the last whole one, if that is plain at a glance."""
        last = data.rfind(_BOUNDARY)
        start = data.rfind(_BOUNDARY, 0, last) + len(_BOUNDARY) if last > 0 else 0
        if start < len(_BOUNDARY) or not data.startswith(b"data:", start) or CR[0] in data:
            return data
        self._line, self._name, self._data, self._after_cr = b"", b"", None, False
        return data[start:]

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field in _FIELDS:
            value = self._squeezed(value.removeprefix(b" "))
            if field == b"event":
                self._name = value
            else:
                self._data = value if self._data is None else self._squeezed(self._data + LF + value)

    def _dispatch(self, now: float) -> None:
        if self._data is not None:
            self.name, self.data, self.at = self._name, self._data, now
        self._name, self._data = b"", None

    def _squeezed(self, data: bytes) -> bytes:
        if len(data) <= 2 * self._limit:
            return data
        return data[: self._limit] + data[-self._limit :]


def last_event_in(data: bytes, boundary: bytes) -> bytes:
    """Return the last event of `data`, which is nothing but whole events that end with `boundary`."""
    start = data.rfind(boundary, 0, len(data) - len(boundary))
    return data if start < 0 else data[start + len(boundary) :]
