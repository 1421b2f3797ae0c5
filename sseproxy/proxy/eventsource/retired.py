"""Of which routes that are gone may there still be tickets, and until when? (docs/operations.md, Reload)"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from sseproxy.core.eventsource.policies import Reopen, TicketBinding
from sseproxy.core.routes import Route
from sseproxy.stores.base import TicketTerms

#: What a ticket is found by: the name of its route, the path, and what its holder has to show.
Shelf = tuple[str, str, TicketBinding, str]


@dataclass(slots=True)
class RetiredRoutes:
    """The routes whose tickets outlive them. Times are those of one clock, in seconds."""

    # Plan: a ticket is found by its shelf. A reload takes a shelf away when its route is gone, or keeps its tickets
    # elsewhere, or binds them in another way. The route as it last was stays then, until its tickets have ended.
    #
    # Invariants:
    # 1. A ticket that is not open lives for `TicketTerms.remembered` from the moment in which it was kept, or in which
    #    its last opening ended. Both come before the reload, or `ended` is called: so the time here is late enough.
    # 2. A shelf of which a ticket is open stays, however long the stream goes on.
    # 3. The terms of a ticket are those under which it was kept: the longest of all that a shelf had holds.

    _until: dict[Shelf, float] = field(default_factory=dict)
    _last: dict[Shelf, Route] = field(default_factory=dict)
    _open: Counter[Shelf] = field(default_factory=Counter)

    def opened(self, route: Route) -> None:
        """Take note that a ticket of `route` is being opened."""
        self._open.update([shelf_of(route)])

    def ended(self, route: Route, *, now: float) -> None:
        """Take note that an opening is over."""
        self.extend(route, now=now)
        shelf = shelf_of(route)
        self._open[shelf] -= 1
        if not self._open[shelf]:
            del self._open[shelf]

    def leave(self, route: Route, *, now: float) -> None:
        """Take note that tickets of `route`, which is served until `now`, may live on. If it has any."""
        if route.tickets is not None:
            self.extend(route, now=now)
            self._last[shelf_of(route)] = route

    def extend(self, route: Route, *, now: float) -> None:
        """Take note that a ticket of `route` waits from `now` on; the route may be gone by then."""
        if route.tickets is not None:
            shelf = shelf_of(route)
            terms = TicketTerms(route.name, (), route.tickets.ttl, route.tickets.reopen is Reopen.ALWAYS)
            self._until[shelf] = max(self._until.get(shelf, now), now + terms.remembered)
            self._last.setdefault(shelf, route)

    def beside(self, routes: Sequence[Route], *, now: float) -> tuple[Route, ...]:
        """Return the routes that are not among `routes`, and of which tickets may live; forget all others."""
        for shelf in [each for each, until in self._until.items() if until <= now and not self._open[each]]:
            del self._until[shelf], self._last[shelf]
        current = {shelf_of(route) for route in routes if route.tickets is not None}
        return tuple(route for shelf, route in self._last.items() if shelf not in current)

    def next_end(self, routes: Sequence[Route]) -> float | None:
        """Return when the next of the routes beside `routes` may have ended; ``None``: there is none."""
        return min((self._until[shelf_of(route)] for route in self.beside(routes, now=-inf)), default=None)


def shelf_of(route: Route) -> Shelf:
    """Return the shelf of the tickets of a route. The route must have any."""
    assert route.tickets is not None
    return route.name, route.tickets.path, route.tickets.bind, route.tickets.bind_cookie
