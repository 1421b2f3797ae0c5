"""Which streams are open right now, may there be more, and how do all of them come to an end?"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sseproxy.core.errors import TooManyStreams
from sseproxy.core.http.networks import client_key
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import RECONNECT_AT_LEAST, StreamSession
from sseproxy.timers import Timers

_RETRY_AFTER = 5  # seconds that a client should wait when a limit is reached

#: By how much of their interval heartbeats come early, at most.
_MOST_LEAD = 0.1


class Drainable(Protocol):
    """Something under way that can be asked to end."""

    def drain(self, *, at: float | None, deadline: float | None, retry: int | None = None) -> None:
        """Come to an end from `at` on, and by `deadline`; times are the event loop's. See `Transfer.drain`."""


@dataclass(eq=False, slots=True)
class LiveStream:
    """One response on its way. comes_back: the client reconnects by itself, and its stream is no answer."""

    route: str
    client: str
    relay: Drainable
    is_event_stream: bool
    comes_back: bool


@dataclass(eq=False, slots=True)
class Admissions:
    """How many event streams there are, or will be, of each route and client of a process.

    A declared stream counts from its request on: what waits for its head is work for the upstream already.
    """

    _by_route: Counter[str] = field(default_factory=Counter)
    _by_client: Counter[tuple[str, str]] = field(default_factory=Counter)

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
        _count_down(self._by_route, route)
        _count_down(self._by_client, (route, client))


@dataclass(frozen=True, slots=True)
class Admission:
    """The place of one stream. Must be released once."""

    admissions: Admissions
    route: str
    client: str

    def release(self) -> None:
        self.admissions.release(self.route, self.client)


@dataclass(slots=True)
class LiveStreams:
    """All responses of a process that are on their way.

    chance: gives numbers from 0 to 1, by which streams that began together are kept from acting together.
    linger: seconds for which a stream that breaks stays open behind its last bytes, for clients that are busy.
    """

    chance: Callable[[], float] = random.random
    linger: float = 1.0
    _streams: set[LiveStream] = field(default_factory=set)
    _draining: tuple[float | None, float] | None = None
    _timers: Timers | None = None

    def clock(self) -> Timers:
        """The clock that all streams of the running event loop share."""
        loop = asyncio.get_running_loop()
        if self._timers is None or self._timers.loop is not loop:
            self._timers = Timers(loop)
        return self._timers

    def new_session(
        self, plan: StreamPlan, *, farewell: EndMessage | None = None, responded: bool, now: float
    ) -> StreamSession:
        """Make the session of an event stream, with a lead of its own. See `StreamSession`."""
        lead = self.chance() * _MOST_LEAD * (plan.heartbeat.interval or 0.0)
        return StreamSession(plan, farewell=farewell, responded=responded, lead=lead, now=now)

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: LiveStream) -> None:
        """Take note of a stream. One that begins during a drain, late, has the time that is left."""
        self._streams.add(stream)
        if self._draining is not None:
            deadline, spread = self._draining
            now = asyncio.get_running_loop().time()
            begin = now if deadline is None else max(now, deadline - spread)
            self._drain_one(stream, begin, deadline, spread if deadline is None else (deadline - begin) * 0.8)

    def remove(self, stream: LiveStream) -> None:
        self._streams.discard(stream)

    def drain(self, *, now: float, timeout: float | None, spread: float) -> None:
        """End streams of clients that come back, each at its moment within `spread` seconds; all others by `timeout`.

        The moments differ so that the clients do not all come back at once. All others may finish until then.
        """
        deadline = None if timeout is None else now + timeout
        self._draining = (deadline, spread)
        for stream in list(self._streams):
            self._drain_one(stream, now, deadline, spread)

    def cut_all(self) -> None:
        """Break off whatever is still open."""
        for stream in list(self._streams):
            stream.relay.drain(at=0.0, deadline=0.0)

    def _drain_one(self, stream: LiveStream, begin: float, deadline: float | None, spread: float) -> None:
        if not stream.comes_back:
            stream.relay.drain(at=None, deadline=deadline)
            return
        retry = RECONNECT_AT_LEAST + int(self.chance() * max(spread, 1.0) * 1000)
        stream.relay.drain(at=begin + self.chance() * max(spread, 0.0), deadline=deadline, retry=retry)


def _count_down(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
