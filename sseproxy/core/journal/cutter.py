"""Which whole events do the bytes of an upstream hold, however they are cut?

Follows WHATWG HTML section 9.2.6 ("Interpreting an event stream").
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from sseproxy.core.stream.event_reader import EventReader, last_event_in
from sseproxy.core.stream.events import BOM, CR, CRLF, LF, one_line_events

_CR, _LF = CR[0], LF[0]  # `in` is fast for a number only

#: What ends each event.
_BOUNDARY: Final = LF + LF

#: Bytes: the last event of a longer piece is copied, so that the piece is not kept for it.
_BULK: Final = 2048

# What is plain at a glance. No line can be read in two ways, so the search never goes back further than to its begin.

#: One event as most of them are. The method itself: to look it up would cost a tenth of the match.
is_event: Final = re.compile(rb"(?:event:.*\n)?+data:.*\n\n").fullmatch
#: One event that may have an id, `[1]`.
_EVENT_WITH_ID: Final = re.compile(rb"(?:(?:event|retry):.*\n|id:(.*)\n)*(?:data:.*\n)+\n")
#: Several events without ids. Possessive, so that nothing is kept for each of them.
_EVENTS: Final = re.compile(rb"(?:(?:event:.*\n)?+(?:data:.*\n)++\n)++")

# These search in LF + the lines of one event: so each line has an LF in front of it.

#: An own id, with the space that the standard removes.
_ID: Final = re.compile(rb"\nid(?::(.*))?(?=\n|\Z)")
#: A field that changes something for a client: it dispatches the event, sets the id, or the reconnection time.
_EFFECT: Final = re.compile(rb"\n(data|id|retry)(?=[:\n]|\Z)")
#: A whole line that belongs to an event; ``retry`` has its effect at once. See `EventReader.is_void`.
_PART: Final = re.compile(rb"\n(?:data|event|id)(?::.*)?\n")


class Cut(NamedTuple):
    """One or more whole events that came together.

    text: canonical: the fields as they came, LF, exactly one blank line behind each event, no comments.
    ids: the ids that the upstream has given: the index of the event in this cut, and the value; nearly always empty.
    """

    count: int  # type: ignore[assignment]  # and no method of tuples
    text: bytes
    ids: Sequence[tuple[int, bytes]] = ()


class EventTooLarge(ValueError):
    """An event has more bytes than it may have. before: the whole events in front of it that were not returned yet."""

    def __init__(self, limit: int, before: Cut | None) -> None:
        super().__init__(f"an event of the upstream has more than {limit} bytes")
        self.before = before


class Cutter:
    """Cuts one event stream into whole events.

    limit: bytes of one event at most, in canonical form.

    An entry is a block with a ``data``, ``id`` or ``retry`` field. Other blocks change nothing for a client: they are
    dropped, as comments are, and the byte order mark at the start of the stream. What the end of the stream leaves
    unfinished is never an entry (WHATWG HTML section 9.2.6).

    is_settled: what comes next begins an event, so what `is_event` matches, and has no CR, is one as it is.
    """

    # Bytes that come right behind an event, and are plainly whole events in canonical form, are an entry as they are:
    # that is the first half of `feed`. All else takes the long way:
    #
    #     bytes ─ line ends become LF ─ the mark goes ─ comments go ─► `_under_way` ─ blank line ─► `_cut`
    #
    # 1. `_under_way` holds the lines behind the last blank line, canonical but for the blank line, with the one that
    #    is not complete yet. It is empty or begins with a byte that is no line end.
    # 2. Each byte is copied to it once, looked for blank lines when it comes, and read when its event is complete: the
    #    cost does not grow with the number of pieces.
    # 3. It never holds more than `limit` and a piece. A comment leaves nothing in it, however long, and in however
    #    many pieces it comes.
    # 4. Whether an event is too large depends on its lines alone, not on how they were cut: it is asked before blocks
    #    without effect are dropped.
    # 5. `is_settled`: the next byte begins a line behind a blank line, or is the LF of the CR that ended it. That LF
    #    would be one more blank line at worst, so what comes first may be looked at as if it were not to be dropped.
    #
    # Hazards: CR | LF is one line end, so the LF is dropped. A comment that is dropped between two line ends leaves
    # one, and no blank line. Blank lines behind a blank line are no events. A line that begins with a byte order mark
    # is an unknown field, and to a client whose stream begins with it, it is another one: it is dropped. An id with
    # NUL counts for no client, so the one before it in the same event stands.

    __slots__ = ("_in_comment", "_last_byte", "_limit", "_mark", "_newest", "_under_way", "is_settled")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._mark: bytes | None = b""  # what may become a byte order mark; `None` behind the start of the stream
        self._last_byte = b""  # the last byte that took the long way
        self._under_way = bytearray()
        self._in_comment = False
        self.is_settled = False
        self._newest = b""

    def feed(self, data: bytes) -> Cut | None:
        """Go on with `data`. Return the events that are complete with it; ``None`` if there are none.

        Raise `EventTooLarge`; the caller feeds nothing after it.
        """
        if self.is_settled and len(data) <= self._limit:
            if _CR not in data:
                text = data
            elif _CR in (text := data.replace(CRLF, LF)):
                return self._take(data)
            if is_event(text):
                self._newest = text
                return _new(Cut, (1, text, ()))
            if cut := self._glance(text):
                return cut
        return self._take(data) if data else None

    def note(self, newest: bytes) -> None:
        """The newest event did not come by `feed`. Nothing was under way."""
        self._newest = newest

    @property
    def is_between_events(self) -> bool:
        """True if nothing of an event is under way: only comments, what needs no event (``retry``), or nothing."""
        lines = bytes(self._under_way)
        return not lines or (lines.endswith(LF) and _PART.search(LF + lines) is None)

    def last(self, kept: int = 0) -> tuple[bytes, bytes]:
        """Return the type and the data of the newest event that was dispatched, empty before the first.

        kept: see `EventReader`. It is read only now: nothing is spent on it per event.
        """
        reader = EventReader(kept)
        reader.feed(self._newest + _BOUNDARY, 0.0)
        return reader.name, reader.data

    def _take(self, data: bytes) -> Cut | None:
        """Take the long way."""
        lines = data.removeprefix(LF) if self._last_byte == CR else data
        self._last_byte = data[-1:]
        if _CR in lines:
            lines = lines.replace(CRLF, LF).replace(CR, LF)
        if self._mark is not None:
            lines = self._mark + lines
            if len(lines) < len(BOM) and BOM.startswith(lines):
                self._mark = lines
                return None
            self._mark = None
            lines = lines.removeprefix(BOM)
        if self._in_comment:
            _, line_end, lines = lines.partition(LF)
            self._in_comment = not line_end
        under_way = self._under_way
        if not under_way:
            lines = lines.lstrip(LF)
        end, cut = 0, None
        if _LF in lines:
            end = lines.rfind(_BOUNDARY) + len(_BOUNDARY)
            if end < len(_BOUNDARY):
                end = 1 if lines.startswith(LF) and under_way.endswith(LF) else 0
        if end:
            cut = self._cut(bytes(under_way) + lines[:end] if under_way else lines[:end])
            under_way.clear()
        if end < len(lines):
            self._keep(lines[end:], cut)
        self.is_settled = not under_way and not self._in_comment
        return cut

    def _glance(self, text: bytes) -> Cut | None:
        """Return `text` if it is plain at a glance that it is nothing but events in canonical form.

        text: behind an event boundary, with no CR, and not above the limit.
        """
        ids: list[tuple[int, bytes]] = []
        count = one_line_events(text)
        if not count and _EVENTS.fullmatch(text):
            count = text.count(_BOUNDARY)
        if not count:
            end = 0
            while found := _EVENT_WITH_ID.match(text, end):
                value, end = found[1], found.end()
                if value is not None:
                    if 0 in value:
                        return None
                    ids.append((count, value.removeprefix(b" ")))
                count += 1
            if not end or end < len(text):
                return None
        self._newest = text if len(text) <= _BULK else last_event_in(text, _BOUNDARY)
        return _new(Cut, (count, text, tuple(ids)))

    def _cut(self, text: bytes) -> Cut | None:
        """Return the events of `text`, which is blocks and blank lines, and ends behind one."""
        if len(text) <= self._limit and (cut := self._glance(text)):
            return cut
        entries: list[bytes] = []
        ids: list[tuple[int, bytes]] = []
        may_have_id = text.startswith(b"id") or text.find(b"\nid") >= 0
        for lines in text.split(_BOUNDARY):
            block = without_lines(lines.lstrip(LF), b":")
            if block and len(block) + len(_BOUNDARY) > self._limit:
                raise EventTooLarge(self._limit, _joined(entries, ids))
            block = without_lines(block, BOM)
            if block.startswith(b"data:") or block.find(b"\ndata:") >= 0:
                self._newest = block
            elif not (fields := _EFFECT.findall(LF + block)):
                continue
            elif b"data" in fields:
                self._newest = block
            if may_have_id:
                own = [value for value in _ID.findall(LF + block) if b"\0" not in value]
                ids += [(len(entries), value.removeprefix(b" ")) for value in own[-1:]]
            entries.append(block)
        return _joined(entries, ids)

    def _keep(self, lines: bytes, cut: Cut | None) -> None:
        """Keep the beginning of an event, or more of it. cut: the events in front of it."""
        under_way = self._under_way
        begun, line_end = b"", b""
        if under_way and not under_way.endswith(LF):
            begun, line_end, lines = lines.partition(LF)  # of a line that is no comment, whatever follows
        under_way += begun + line_end
        last = lines.rfind(LF) + 1
        if lines.startswith(b":", last):
            self._in_comment = True
            lines = lines[:last]
        under_way += without_lines(lines, b":")
        if len(under_way) >= self._limit:
            raise EventTooLarge(self._limit, cut)


def without_lines(lines: bytes, beginning: bytes) -> bytes:
    """Return `lines` without those that begin with `beginning`. Behind such a one an LF has to be, or the end."""
    if not lines.startswith(beginning) and lines.find(LF + beginning) < 0:
        return lines
    return LF.join(line for line in lines.split(LF) if not line.startswith(beginning))


def _joined(entries: list[bytes], ids: list[tuple[int, bytes]]) -> Cut | None:
    if not entries:
        return None
    entries.append(b"")
    return Cut(len(entries) - 1, _BOUNDARY.join(entries), tuple(ids))


_new: Final = tuple.__new__  # half the price of `Cut(…)`
