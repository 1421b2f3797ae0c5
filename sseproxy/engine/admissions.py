"""May there be one more event stream of this route, or of this client?"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sseproxy.core.errors import TooManyStreams
from sseproxy.core.frozen import frozen
from sseproxy.core.http.networks import client_key
from sseproxy.core.routes import Route

_RETRY_AFTER = 5  # seconds that a client should wait when a limit is reached


@dataclass(eq=False, slots=True)
class Admissions:
    """How many event streams there are, or will be, of each route and client of a process.

    A declared stream counts from its request on: while it waits for its head, the upstream works for it already.
    """

    _by_route: Counter[str] = field(default_factory=Counter)
    _by_client: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._by_route.total()

    def admit(self, route: Route, client: str) -> "Admission":
        """Count one more. Raises `TooManyStreams` if the route, or this client of it, has as many as it may have.

        client: its address; of IPv6 all addresses of one network are one client.
        """
        client = client_key(client)
        if route.limits.streams is not None and self._by_route[route.name] >= route.limits.streams:
            raise TooManyStreams("Too many streams are open.", retry_after=_RETRY_AFTER)
        limit = route.limits.streams_per_client
        if limit is not None and self._by_client[route.name, client] >= limit:
            raise TooManyStreams("Too many streams of this client are open.", retry_after=_RETRY_AFTER)
        self._by_route[route.name] += 1
        self._by_client[route.name, client] += 1
        return Admission(self, route.name, client)

    def release(self, route: str, client: str) -> None:
        """Count one less; `client` as its `Admission` has it."""
        _count_down(self._by_route, route)
        _count_down(self._by_client, (route, client))


@frozen
class Admission:
    """The place of one stream. Must be released once."""

    admissions: Admissions
    route: str
    client: str

    def release(self) -> None:
        self.admissions.release(self.route, self.client)


def _count_down(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
