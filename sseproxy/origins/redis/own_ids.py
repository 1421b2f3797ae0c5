"""Has an entry been there before, under the id that its publisher gave it?"""

from collections.abc import Sequence

from sseproxy.core.journal.policy import Format
from sseproxy.core.journal.positions import Mark
from sseproxy.origins.redis.formats import Unreadable, event_of_entry
from sseproxy.origins.redis.reads import StreamReads

#: How many entries back the same id makes a duplicate.
LOOK_BACK = 1000

#: Entries in one read of what came before, at most.
_CHUNK = 200


class OwnIds:
    """The own ids among the last `LOOK_BACK` entries, for a reader that goes through a stream in order."""

    # Nothing is read back or kept for a stream that has no own ids. At the first one that is met, what came before it
    # is read, so that all replicas find the same duplicates, wherever each of them began.

    def __init__(self, reads: StreamReads, form: Format, most: int) -> None:
        """form, most: as for `event_of_entry`."""
        self._reads, self._form, self._most = reads, form, most
        self._entries = 0  # passed until now
        self._places: dict[bytes, int] | None = None  # own id: number of its last entry, oldest first

    async def has_passed(self, mark: Mark, own_id: bytes | None) -> bool:
        """Note the next entry. Return True if the same own id is among the entries before it."""
        self._entries += 1
        if own_id is None:
            return False
        if self._places is None:
            self._places = await self._look_back(mark)
        places, oldest = self._places, self._entries - LOOK_BACK
        last = places.pop(own_id, None)
        places[own_id] = self._entries
        while places[first := next(iter(places))] < oldest:
            del places[first]
        return last is not None and last >= oldest

    async def _look_back(self, mark: Mark) -> dict[bytes, int]:
        found: list[bytes | None] = []
        while len(found) < LOOK_BACK:
            entries = await self._reads.before(mark, min(self._reads.fitting(_CHUNK), LOOK_BACK - len(found)))
            if not entries:
                break
            found += [self._own_id(entry.fields) for entry in entries]
            mark = entries[-1].mark
        places: dict[bytes, int] = {}
        for number, own_id in enumerate(reversed(found), self._entries - len(found)):
            if own_id is not None:
                places.pop(own_id, None)
                places[own_id] = number
        return places

    def _own_id(self, fields: Sequence[bytes]) -> bytes | None:
        try:
            return event_of_entry(self._form, fields, self._most).own_id
        except Unreadable:
            return None
