"""Through which functions does a GET go, from the client's connection to the write to the upstream?

    python -m benchmarks.journey [--all]

Counted are the calls of functions of this package, the modules ("rooms") in which they are, and the ways back: calls
that lead from a room to one that the request had left. The connection to the upstream is one of the pool. With
``--all`` each call is a line.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import sseproxy
from sseproxy.core.routes import Route, Upstream
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_http1 import Http1Door
from sseproxy.proxy.origins import Origins

_PACKAGE = str(Path(sseproxy.__file__).parent)
_REQUEST = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nUser-Agent: x/1\r\n\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True)
class Journey:
    """What was called, in order: room and function. It ends with the first write to the upstream."""

    upstream_port: int
    calls: list[tuple[str, str]] = field(default_factory=list)
    is_over: bool = False

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Take note of a call (`sys.setprofile`)."""
        if self.is_over or event != "call":
            return
        path, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if path.startswith(_PACKAGE):
            self.calls.append((path.removeprefix(_PACKAGE + "/").removesuffix(".py"), name))
        elif name.endswith("Transport.write"):
            peer = frame.f_locals["self"].get_extra_info("peername")
            self.is_over = peer is not None and peer[1] == self.upstream_port

    @property
    def rooms(self) -> list[str]:
        """The modules, in the order in which the request enters them first."""
        return list(dict.fromkeys(room for room, _ in self.calls))

    @property
    def returns(self) -> int:
        """How often the request comes back to a room that it had left."""
        steps = [room for room, _ in self.calls]
        seen, back = {steps[0]}, 0
        for before, after in itertools.pairwise(steps):
            back += after != before and after in seen
            seen.add(after)
        return back


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_RESPONSE)
    writer.close()


@contextlib.asynccontextmanager
async def _listening(upstream_port: int) -> AsyncIterator[int]:
    upstream = Upstream("http", "127.0.0.1", upstream_port)
    app = ProxyApp([Route("r", upstream)], Origins({upstream: HttpOrigin(upstream)}))
    server = await asyncio.get_running_loop().create_server(Http1Door(app).server(scheme="http"), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await app.close()


async def _ask(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_REQUEST)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def travel() -> Journey:
    """Send the same GET twice, over a connection of its own each, and follow the second one."""
    upstream = await asyncio.start_server(_answer, "127.0.0.1", 0)
    journey = Journey(upstream.sockets[0].getsockname()[1])
    async with _listening(journey.upstream_port) as port:
        await _ask(port)
        await asyncio.sleep(0.05)  # until the proxy has closed the first connection
        sys.setprofile(journey.profile)
        try:
            await _ask(port)
        finally:
            sys.setprofile(None)
    upstream.close()
    assert journey.is_over, "the write to the upstream was not seen"
    return journey


def main() -> None:
    """Print the figures."""
    journey = asyncio.run(travel())  # not uvloop, whose transports are C and call no profiler
    print(f"{len(journey.calls)} calls, {len(journey.rooms)} rooms, {journey.returns} ways back")
    if "--all" in sys.argv[1:]:
        for room, function in journey.calls:
            print(f"  {room:28} {function}")
    else:
        print("  " + ", ".join(journey.rooms))


if __name__ == "__main__":
    main()
