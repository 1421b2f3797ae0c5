"""Where are the events that an upstream has named itself, if it gives the same id more than once?"""

from collections import deque
from collections.abc import Iterator

from sseproxy.core.journal.positions import Mark


class OwnPlaces:
    """The places of own ids, oldest first. The first one that is kept counts: rather an event twice than none.

    are_unique: no id has occurred again while it was kept.
    """

    # `_places` has each place, in the order of marks; `_first` the first one of each id, and `_later` the others, for
    # the few ids that occur again. When a place is dropped, the next one of its id becomes the first.

    __slots__ = ("_first", "_later", "_places", "are_unique")

    def __init__(self) -> None:
        self.are_unique = True
        self._first: dict[bytes, Mark] = {}
        self._later: dict[bytes, deque[Mark]] = {}
        self._places: deque[tuple[bytes, Mark]] = deque()

    def __contains__(self, own_id: object) -> bool:
        return own_id in self._first

    def __len__(self) -> int:
        """How many places are kept."""
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[bytes, Mark]]:
        """Iterate over ids and their places."""
        return iter(self._places)

    def add(self, own_id: bytes, mark: Mark) -> None:
        """Keep the place of an event, which is behind all others."""
        self._places.append((own_id, mark))
        if own_id in self._first:
            self._later.setdefault(own_id, deque()).append(mark)
            self.are_unique = False
        else:
            self._first[own_id] = mark

    def first(self, own_id: bytes | None) -> Mark | None:
        """Return the first place of an id."""
        return None if own_id is None else self._first.get(own_id)

    def drop(self, base: Mark) -> None:
        """Drop all places before `base`."""
        places, first, later = self._places, self._first, self._later
        while places and places[0][1] < base:
            own_id, _ = places.popleft()
            others = later.get(own_id)
            if others is None:
                del first[own_id]
            else:
                first[own_id] = others.popleft()
                if not others:
                    del later[own_id]
