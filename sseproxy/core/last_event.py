"""What was the last event of a stream? Enough of it is kept to recognise a terminal event or an error."""

from sseproxy.core.events import CR, LF, LINE_END

_FIELDS = (b"event", b"data")

#: Bytes that are kept of the beginning of a line, and again of its end: service names and reasons stand there.
_KEPT = 1024


class LastEvent:
    """Follows a stream and keeps the type and the data of its last complete event.

    name, data: of that event (WHATWG HTML section 9.2.6), empty before the first one. limit: so many bytes of the data
    are kept as they are, or `_KEPT`; of longer data only the first and the last ones are.

    Two ways lead in. `feed` takes bytes that are cut anywhere. `newest` may be set to bytes that are nothing but whole
    events, which costs nothing per event; `read` looks at them when it has to.
    """

    __slots__ = ("_after_cr", "_data", "_limit", "_line", "_name", "data", "name", "newest")

    def __init__(self, limit: int = 0) -> None:
        self._limit = max(limit, _KEPT)
        self._line = b""  # of the line under way
        self._name = b""  # of the event under way
        self._data: bytes | None = None
        self._after_cr = False
        self.name = b""
        self.data = b""
        self.newest = b""

    def feed(self, data: bytes) -> None:
        """Go on with `data`, which is not empty and begins where the last piece ended."""
        self._take_newest()
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
                self._dispatch()

    def read(self) -> tuple[bytes, bytes]:
        """Return type and data of the last complete event."""
        self._take_newest()
        return self.name, self.data

    def _take_newest(self) -> None:
        newest, self.newest = self.newest, b""
        if newest:
            self._line, self._after_cr = b"", False
            self.feed(newest)

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field in _FIELDS:
            value = self._squeezed(value.removeprefix(b" "))
            if field == b"event":
                self._name = value
            else:
                self._data = value if self._data is None else self._squeezed(self._data + LF + value)

    def _dispatch(self) -> None:
        if self._data is not None:
            self.name, self.data = self._name, self._data
        self._name, self._data = b"", None

    def _squeezed(self, data: bytes) -> bytes:
        if len(data) <= 2 * self._limit:
            return data
        return data[: self._limit] + data[-self._limit :]


def last_event_in(data: bytes, boundary: bytes) -> bytes:
    """Return the last event of `data`, which is nothing but whole events that end with `boundary`."""
    start = data.rfind(boundary, 0, len(data) - len(boundary))
    return data if start < 0 else data[start + len(boundary) :]
