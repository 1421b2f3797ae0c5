"""How is a place in a stream written, read, and found in a request?

A *mark* is a place in one stream, two numbers that grow: a Redis entry's milliseconds and sequence, a run's token and
sequence. A *position* is what a client holds: one mark, or, on a route with several streams, one for each:
``V.MARK.MARK``.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from sseproxy.core.http.fields import get_all
from sseproxy.core.http.query import unescaped

Mark: TypeAlias = tuple[int, int]

#: Before everything.
START: Mark = (0, 0)

#: The largest number in a mark, as in Redis.
MOST = 2**64 - 1

#: In place of a position: from the first event that is kept.
OLDEST = b"oldest"

#: Bytes of a position at most.
LONGEST = 512

_NUMBER = rb"(0|[1-9][0-9]{0,19})"
_MARK = re.compile(_NUMBER + rb"-" + _NUMBER)
_VECTOR = b"V."
#: Parameters of a query that name a position.
QUERY_NAMES = frozenset((b"last-event-id", b"lastEventId", b"last_event_id"))


def predecessor(mark: Mark) -> Mark:
    """Return the mark just before `mark`; `START` has none and stays as it is."""
    major, minor = mark
    if minor:
        return major, minor - 1
    return (major - 1, MOST) if major else START


def read_mark(text: bytes) -> Mark | None:
    """Return the mark that `text` is, or ``None``: digits only, no leading zeros, each number up to `MOST`."""
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    major, minor = int(found[1]), int(found[2])
    return (major, minor) if major <= MOST and minor <= MOST else None


def write_mark(mark: Mark) -> bytes:
    """Return `mark` as it is on the wire."""
    return b"%d-%d" % mark


def read_position(text: bytes, size: int) -> tuple[Mark, ...] | None:
    """Return the marks of a position in `size` streams, or ``None`` if `text` is none."""
    if len(text) > LONGEST:
        return None
    if size > 1:
        if not text.startswith(_VECTOR):
            return None
        text = text[len(_VECTOR) :]
    marks = [read_mark(part) for part in text.split(b".", size)]
    known = tuple(mark for mark in marks if mark is not None)
    return known if len(known) == len(marks) == size else None


def write_position(marks: Sequence[Mark]) -> bytes:
    """Return the position that `marks`, one for each stream, are."""
    written = b".".join(map(write_mark, marks))
    return _VECTOR + written if len(marks) > 1 else written


def around(marks: Sequence[Mark], index: int) -> tuple[bytes, bytes]:
    """Return what is in front of the mark at `index` in the position that `marks` are, and what is behind it.

    ``around`` + the mark is `write_position`; for events of one stream, while the other marks stay as they are.
    """
    if len(marks) == 1:
        return b"", b""
    before = b"".join(write_mark(mark) + b"." for mark in marks[:index])
    behind = b"".join(b"." + write_mark(mark) for mark in marks[index + 1 :])
    return _VECTOR + before, behind


def named_position(fields: Iterable[tuple[bytes, bytes]], query: bytes) -> bytes | None:
    """Return the position that a request names, or ``None``.

    ``Last-Event-ID`` goes before the query (without its question mark), since it is newer: an `EventSource` keeps its
    URL when it reconnects. An empty one counts as none.
    """
    for value in get_all(fields, b"last-event-id"):
        if value:
            return value
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if value and unescaped(name) in QUERY_NAMES:
            return unescaped(value)
    return None


def without_position(query: bytes, is_one: Callable[[bytes], bool] | None = None) -> bytes:
    """Return `query` without the parameters that name a position; all others stay as they are, byte for byte.

    is_one: true of the values that are taken off; left out, all are.
    """
    kept = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unescaped(name) not in QUERY_NAMES or (is_one is not None and not is_one(unescaped(value))):
            kept.append(pair)
    return b"&".join(kept)
