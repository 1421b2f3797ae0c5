"""How many records has a stream of NDJSON brought, is one under way, and what did the last one say?"""

from sseproxy.core.http.json_members import MemberScanner
from sseproxy.core.stream.dialects import RECORD_MEMBERS, Finality, record_finality
from sseproxy.core.stream.events import LF
from sseproxy.core.stream.scanner import Position

#: White space of JSON, but for the LF that ends a record (RFC 8259 section 2).
_BLANKS = b" \t\r"

#: Bytes: of a piece that is longer only the last record is kept.
BULK = 2048


class RecordReader:
    """Follows the lines of one stream that have left. A line of nothing but white space is no record.

    reads: what the last record says matters. newest: see rule 2. at: when the last record was complete, in the caller's
    seconds. position: where the stream stands; a record may begin at a boundary.
    """

    # Two ways lead in.
    #
    # 1. `feed` takes bytes that are cut anywhere.
    # 2. `newest` may be set, with `at`, to bytes that are nothing but whole records, where the stream stands at a
    #    boundary. That costs nothing per record; the last one is read when it matters, by `finality`.
    #
    # Only LF ends a record: a lone CR is white space in one. Of a record that leaves in pieces a scanner is kept, which
    # knows its top level whatever its length.

    __slots__ = ("_finality", "_has_text", "_line", "_reads", "at", "newest", "position")

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self._line: MemberScanner | None = None  # the record under way
        self._has_text = False  # in the line under way
        self._finality = Finality.NONE
        self.newest = b""
        self.at = 0.0
        self.position = Position.EVENT_BOUNDARY

    def feed(self, data: bytes, now: float) -> int:
        """Go on with `data`, which is not empty. Return the number of records that it completes."""
        if self.position is Position.EVENT_BOUNDARY and (records := whole_records(data)):
            self.newest, self.at = data if len(data) <= BULK else last_record_in(data), now
            return records
        end = data.rfind(LF) + 1
        records = self._end_lines(data[:end], now) if end else 0
        if end < len(data):
            self._begin_line(data[end:])
        self.position = Position.EVENT_BOUNDARY if end == len(data) else Position.MID_LINE
        return records

    def end(self, now: float) -> int:
        """The body is complete, with or without a last line end. Return the number of records that this completes."""
        return self._end_lines(LF, now) if self.position is Position.MID_LINE else 0

    def finality(self) -> Finality:
        """Return what the last record says about the end."""
        if self.newest and self._reads:
            scanner = MemberScanner(RECORD_MEMBERS)
            scanner.feed(last_record_in(self.newest))
            self._finality = record_finality(scanner)
            self.newest = b""
        return self._finality

    def _end_lines(self, whole: bytes, now: float) -> int:
        """Take the rest of the line under way, and whole lines."""
        first, _, others = whole.partition(LF)
        lines = [line for line in others.split(LF) if line.strip(_BLANKS)]
        records = len(lines)
        if self._has_text or first.strip(_BLANKS):
            records += 1
            if self._line is None:
                self.newest = first
            else:
                self._line.feed(first)
                self._finality, self.newest = record_finality(self._line), b""
        if lines:
            self.newest = lines[-1]
        if records:
            self.at = now
        self._line, self._has_text = None, False
        return records

    def _begin_line(self, piece: bytes) -> None:
        """Take a piece of a line that has no end yet."""
        self._has_text = self._has_text or bool(piece.strip(_BLANKS))
        if self._reads:
            if self._line is None:
                self._line = MemberScanner(RECORD_MEMBERS)
            self._line.feed(piece)


def whole_records(data: bytes) -> int:
    """Return how many records `data` is, if that is plain at a glance: only objects, one on each line; else 0."""
    if data[:1] != b"{" or data[-1:] != LF:
        return 0
    records = data.count(LF)
    return records if records == 1 or data.count(b"\n{") == records - 1 else 0


def last_record_in(data: bytes) -> bytes:
    """Return the last record of `data`, which is nothing but whole records."""
    return data[data.rfind(LF, 0, len(data) - 1) + 1 :]
