"""What does the proxy of a process consist of, and how does it begin and end?"""

import asyncio
import itertools
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network

from sseproxy.core.http.fields import PSEUDONYM
from sseproxy.core.routes import Route
from sseproxy.engine.access import AccessLog
from sseproxy.engine.admissions import Admissions
from sseproxy.engine.live import LiveStreams
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.handler import Persistence, RequestHandler
from sseproxy.proxy.notices import ForwardingNotice, UndeclaredNotice
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.port import Door
from sseproxy.proxy.process_journal import ProcessJournal
from sseproxy.proxy.routing import RoutingFactory
from sseproxy.proxy.tail import ResponseTail
from sseproxy.stores.base import TicketStore

#: Random bytes that tell one proxy from another in ``Via``.
INSTANCE_BYTES = 6


class ProxyApp:
    """The proxy of one process. Must be made while the event loop runs.

    origins: where the routes lead, which this closes. tickets: where routes that have any keep them.
    end_key: what the ends of streams are signed with, for processes that answer each other's clients.
    instance: what tells this proxy from others of its name, for processes that are one proxy; at most 32 digits and
    lower-case letters.
    streams: where those under way are known, and whose clock they go by. journal: the runs. handler: what a door hands
    requests to.
    request_ids: for requests that bring none; left out, each is another one in all processes.
    """

    # What a configuration says about requests is one value, the `Routing` of the handler, which `reload` replaces. All
    # else outlives it: streams and what they count for, tickets, client connections, the keys of ends.

    def __init__(
        self,
        routes: Sequence[Route],
        origins: Origins,
        *,
        trusted_proxies: Sequence[IPv4Network | IPv6Network] = (),
        tickets: TicketStore | None = None,
        end_key: bytes = b"",
        instance: str = "",
        streams: LiveStreams | None = None,
        journal: ProcessJournal | None = None,
        request_ids: Iterator[str] | None = None,
    ) -> None:
        if request_ids is None:  # no request must wait for the system's randomness
            request_ids = map((secrets.token_hex(INSTANCE_BYTES) + "-%x").__mod__, itertools.count(1))
        name = PSEUDONYM + b"-" + (instance or secrets.token_hex(INSTANCE_BYTES)).encode()
        self.streams = LiveStreams() if streams is None else streams
        self.admissions = Admissions()
        self.tickets = TicketService(routes, tickets)
        self._doors: list[Door] = []
        self._routings = RoutingFactory(self.tickets, end_key or secrets.token_bytes(32), name, ForwardingNotice())
        self.journal = ProcessJournal() if journal is None else journal
        self._routing = self._routings.new(routes, origins, trusted_proxies, self.journal.of(routes, self.streams))
        self.handler = RequestHandler(
            self._routing,
            partial(ResponseTail, streams=self.streams, admissions=self.admissions),
            linger=self.streams.linger,
            observers=self.streams.observers,
            request_ids=request_ids,
        )
        for observer in (AccessLog(), UndeclaredNotice()):
            self.streams.observers.add(observer)

    def add_door(self, door: Door) -> None:
        """Let clients come in by `door`, too. It is closed with the proxy."""
        self._doors.append(door)

    def reload(
        self, routes: Sequence[Route], origins: Origins, *, trusted_proxies: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        """Serve new requests by other routes. Requests and streams under way go on as they began.

        origins: also of the routes whose tickets or runs live on (`TicketService.routes_with`,
        `ProcessJournal.retired`).
        Those that are there no more keep no connection from now on.
        """
        self.tickets.reload(routes)
        before = self._routing
        self._routing = self.handler.routing = self._routings.new(
            routes, origins, trusted_proxies, self.journal.of(routes, self.streams)
        )
        before.origins.retire_all_but(origins)
        for door in self._doors:
            door.forget_peers()  # they may be trusted now, or not any more

    @property
    def requests(self) -> int:
        """How many requests are under way."""
        return len(self.handler.under_way)

    @property
    def draining(self) -> bool:
        """True once `leave` or `drain` was called: new requests should go elsewhere."""
        return self.handler.persistence is not Persistence.KEPT

    def leave(self) -> None:
        """Let clients open new connections, elsewhere: from now on each response says that its connection ends.

        Requests are served as ever, and nothing ends before `drain`.
        """
        self.handler.persistence = Persistence.LAST
        for tail in self.handler.under_way:
            tail.downstream.announce_end()

    def drain(self, *, timeout: float | None, spread: float) -> None:
        """Let every stream end at its own moment within `spread` seconds, and by `timeout` if that is set."""
        self.handler.persistence = Persistence.ENDING
        self.tickets.draining = True
        self._routing.origins.drain()
        self.journal.drain()
        self.streams.drain(now=asyncio.get_running_loop().time(), timeout=timeout, spread=spread)
        for tail in self.handler.under_way:
            tail.drain(spread)
        for door in self._doors:
            door.close_idle()

    def abort(self) -> None:
        """End all that is still under way, now: requests without a response get a 503, streams are broken off."""
        for tail in self.handler.under_way:
            tail.downstream.skip_linger()
        self.streams.abort_all()
        for tail in list(self.handler.under_way):
            tail.abort()
        self.journal.abort()  # behind the clients, for which it is their own stream that ends

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way, and no answer that another process will need."""
        await self.handler.wait_until_idle()
        await self.journal.wait_until_kept()

    async def close(self) -> None:
        """Close the connections to all upstreams and services, all followers of Redis, and the store of tickets."""
        for door in self._doors:
            door.close()
        await self.journal.close()
        await self.tickets.close()
        await self._routing.origins.close()
