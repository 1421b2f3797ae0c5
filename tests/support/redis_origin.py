"""How does a test read from Redis as a replica with clients does?"""

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import redis

from sseproxy.core.errors import OriginError
from sseproxy.core.journal.policy import Format, RedisPolicy, Start
from sseproxy.core.journal.templates import Template
from sseproxy.journal.reader import Reader
from sseproxy.origins.redis.bells import BellLimits
from sseproxy.origins.redis.origin import RedisOrigin
from sseproxy.origins.redis.shared import FollowLimits
from sseproxy.origins.redis.tools import RedisTools
from sseproxy.stores.redis.blocking import BlockingLimits, BlockingReads
from sseproxy.stores.redis.line import LinkLimits
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber, SubscriberLimits
from sseproxy.stores.redis.urls import RedisURL
from tests.support.bypassed import Bypassed
from tests.support.patience import LIMIT
from tests.support.whatwg import Event, EventStreamParser

_NODES = itertools.count()


async def until(condition: Callable[[], object], what: str = "", limit: float = LIMIT) -> None:
    """Wait until `condition` holds. AssertionError: not within `limit` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not condition():
        assert loop.time() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(0.005)


def reads(db: redis.Redis) -> int:
    """Return how many times a stream was read, by any client of Redis."""
    return int(db.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])


async def read_again(db: redis.Redis, times: int = 1) -> None:
    """Wait until streams were read some more times: by polls, where nothing else happens."""
    wanted = reads(db) + times
    await until(lambda: reads(db) >= wanted, f"{times} more reads")


class Client(Bypassed):
    """An `EventSource`: a sink that reads events, and remembers its last id. gaps: the data of gap events."""

    def __init__(self) -> None:
        self.parser = EventStreamParser()
        self.text = b""
        self.error: OriginError | None = None
        self.reader: Reader | None = None

    @property
    def data(self) -> list[str]:
        """The data of all events but gaps."""
        return [event.data for event in self.parser.events if event.type != "gap"]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in self.parser.events if event.type == "gap"]

    @property
    def events(self) -> list[Event]:
        return self.parser.events

    @property
    def position(self) -> bytes:
        """What it would reconnect with."""
        return self.parser.last_event_id.encode() or _id_of_primer(self.text)

    def receive_data(self, data: bytes) -> None:
        self.text += data
        self.parser.feed(data)

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        self.receives()
        self.receive_data(data)

    def receive_eof(self) -> None:
        raise AssertionError("a feed does not end")

    def receive_error(self, error: OriginError) -> None:
        self.error = error

    def leave(self) -> None:
        assert self.reader is not None
        self.reader.abort()


def _id_of_primer(text: bytes) -> bytes:
    line = text.partition(b"\n")[0]
    return line.removeprefix(b"id: ") if line.startswith(b"id: ") else b""


def stream(*, form: Format = Format.TEXT, start: Start = Start.LATEST) -> RedisPolicy:
    """A route that reads streams; their names are given to `Replica.client`."""
    return RedisPolicy(streams=(Template.parse("s"),), format=form, start=start)


def channel(form: Format = Format.TEXT) -> RedisPolicy:
    """A route that reads channels."""
    return RedisPolicy(channels=(Template.parse("c"),), format=form)


USUAL, PATIENT, QUICK = FollowLimits(), BellLimits(), BellLimits(poll=0.3, probe=0.5, soon=0.2)


class Replica:
    """One process's half of the way from Redis to clients: an origin, and the connections that it needs."""

    def __init__(self, url: str, *, bells: BellLimits = PATIENT, follow: FollowLimits = USUAL) -> None:
        self._url, self._bells, self._follow = url, bells, follow
        self.clients: list[Client] = []

    async def __aenter__(self) -> Self:
        url, node = RedisURL.parse(self._url), b"t%d-%d" % (os.getpid(), next(_NODES))
        self.link = Link(url, limits=LinkLimits(timeout=1.0))
        self.subscriber = Subscriber(url, self.link, node=node, limits=SubscriberLimits(silence=1.0))
        self.blocking = BlockingReads(url, self.link, node=node, limits=BlockingLimits(block=1.0, timeout=1.0))
        tools = RedisTools(self.link, self.subscriber, self.blocking, b"sseproxy", node)
        self.origin = RedisOrigin(tools, bells=self._bells, limits=self._follow)
        self.link.start()
        self.origin.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.leave()
        await self.origin.close()
        await self.blocking.close()
        await self.subscriber.close()
        await self.link.close()

    def client(
        self,
        names: str | Sequence[str] = "s",
        policy: RedisPolicy | None = None,
        *,
        position: bytes | None = None,
        client: Client | None = None,
        wants_primer: bool = True,
        most: int = 1 << 20,
    ) -> Client:
        """Return a client that reads `names`; `client` comes back with what it has."""
        client = client or Client()
        listed = [names] if isinstance(names, str) else names
        client.reader = self.origin.open(
            client,
            [name.encode() for name in listed],
            policy or stream(),
            position,
            wants_primer=wants_primer and (policy is None or policy.is_stream),
            most=most,
            route="inbox",
        )
        self.clients.append(client)
        return client

    async def seated(
        self, names: str | Sequence[str] = "s", policy: RedisPolicy | None = None, **options: Any
    ) -> Client:
        """Return a client that has had its primer: it gets what is added from now on."""
        client = self.client(names, policy, **options)
        await until(lambda: client.text, "a primer")
        return client


def command(db: redis.Redis, *parts: bytes | str | float) -> Any:
    """Return Redis' answer to one command, decoded as `db` does; of a pipeline, nothing of use."""
    return db.execute_command(*parts)  # type: ignore[no-untyped-call]


def add(db: redis.Redis, key: str, *data: object, form: str = "*", **fields: str) -> list[bytes]:
    """XADD one entry for each of `data`, with further `fields`. Return their ids. form: of the id."""
    more = [part for pair in fields.items() for part in pair]
    return [command(db, "XADD", key, form, "data", str(each), *more).encode() for each in data]
