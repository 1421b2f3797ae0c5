"""Who reads in the soak: comes, goes, crashes, changes the replica, and comes back with what it had last?"""

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from tests.push.history import ClientEvent, Closed, Gap, Got, Kind, Lineage, Opened, Ready
from tests.push.message import read
from tests.push.sse_client import Broken, Event, Refused, Silent, Stream

_AGAIN = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """What a user opens, as whom, and the names of which it must get all."""

    kind: Kind
    path: str
    cookie: str
    names: frozenset[str]


class User:
    """One client through all its connections. What should not have happened to them is in `troubles`."""

    def __init__(self, reading: Reading, ports: Sequence[int], seed: int) -> None:
        self.troubles: list[str] = []
        self._reading, self._ports, self._dice = reading, ports, random.Random(seed)
        self._events: list[ClientEvent] = []
        self._position = ""
        self._last: dict[str, int] = {}
        self._earlier: deque[tuple[str, dict[str, int]]] = deque(maxlen=5)

    @property
    def lineage(self) -> Lineage:
        return Lineage(self._reading.kind, self._reading.names, self._events)

    async def run(self, until: asyncio.Event) -> None:
        """Come and go, until `until` is set."""
        while not until.is_set():
            await self._stay(self._dice.expovariate(1 / self._dice.choice((1, 4, 15))), until)
            if self._dice.random() < 0.3:
                self._crash()
            await asyncio.sleep(self._dice.choice((0.0, 0.1, 1.0, 4.0)) * self._dice.random())

    async def finish(self, last: Mapping[str, int], limit: float) -> None:
        """Read on until the message `last` of each of its streams is there, for `limit` seconds at most."""
        wanted = {name: n for name, n in last.items() if name in self._reading.names}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._reading.kind is Kind.STREAM and not wanted.items() <= self._last.items():
                    await self._connected(wanted)

    async def _stay(self, seconds: float, until: asyncio.Event) -> None:
        """Read one connection for a while."""
        reading, over = asyncio.ensure_future(self._connected()), asyncio.ensure_future(until.wait())
        await asyncio.wait([reading, over], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    async def _connected(self, wanted: Mapping[str, int] | None = None) -> None:
        """Read one connection, to its end or until all that is `wanted` is there."""
        self._events.append(Opened(time.monotonic(), self._position))
        try:
            async with self._stream() as stream:
                if self._reading.kind is Kind.CHANNEL:
                    self._events.append(Ready(time.monotonic(), ""))
                async for event in stream.events():
                    self._take(event)
                    if wanted and wanted.items() <= self._last.items():
                        return
        except Broken:
            await asyncio.sleep(_AGAIN)
        except (Refused, Silent) as error:
            self.troubles.append(f"{self._reading.path} {self._reading.cookie}: {error!r}")
            await asyncio.sleep(_AGAIN)
        finally:
            self._events.append(Closed(time.monotonic()))

    @contextlib.asynccontextmanager
    async def _stream(self) -> AsyncIterator[Stream]:
        port = self._dice.choice(self._ports)
        stream = await Stream.open(port, self._reading.path, cookie=self._reading.cookie, position=self._position)
        try:
            yield stream
        finally:
            stream.abort()

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        if self._reading.kind is Kind.STREAM:
            if not isinstance(self._since_opened(), Ready):
                self._events.append(Ready(now, "" if event.data else event.id))
            if not event.id:
                self.troubles.append(f"{self._reading.path} {self._reading.cookie}: no id: {event}")
            self._earlier.append((self._position, dict(self._last)))
            self._position = event.id
        if event.name == "gap":
            self._events.append(_gap(now, event))
        elif event.data:
            name, n, is_intact = read(event.data)
            self._events.append(Got(now, name, n, event.id, is_intact))
            self._last[name] = n

    def _since_opened(self) -> ClientEvent | None:
        """Return the `Ready` of this connection, if it has come."""
        for event in reversed(self._events):
            if isinstance(event, Opened):
                return None
            if isinstance(event, Ready):
                return event
        return None

    def _crash(self) -> None:
        """Lose the last events, which the page had not yet kept, and come back with an older position."""
        earlier = [(position, last) for position, last in self._earlier if position]
        if earlier:
            self._position, self._last = self._dice.choice(earlier)
            self._earlier.clear()


def _gap(now: float, event: Event) -> Gap:
    fields = json.loads(event.data)
    return Gap(now, fields["reason"], fields["from"], fields["lost"], event.id)
