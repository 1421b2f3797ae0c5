"""What does a reader get next, and how is it written for its kind of client?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sseproxy.core.journal.gap import GapPolicy, gap_event
from sseproxy.core.journal.positions import Mark, write_mark, write_position
from sseproxy.core.journal.window import Break, Entry, Spot, Window


class Step(NamedTuple):
    """What a reader gets next, and where it is then."""

    entries: Sequence[Entry]
    to: Spot

    @property
    def has_gap(self) -> bool:
        return any(isinstance(entry, Break) for entry in self.entries)


def following(window: Window, spot: Spot, *, upto: Mark, most: int) -> Step | None:
    """Return the next step of a reader that is at `spot`; ``None`` if the window no longer has what is behind it.

    upto: the mark at which the reader stops, not before its own; the end of an entry. most: see `Window.after`.
    """
    if spot.epoch != window.epoch:
        base, missing = window.missed(spot)
        entries = () if missing is None else (Break(base, spot.mark, missing),)
        return Step(entries, Spot(window.epoch, base))
    found = window.after(spot.mark, most=most)
    if found is None:
        return None
    while found and found[-1].last > upto:
        found.pop()
    # Behind the last entry nothing more is to come, also where `upto` is the end of a stretch in which nothing was.
    return Step(found, Spot(window.epoch, found[-1].last if found else upto))


class Written(NamedTuple):
    """Events as bytes. gaps: how many of them tell of a gap. is_cut: a gap follows of which the client cannot hear."""

    text: bytes
    gaps: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Flavour:
    """How a stream is written for one kind of client.

    has_ids: each event gets its position as id, and gaps are events. Without: no ids, and a client for whom events are
    missing is broken off, since it would take a gap event for a message.
    prefix: what is in front of the marks of a position.
    """

    has_ids: bool = True
    prefix: bytes = b""
    gap: GapPolicy = field(default_factory=GapPolicy)

    def position(self, marks: Sequence[Mark]) -> bytes:
        """Return the position of a client that is at `marks`."""
        return self.prefix + write_position(marks)

    def id_line(self, before: bytes = b"", behind: bytes = b"") -> bytes:
        """Return the line that gives an event its position, but for the mark's two numbers. See `write`."""
        return b"id: " + (self.prefix + before).replace(b"%", b"%%") + b"%d-%d" + behind + b"\n"

    def write(self, entries: Iterable[Entry], before: bytes = b"", behind: bytes = b"") -> Written:
        """Return `entries` as this kind of client gets them.

        before, behind: what a position has on both sides of the mark; see `positions.around`.
        """
        if not self.has_ids:
            return _plain(entries)
        pieces: list[bytes] = []
        gaps = 0
        id_line = self.id_line(before, behind)
        for entry in entries:
            if isinstance(entry, Break):
                gaps += 1
                first, last = (self.prefix + before + write_mark(mark) + behind for mark in (entry.first, entry.last))
                pieces.append(gap_event(self.gap, entry.missing, from_position=first, id=last))
            elif entry.is_named:
                pieces.append(entry.text)
            elif entry.count == 1:
                pieces += id_line % entry.last, entry.text
            else:
                for mark, text in entry.events():
                    pieces += id_line % mark, text
        return Written(b"".join(pieces), gaps, is_cut=False)


def _plain(entries: Iterable[Entry]) -> Written:
    texts: list[bytes] = []
    for entry in entries:
        if isinstance(entry, Break):
            return Written(b"".join(texts), 0, is_cut=True)
        texts.append(entry.text)
    return Written(b"".join(texts), 0, is_cut=False)


#: For channels, and for clients that take no ids.
PLAIN: Final = Flavour(has_ids=False)
