"""How are the entries and the state of one Redis stream read?"""

from collections.abc import Sequence
from typing import NamedTuple

from sseproxy.core.errors import ReplyError
from sseproxy.core.journal.positions import START, Mark, read_mark, write_mark
from sseproxy.origins.redis.continuity import NO_STREAM, StreamState
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.ports import Reply

#: Bytes in one read, about, and entries at least.
_AT_ONCE = 4 << 20
_LEAST = 8

#: Attempts to read entries and state of one and the same moment.
_TRIES = 5


class Entry(NamedTuple):
    """One entry. fields: name, value, name, value, …"""

    mark: Mark
    fields: Sequence[bytes]


class StreamReads:
    """Reads one stream. Each call raises `StoreAway` or `ReplyError`, and is limited by the link's timeout."""

    def __init__(self, link: Link, name: bytes) -> None:
        self.name = name
        self._link = link
        self._size = 0.0  # bytes of an entry, by the last reads, or by what the state shows of the stream

    def fitting(self, count: int) -> int:
        """Return how many entries to read at once, at most `count`: fewer of a stream whose entries are large."""
        return count if self._size * count <= _AT_ONCE else min(count, max(_LEAST, int(_AT_ONCE / self._size)))

    async def entries(self, start: Mark, count: int) -> list[Entry]:
        """Return at most `count` entries from `start` on, the one at `start` included."""
        found = _entries(await self._link.run("XRANGE", self.name, write_mark(start), "+", "COUNT", count))
        if found:
            self._size = max(_bytes(found) / len(found), self._size / 2)
        return found

    async def before(self, mark: Mark, count: int) -> list[Entry]:
        """Return at most `count` entries before `mark`, the newest first."""
        return _entries(await self._link.run("XREVRANGE", self.name, b"(" + write_mark(mark), "-", "COUNT", count))

    async def state(self) -> StreamState:
        """Return the state of the stream; `NO_STREAM` if there is none."""
        (reply,) = await self._link.run_all([("XINFO", "STREAM", self.name)])
        state = _state(reply)
        if not self._size and not isinstance(reply, ReplyError):  # before the first read: it must not be too large
            ends = _entries([each for each in (reply.get(b"first-entry"), reply.get(b"last-entry")) if each])
            self._size = max((_bytes([each]) for each in ends), default=0)
        return state

    async def entries_and_state(self, start: Mark, count: int) -> tuple[list[Entry], StreamState]:
        """Return the entries from `start` on, and the state that the stream had when they were read."""
        # Another client can write between the two commands. What matters is the front: where it is the same in both
        # replies, nothing was trimmed in between.
        commands = [("XRANGE", self.name, write_mark(start), "+", "COUNT", count), ("XINFO", "STREAM", self.name)]
        tries = 0
        while True:
            tries += 1
            first, second = await self._link.run_all(commands)
            if isinstance(first, ReplyError):
                raise first
            entries, state = _entries(first), _state(second)
            # Where the front never rests, the last look has to do: it can count as missing what was read before it was
            # trimmed, and never the other way round.
            if tries == _TRIES or _is_one_moment(start, entries, state):
                return entries, state


def _is_one_moment(start: Mark, entries: Sequence[Entry], state: StreamState) -> bool:
    if state.first is not None and state.first < start:
        return True  # the front is before what was read
    return state.first == (entries[0].mark if entries else None)


def _state(reply: Reply | ReplyError) -> StreamState:
    if isinstance(reply, ReplyError):
        if reply.code == "ERR" and "no such key" in str(reply):
            return NO_STREAM
        raise reply
    return StreamState.read(reply)


def _bytes(entries: Sequence[Entry]) -> int:
    return sum(len(part) for entry in entries for part in entry.fields)


def _entries(reply: Reply) -> list[Entry]:
    # An id that Redis itself replied can be read.
    return [Entry(read_mark(entry[0]) or START, entry[1]) for entry in reply or ()]
