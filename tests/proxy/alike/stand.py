"""How is the same case played through several doors, each with its own recording upstream, and what differs?"""

import asyncio
import contextlib
import itertools
import json
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp.http_parser import SINGLETON_HEADERS

from sseproxy.config.loader import load
from sseproxy.core.routes import Route
from tests.proxy.alike.cases import Ask, Case, Framing, draw
from tests.proxy.alike.client import Client
from tests.proxy.alike.records import Difference, Leeway, Outcome, differences, shown
from tests.proxy.alike.routes import UPSTREAM, routes_of
from tests.proxy.alike.upstream import RecordingUpstream
from tests.support.asgi_servers import AsgiServer
from tests.support.fronts import OpenFront, OwnFront
from tests.support.proxy_server import ProxyServer

_NONE = Leeway()


@dataclass(frozen=True, slots=True)
class Server:
    """What a server in front tells the proxy of a request; docs/library.md has the list.

    told: the request that it makes of one, as far as the proxy can see; ``None`` if it answers by itself.
    leeway: what it does to any message. closes: the connection behind the response, without a word.
    """

    name: str
    told: Callable[[Ask], Ask | None] = lambda ask: ask
    leeway: Leeway = _NONE
    closes: Callable[[Ask], bool] = lambda _: False

    def case(self, case: Case) -> Case | None:
        """Return what the proxy can see of a case; ``None`` if one of its requests never comes to it."""
        exchanges = [(self.told(ask), answer) for ask, answer in case.exchanges]
        seen = tuple((ask, answer) for ask, answer in exchanges if ask is not None)
        return replace(case, exchanges=seen) if len(seen) == len(exchanges) else None


def told_by_asgi(ask: Ask) -> Ask:
    """Without the authority of a target in absolute form, and without a question mark that nothing follows."""
    target = ask.target
    if "://" in target.partition("?")[0]:
        target = "/" + target.partition("://")[2].partition("/")[2]
    return replace(ask, target=target.removesuffix("?"))


def told_by_h11(ask: Ask) -> Ask:
    """Without a question mark that nothing follows."""
    return replace(ask, target=ask.target.removesuffix("?"))


def told_by_aiohttp(ask: Ask) -> Ask | None:
    """Not at all if a field comes twice that aiohttp wants once, or if the target is no path, which no route has."""
    names = Counter(name.title() for name, _ in ask.fields)
    return None if ask.target == "*" or any(names[each.title().encode()] > 1 for each in SINGLETON_HEADERS) else ask


OWN = Server("own server")
UVICORN = Server("uvicorn", told_by_asgi, Leeway(in_lower_case=True))
AIOHTTP = Server("aiohttp", told_by_aiohttp, closes=lambda ask: ask.framing is Framing.CHUNKED)

_AS_STARTED = Leeway(in_lower_case=True, adds=frozenset((b"server",)))
_CLOSING = replace(_AS_STARTED, closes_to_10=True)
_GRANIAN = replace(_CLOSING, regroups=True, adds=frozenset((b"server", b"content-length")))

#: In processes of their own, as users start them.
SERVERS = (
    Server("uvicorn-h11", told_by_h11, _CLOSING),
    Server("uvicorn-httptools", told_by_asgi, _AS_STARTED),
    # What is there at once gets a length. Once in thousands of early answers to a body, the connection is closed.
    Server("granian", told_by_asgi, _GRANIAN, closes=lambda ask: bool(ask.body)),
    Server("hypercorn", told_by_h11, replace(_CLOSING, asks=True)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Door:
    """One way into the proxy, and where that leads."""

    server: Server
    port: int
    upstream: RecordingUpstream

    async def play(self, case: Case) -> Outcome:
        """Return what has reached both sides."""
        self.upstream.begin(tuple(answer for _, answer in case.exchanges))
        replies = await Client(self.port, self.upstream.wait_begun).play(case)
        await self.upstream.wait_settled()
        asked = [Ask(), *(ask for ask, _ in case.exchanges)]
        replies = tuple(
            replace(reply, is_again=reply.is_again and not self.server.closes(before))
            for before, reply in zip(asked, replies, strict=False)
        )
        return Outcome(tuple(self.upstream.arrived), replies)


@dataclass(frozen=True, slots=True)
class Finding:
    """A case in which a door differs from our own server, made as small as it still does."""

    door: str
    case: Case
    differences: Sequence[Difference]

    def __str__(self) -> str:
        asked = "\n".join(f"  {shown(ask)}\n    {shown(answer)}" for ask, answer in self.case.exchanges)
        return f"{self.door} differs in case {self.case.seed}\n{asked}\n" + "\n".join(map(str, self.differences))


class Doors:
    """Our own server, and others. cases, requests: how many have been compared; arrived: how many came upstream.

    unseen: cases that a server in front kept to itself.
    """

    def __init__(self, own: Door, others: Sequence[Door]) -> None:
        self.own = own
        self.others = others
        self.cases = self.requests = self.arrived = self.unseen = 0

    async def compare(self, case: Case, shrinks: int) -> list[Finding]:
        """Play a case through all doors. shrinks: see `fuzz`."""
        told_by = {door: told for door in self.others if (told := door.server.case(case)) is not None}
        self.cases += 1
        self.requests += len(case.exchanges)
        self.unseen += len(self.others) - len(told_by)
        ours, *theirs = await asyncio.gather(*(door.play(case) for door in (self.own, *told_by)))
        self.arrived += len(ours.arrived)
        found = []
        for (door, told), their in zip(told_by.items(), theirs, strict=True):
            expected = ours if told == case else await self.own.play(told)
            if first := differences(expected, their, door.server.leeway):
                found.append(await self._smallest(door, case, first, shrinks))
        return found

    async def _smallest(self, door: Door, case: Case, first: Sequence[Difference], shrinks: int) -> Finding:
        found = await self._differences(door, case)
        if not found:
            return Finding(f"{door.server.name}, the first time only,", case, first)
        attempts = iter(range(shrinks))
        while True:
            for smaller in case.smaller():
                if next(attempts, None) is None:
                    return Finding(door.server.name, case, found)
                if again := await self._differences(door, smaller):
                    case, found = smaller, again
                    break
            else:
                return Finding(door.server.name, case, found)

    async def _differences(self, door: Door, case: Case) -> list[Difference]:
        if (told := door.server.case(case)) is None:
            return []
        ours, theirs = await asyncio.gather(self.own.play(told), door.play(case))
        return differences(ours, theirs, door.server.leeway)


@contextlib.asynccontextmanager
async def standing(*others: AbstractAsyncContextManager[Door]) -> AsyncIterator[Doors]:
    """Our own server, and others."""
    async with contextlib.AsyncExitStack() as stack:
        own = await stack.enter_async_context(inside(OWN, OwnFront.open))
        yield Doors(own, [await stack.enter_async_context(other) for other in others])


async def fuzz(doors: Doors, seed: int, requests: int, *, most: int = 5, shrinks: int = 200) -> list[Finding]:
    """Compare random cases with so many requests, or until `most` differences were found.

    shrinks: how many attempts a case gets to become smaller.
    """
    found: list[Finding] = []
    for number in itertools.count():
        if doors.requests >= requests or len(found) >= most:
            break
        found += await doors.compare(draw(seed, number), shrinks)
    return found


@contextlib.asynccontextmanager
async def inside(server: Server, behind: OpenFront) -> AsyncIterator[Door]:
    """A door of a proxy inside the test's own event loop."""
    async with (
        RecordingUpstream.serve() as upstream,
        ProxyServer.serve(*routes_to(upstream.port), end_key=b"k" * 32, behind=behind) as proxy,
    ):
        yield Door(server, proxy.port, upstream)


@contextlib.asynccontextmanager
async def in_a_process(server: Server) -> AsyncIterator[Door]:
    """A door of a proxy in a server process of its own, as users start it."""
    async with RecordingUpstream.serve() as upstream:
        with tempfile.TemporaryDirectory() as folder:
            os.environ[UPSTREAM] = str(upstream.port)
            os.environ["FORWARDED_ALLOW_IPS"] = ""  # otherwise uvicorn believes any program of this machine
            process = await asyncio.to_thread(
                AsgiServer, server.name, "tests.proxy.alike.app:proxy", Path(folder) / "r"
            )
            await asyncio.to_thread(process.wait_until_ready)
            try:
                yield Door(server, int(process.url.rpartition(":")[2]), upstream)
            finally:
                await asyncio.to_thread(process.stop)


def routes_to(port: int) -> tuple[Route, ...]:
    """Return the routes, read as a configuration file is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(json.dumps({"routes": routes_of(port)}))  # which is YAML
        return load(path, flags={}, environ={}).routes
