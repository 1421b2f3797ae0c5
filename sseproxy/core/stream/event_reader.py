"""How many events has a stream brought, is one under way, and what was the last one?"""

from sseproxy.core.stream.events import CR, LF, LINE_END

#: Bytes that are kept of the beginning of a line, and again of its end: service names and reasons stand there.
_KEPT = 1024


class EventReader:
    """Follows a stream, looks at each line once, and keeps the type and the data of the last complete event.

    name, data: of that event (WHATWG HTML section 9.2.6), empty before the first one. limit: so many bytes of the data
    are kept as they are, or `_KEPT`; of longer data only the first and the last ones are. at: when it was complete, in
    the caller's seconds.

    is_void: no complete line of the block under way belongs to an event: there are comments, what has had its effect
    already (``retry``), or nothing. So what follows them is as good as behind a blank line.
    """

    # Two ways lead in.
    #
    # 1. `feed` takes bytes that are cut anywhere, and costs a look at each line.
    # 2. `newest` may be set to bytes that are nothing but whole events, where the stream stands at a boundary. That
    #    costs nothing per event; they are read when it matters, by `settle`, which has to come before the next `feed`.
    #    `park` keeps the time at which they came, before another piece arrives.
    #
    # Hazards: an LF that begins a piece may be the second half of a CRLF that the last piece began. A line may have
    # any length, so it is kept squeezed: its field's name stands at its beginning.

    __slots__ = (
        "_after_cr",
        "_data",
        "_limit",
        "_line",
        "_name",
        "_parked",
        "_parked_at",
        "at",
        "data",
        "is_void",
        "name",
        "newest",
    )

    def __init__(self, limit: int = 0) -> None:
        self._limit = max(limit, _KEPT)
        self._line = b""  # of the line under way
        self._name = b""  # of the event under way
        self._data: bytes | None = None
        self._after_cr = False
        self._parked = b""
        self._parked_at = 0.0
        self.is_void = True
        self.name = b""
        self.data = b""
        self.newest = b""
        self.at = 0.0

    def feed(self, data: bytes, now: float) -> int:
        """Go on with `data`, which begins where the last piece ended. Return the number of events that it completes.

        Those are counted that a compliant client dispatches: blocks with a ``data`` field.
        """
        if self._after_cr:
            data = data.removeprefix(LF)
        self._after_cr = data.endswith(CR)
        lines = LINE_END.split(data) if CR[0] in data else data.split(LF)
        lines[0] = self._line + lines[0]
        self._line = self._squeezed(lines.pop())
        events = 0
        for line in lines:
            if line:
                self._read(line)
                continue
            if self._data is not None:
                events += 1
                self.name, self.data, self.at = self._name, self._data, now
            self._name, self._data, self.is_void = b"", None, True
        return events

    def settle(self, at: float) -> None:
        """Look at `newest`, whose last byte came at `at`."""
        self.park(at)
        newest, self._parked = self._parked, b""
        if newest:
            self._line, self._after_cr = b"", False
            self.feed(newest, self._parked_at)

    def park(self, at: float) -> None:
        """Keep `newest`, whose last byte came at `at`, for `settle`."""
        if self.newest:
            self._parked, self._parked_at, self.newest = self.newest, at, b""

    def _read(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            value = self._squeezed(value.removeprefix(b" "))
            self._data = value if self._data is None else self._squeezed(self._data + LF + value)
        elif field == b"event":
            self._name = self._squeezed(value.removeprefix(b" "))
        elif field != b"id":
            return
        self.is_void = False

    def _squeezed(self, data: bytes) -> bytes:
        if len(data) <= 2 * self._limit:
            return data
        return data[: self._limit] + data[-self._limit :]


def last_event_in(data: bytes, boundary: bytes) -> bytes:
    """Return the last event of `data`, which is nothing but whole events that end with `boundary`."""
    start = data.rfind(boundary, 0, len(data) - len(boundary))
    return data if start < 0 else data[start + len(boundary) :]
