"""Which streams are open right now, may there be more, and how do all of them come to an end?"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sseproxy.core.errors import TooManyStreams
from sseproxy.core.routes import Route
from sseproxy.relay import Relay

_RETRY_AFTER = 5  # seconds that a client should wait when a limit is reached

#: Milliseconds: what an EventSource waits at least before it comes back after a drain.
_RECONNECT_AT_LEAST = 1000


@dataclass(eq=False, slots=True)
class LiveStream:
    """One response body on its way. event_source: the client reconnects by itself."""

    route: str
    client: str
    relay: Relay
    is_event_stream: bool
    event_source: bool


@dataclass(slots=True)
class LiveStreams:
    """All response bodies of a process that are on their way."""

    _streams: set[LiveStream] = field(default_factory=set)
    _by_route: Counter[str] = field(default_factory=Counter)
    _by_client: Counter[tuple[str, str]] = field(default_factory=Counter)
    _draining: tuple[float, float | None, float] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def check_room(self, route: Route, client: str) -> None:
        """Raise `TooManyStreams` if the route, or this client of it, has as many event streams as it may have."""
        if route.limits.streams is not None and self._by_route[route.name] >= route.limits.streams:
            raise TooManyStreams("Too many streams are open.", retry_after=_RETRY_AFTER)
        limit = route.limits.streams_per_client
        if limit is not None and self._by_client[route.name, client] >= limit:
            raise TooManyStreams("Too many streams of this client are open.", retry_after=_RETRY_AFTER)

    def add(self, stream: LiveStream) -> None:
        self._streams.add(stream)
        if stream.is_event_stream:
            self._by_route[stream.route] += 1
            self._by_client[stream.route, stream.client] += 1
        if self._draining is not None:
            self._drain_one(stream, *self._draining)

    def remove(self, stream: LiveStream) -> None:
        self._streams.discard(stream)
        if stream.is_event_stream:
            _count_down(self._by_route, stream.route)
            _count_down(self._by_client, (stream.route, stream.client))

    def drain(self, *, now: float, timeout: float | None, spread: float) -> None:
        """Let every stream end at its own moment within `spread` seconds, and cut what is left after `timeout`.

        The moments differ so that clients which reconnect do not all come back at once.
        """
        self._draining = (now, timeout, spread)
        for stream in list(self._streams):
            self._drain_one(stream, now, timeout, spread)

    def _drain_one(self, stream: LiveStream, now: float, timeout: float | None, spread: float) -> None:
        retry = None
        if stream.event_source:
            retry = _RECONNECT_AT_LEAST + int(random.uniform(0, max(spread, 1.0)) * 1000)
        deadline = None if timeout is None else now + timeout
        stream.relay.drain(at=now + random.uniform(0, spread), deadline=deadline, retry=retry)

    def cut_all(self) -> None:
        """Break off whatever is still open."""
        now = 0.0
        for stream in list(self._streams):
            stream.relay.drain(at=now, deadline=now)


def _count_down(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
