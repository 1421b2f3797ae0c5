"""What does a client that follows the standard make of an event stream?

Written from the WHATWG HTML standard, section 9.2.6 ("Interpreting an event stream"), one byte at a time and step by
step as it is worded there. It shares no code and no idea with the package: it is the judge.
"""

from typing import NamedTuple

_CR, _LF = 0x0D, 0x0A


class Event(NamedTuple):
    """One dispatched event, as a page sees it."""

    type: str
    data: str
    last_event_id: str


class EventStreamParser:
    """Collects what a stream dispatches. `retries`: each reconnection time it sets, in milliseconds, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.retries: list[int] = []
        self.last_event_id = ""
        self._line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._data = ""
        self._event_type = ""
        self._id_buffer = ""

    def feed(self, data: bytes) -> None:
        for byte in data:
            self._take(byte)

    def _take(self, byte: int) -> None:
        second_half = byte == _LF and self._after_cr
        self._after_cr = byte == _CR
        if second_half:
            return
        if byte in (_CR, _LF):
            self._end_line()
        else:
            self._line.append(byte)

    def _end_line(self) -> None:
        # "Streams must be decoded using the UTF-8 decode algorithm", which strips one leading byte order mark.
        # No line end is ever part of a multi-byte sequence, so lines may be decoded one by one.
        line = self._line.decode("utf-8", "replace")
        if self._first_line:
            line = line.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        self._first_line = False
        self._line.clear()
        self._process_line(line)

    def _process_line(self, line: str) -> None:
        if line == "":
            self._dispatch()
        elif line.startswith(":"):
            pass
        elif ":" in line:
            name, _, value = line.partition(":")
            self._process_field(name, value.removeprefix(" "))
        else:
            self._process_field(line, "")

    def _process_field(self, name: str, value: str) -> None:
        if name == "event":
            self._event_type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id_buffer = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retries.append(int(value))

    def _dispatch(self) -> None:
        self.last_event_id = self._id_buffer
        if self._data:
            data = self._data.removesuffix("\n")
            self.events.append(Event(self._event_type or "message", data, self.last_event_id))
        self._data = ""
        self._event_type = ""


def parse(stream: bytes) -> EventStreamParser:
    """The parser after all of `stream`; what its end leaves unfinished is discarded, as the standard says."""
    parser = EventStreamParser()
    parser.feed(stream)
    return parser
