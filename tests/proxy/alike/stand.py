"""How is the same case played through several doors, each with its own recording upstream, and what differs?"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sseproxy.config.loader import load
from sseproxy.core.routes import Route
from tests.proxy.alike.cases import Case
from tests.proxy.alike.client import Client
from tests.proxy.alike.records import Difference, Leeway, Outcome, differences, shown
from tests.proxy.alike.upstream import RecordingUpstream
from tests.support.fronts import OpenFront
from tests.support.proxy_server import ProxyServer

#: Options of each route, in the words of the configuration file. ``/nowhere`` has none.
ROUTES: Sequence[Mapping[str, Any]] = (
    {"match": {"prefix": "/plain"}, "heartbeat": {"interval": "off"}},
    {"match": {"prefix": "/heartbeats"}, "heartbeat": {"interval": "20ms"}, "dialect": "generic"},
    {"match": {"prefix": "/declared"}, "heartbeat": {"interval": "20ms", "before_response": "30ms"}},
    {
        "match": {"prefix": "/rewritten"},
        "heartbeat": {"interval": "off"},
        "rewrite": {"strip_prefix": "/rewritten"},
        "headers": {
            "request": {"set": {"X-Team": "blue", "X-Repeated": "once"}, "remove": ["Cookie", "X-Empty"]},
            "response": {"set": {"X-Frame": "no"}, "remove": ["Server", "Set-Cookie"]},
        },
    },
    {
        "match": {"prefix": "/browser"},
        "heartbeat": {"interval": "off"},
        "auth": {"cookie": "token", "strip_cookie": True},
        "cors": {"origins": ["https://app.example"], "credentials": True, "expose": ["X-Odd_Name"]},
        "end": {"event": {"name": "end", "data": ""}, "stop_reconnect": True},
    },
    {"match": {"prefix": "/small"}, "heartbeat": {"interval": "off"}, "limits": {"request_body": 1000}},
    {
        "name": "tickets",
        "match": {"prefix": "/tickets"},
        "heartbeat": {"interval": "off"},
        "tickets": {"path": "/_tickets", "ttl": "60s"},
    },
    {
        "name": "run",
        "match": {"path": "/run"},
        "heartbeat": {"interval": "off"},
        "journal": {"kind": "answer", "key": "run", "ids": "always", "detach": "end"},
    },
)

#: How many attempts a case gets to become smaller.
_SHRINKS = 200


@dataclass(frozen=True, slots=True)
class Door:
    """One way into the proxy. leeway: in what it may differ."""

    name: str
    port: int
    upstream: RecordingUpstream
    leeway: Leeway

    async def play(self, case: Case) -> Outcome:
        """Return what has reached both sides."""
        self.upstream.begin(tuple(answer for _, answer in case.exchanges))
        replies = await Client(self.port, self.upstream.wait_begun).play(case)
        await self.upstream.wait_settled()
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
    """Our own server, and others. requests: how many have been compared."""

    def __init__(self, own: Door, others: Sequence[Door]) -> None:
        self.own = own
        self.others = others
        self.requests = 0

    async def compare(self, case: Case) -> list[Finding]:
        """Play a case through all doors."""
        self.requests += len(case.exchanges)
        ours, *theirs = await asyncio.gather(*(door.play(case) for door in (self.own, *self.others)))
        return [
            await self._smallest(door, case)
            for door, their in zip(self.others, theirs, strict=True)
            if differences(ours, their, door.leeway)
        ]

    async def _smallest(self, door: Door, case: Case) -> Finding:
        found = await self._differences(door, case)
        if not found:
            return Finding(door.name, case, [Difference("only the first time", "", "")])
        attempts = iter(range(_SHRINKS))
        while True:
            for smaller in case.smaller():
                if next(attempts, None) is None:
                    return Finding(door.name, case, found)
                if again := await self._differences(door, smaller):
                    case, found = smaller, again
                    break
            else:
                return Finding(door.name, case, found)

    async def _differences(self, door: Door, case: Case) -> list[Difference]:
        ours, theirs = await asyncio.gather(self.own.play(case), door.play(case))
        return differences(ours, theirs, door.leeway)


@contextlib.asynccontextmanager
async def own_process(name: str, behind: OpenFront, leeway: Leeway) -> AsyncIterator[Door]:
    """A door of a proxy inside the test's own event loop."""
    async with (
        RecordingUpstream.serve() as upstream,
        ProxyServer.serve(*routes_to(upstream.port), end_key=b"k" * 32, behind=behind) as proxy,
    ):
        yield Door(name, proxy.port, upstream, leeway)


def routes_to(port: int) -> tuple[Route, ...]:
    """Return `ROUTES` with an upstream."""
    routes = [{**route, "upstream": f"http://127.0.0.1:{port}"} for route in ROUTES]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(json.dumps({"routes": routes}))  # which is YAML
        return load(path, flags={}, environ={}).routes
