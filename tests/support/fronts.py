"""Which server has the connections of a tested proxy's clients: its own, uvicorn, or aiohttp's?"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Protocol

import uvicorn
import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sseproxy.aiohttp.door import AiohttpDoor
from sseproxy.asgi.types import ASGIApp
from sseproxy.http1.listener import ClientConnections
from sseproxy.http1.policy import ServerPolicy
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.on_asgi import AsgiDoor, ResponseAborted
from sseproxy.proxy.on_http1 import Http1Door
from tests.support.settled import eventually
from tests.support.virtual_clock import VirtualLoop

#: Real seconds in which a kernel has told the other one that there is room again.
_KERNEL_WAITS = 0.3

#: Of a head, as our own server has them, for aiohttp.
_LINE, _FIELDS = 65536, 500

#: Seconds that a connection has to close when its server closes.
_SHUTDOWN = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens. sock: bound. tls: of an https server."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None

    @property
    def is_unix(self) -> bool:
        return self.sock.family == socket.AF_UNIX

    async def listen(self, protocol: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        """Let each client's connection be one `protocol`."""
        loop = asyncio.get_running_loop()
        if self.is_unix:
            return await loop.create_unix_server(protocol, sock=self.sock, ssl=self.tls)
        return await loop.create_server(protocol, sock=self.sock, ssl=self.tls)


class Front(Protocol):
    """A server that listens. clients: those that are connected, whatever stands for them in this server."""

    @property
    def clients(self) -> Sized: ...

    def stop_listening(self) -> None:
        """Let no other client connect."""

    async def shut_down(self) -> None:
        """Close the connections. Requests have been aborted."""


@dataclass(frozen=True, slots=True)
class OwnFront:
    """Our own server."""

    door: Http1Door
    clients: ClientConnections
    server: asyncio.Server

    @classmethod
    async def open(cls, app: ProxyApp, place: Place, policy: ServerPolicy) -> "OwnFront":
        door = Http1Door(app, policy)
        clients = door.server(scheme="http" if place.tls is None else "https", is_unix=place.is_unix)
        return cls(door, clients, await place.listen(clients))

    def stop_listening(self) -> None:
        self.server.close()

    async def shut_down(self) -> None:
        await self.clients.shutdown(_SHUTDOWN)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Keep out how servers report a response that is broken off, and a request that makes no sense.

    They do it with the whole stack, which pytest keeps, and all that is on it.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], (ResponseAborted, HttpProcessingError))


@dataclass(frozen=True, slots=True)
class UvicornFront:
    """uvicorn with the options that docs/library.md demands, and without its own wait at the end.

    It is its protocol that a connection is; the rest of it starts and stops a process.
    """

    state: ServerState
    server: asyncio.Server

    @classmethod
    async def open(
        cls, app: ProxyApp, place: Place, policy: ServerPolicy, *, around: Callable[[ASGIApp], ASGIApp] | None = None
    ) -> "UvicornFront":
        """around: puts a middleware around the proxy."""
        del policy  # of another server
        door = AsgiDoor(app)
        config = uvicorn.Config(
            door if around is None else around(door),
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=3600,
        )
        config.load()
        logging.getLogger("uvicorn.error").addFilter(_is_unexpected)
        state = ServerState()
        return cls(state, await place.listen(lambda: HttpToolsProtocol(config, state, {})))

    @property
    def clients(self) -> Sized:
        return self.state.connections

    def stop_listening(self) -> None:
        self.server.close()

    async def shut_down(self) -> None:
        for each in list(self.state.connections):
            each.shutdown()
        await eventually(lambda: not self.state.connections and not self.state.tasks)
        logging.getLogger("uvicorn.error").removeFilter(_is_unexpected)


@dataclass(frozen=True, slots=True)
class AiohttpFront:
    """The server of an aiohttp app, with one handler for all paths."""

    runner: web.AppRunner
    server: asyncio.Server

    @classmethod
    async def open(cls, app: ProxyApp, place: Place, policy: ServerPolicy) -> "AiohttpFront":
        del policy  # of another server
        door = AiohttpDoor(app)
        served = web.Application()
        served.router.add_route("*", "/{tail:.*}", door.serve, expect_handler=door.expect)
        runner = web.AppRunner(
            served,
            access_log=None,
            auto_decompress=False,
            max_line_size=_LINE,
            max_field_size=_LINE,
            max_headers=_FIELDS,
        )
        await runner.setup()
        logging.getLogger("aiohttp.server").addFilter(_is_unexpected)
        assert runner.server is not None
        return cls(runner, await place.listen(runner.server))

    @property
    def clients(self) -> Sized:
        assert self.runner.server is not None
        return self.runner.server.connections

    def stop_listening(self) -> None:
        self.server.close()

    async def shut_down(self) -> None:
        assert self.runner.server is not None
        logging.getLogger("aiohttp.server").removeFilter(_is_unexpected)
        self.runner.server.pre_shutdown()
        await self.runner.server.shutdown(_SHUTDOWN)
        await self.runner.cleanup()


#: Opens a server for a proxy at a place. policy: of our own server.
OpenFront = Callable[[ProxyApp, Place, ServerPolicy], Awaitable[Front]]


class UvicornLoop(uvloop.Loop):
    """An event loop for tests whose proxy is behind uvicorn, which brings uvloop along."""


class AiohttpLoop(asyncio.SelectorEventLoop):
    """An event loop for tests whose proxy is inside an aiohttp app."""


class VirtualUvicornLoop(VirtualLoop):
    """The same as `UvicornLoop`, and hours pass at once."""


class PatientUvicornLoop(VirtualUvicornLoop):
    """The same, for clients that read slowly: in between the kernel waits for 0.2 real seconds."""

    def __init__(self) -> None:
        super().__init__(_KERNEL_WAITS)


class VirtualAiohttpLoop(VirtualLoop):
    """The same as `AiohttpLoop`, and hours pass at once."""


class PatientAiohttpLoop(VirtualAiohttpLoop):
    """The same, for clients that read slowly."""

    def __init__(self) -> None:
        super().__init__(_KERNEL_WAITS)


#: On each of these a test of the proxy may run.
LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "uvicorn": UvicornLoop,
    "aiohttp": AiohttpLoop,
}

#: The same for tests in which hours pass.
VIRTUAL_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualLoop,
    "uvicorn": VirtualUvicornLoop,
    "aiohttp": VirtualAiohttpLoop,
}

_FRONTS: Mapping[type[asyncio.AbstractEventLoop], OpenFront] = {
    UvicornLoop: UvicornFront.open,
    AiohttpLoop: AiohttpFront.open,
    VirtualUvicornLoop: UvicornFront.open,
    PatientUvicornLoop: UvicornFront.open,
    VirtualAiohttpLoop: AiohttpFront.open,
    PatientAiohttpLoop: AiohttpFront.open,
}


def front_of(loop: asyncio.AbstractEventLoop) -> OpenFront:
    """Return the server that `loop` is for: it is chosen with the loop, so that a test need not know of it."""
    return _FRONTS.get(type(loop), OwnFront.open)
