"""Which addresses does an upstream's host have, and for how long is the answer used?"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from math import inf
from typing import Any

#: What `socket.getaddrinfo` says of one address: family, kind, protocol, canonical name, address.
AddressInfo = tuple[int, int, int, str, Any]

#: Looks a name up as `asyncio.loop.getaddrinfo` does.
Resolve = Callable[..., Awaitable[Sequence[AddressInfo]]]

#: Seconds for which the addresses of a name are used. The system's resolver does not say for how long they are valid.
TTL = 10.0


class Addresses:
    """The addresses of one host. Must be made while the event loop runs.

    resolve: looks a name up; the event loop's `getaddrinfo`. ttl: seconds for which its answer is used.
    """

    # Plan: a host that is an address is known from the start and never looked up. A name is looked up by the first
    # connection that needs it; the answer serves all connections of the next `ttl` seconds.
    #
    # Rules:
    # 1. One lookup at a time: connections that come while it is under way wait for the same one.
    # 2. A lookup belongs to no connection: one that is cancelled leaves it to the others.
    # 3. A failed lookup is not kept; the next connection asks again.
    # 4. Each connection begins with another address than the one before, so that the replicas behind one name share
    #    the load.
    #
    # Hazard: a lookup whose connections were all cancelled (clients that disconnect while DNS is slow) may fail with
    # no reader of its error, and asyncio would report that.

    def __init__(self, host: str, port: int, *, resolve: Resolve | None = None, ttl: float = TTL) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._port = port
        self._resolve: Resolve = resolve or self._loop.getaddrinfo
        self._ttl = ttl
        self._lookup: asyncio.Task[None] | None = None
        self._found: deque[AddressInfo] = deque()
        self._good_until = 0.0
        try:
            # Bytes: an address is ASCII, and Python need not load its tables of Unicode.
            numeric, kind = socket.AI_NUMERICHOST, socket.SOCK_STREAM
            self._found.extend(socket.getaddrinfo(host.encode(), port, type=kind, flags=numeric))
            self._good_until = inf
        except (socket.gaierror, UnicodeError):
            pass  # a name

    @property
    def is_loopback(self) -> bool:
        """True if the host is an address of this machine alone; not for names, whose addresses may change."""
        return self._good_until == inf and ip_address(self._found[0][4][0]).is_loopback

    async def find(self) -> list[AddressInfo]:
        """Return all addresses, in the order in which to try them. Raises `OSError`, mostly `socket.gaierror`."""
        if self._loop.time() >= self._good_until:
            lookup = self._lookup
            if lookup is None:
                lookup = self._lookup = self._loop.create_task(self._look_up())
                lookup.add_done_callback(self._looked_up)
            await asyncio.wait((lookup,))  # does not cancel it
            lookup.result()
        addresses = list(self._found)
        self._found.rotate(-1)
        return addresses

    async def _look_up(self) -> None:
        try:
            found = await self._resolve(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except UnicodeError as error:  # a label of more than 63 characters
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        self._found = deque(found)
        self._good_until = self._loop.time() + self._ttl

    def _looked_up(self, lookup: asyncio.Task[None]) -> None:
        self._lookup = None
        if not lookup.cancelled():
            lookup.exception()  # see the hazard
