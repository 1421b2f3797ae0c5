"""Which requests are kept for later, and who may have them sent? (contract section 5)"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from sseproxy.core.errors import BadRequest, Draining, RequestTooLarge, RouteNotFound, StoreFull, TicketNotFound
from sseproxy.core.eventsource.cookies import cookie_value
from sseproxy.core.eventsource.policies import Reopen, TicketBinding, TicketPolicy
from sseproxy.core.eventsource.tickets import ID_BYTES, is_ticket_id, names_ticket, ticket_id
from sseproxy.core.http.fields import Peer, end_to_end, get, without
from sseproxy.core.http.networks import networks
from sseproxy.core.http.paths import behind_prefix, has_dots, has_prefix, normalized
from sseproxy.core.limits import MIB
from sseproxy.core.routes import Route, find_route, split_target
from sseproxy.proxy.body import BodyReader
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.stores.base import KeptRequest, TicketState, TicketStore, TicketTerms

#: Bytes of request bodies that may be on their way to the desk, all together.
MOST_INCOMING = 64 * MIB

#: One client has one of so many parts of that at most, and the network around it two; a single body may be larger.
SHARES = 8

#: Seconds for which a client may send a body, if the route leaves it no less.
BODY_TIME = 30.0

_RETRY_AFTER = 1  # seconds

_OPENING_BYTES = 8

#: Methods that do something with a ticket; all others have a request kept.
_OF_TICKETS = ("GET", "HEAD", "DELETE")

#: In place of what a client has to show; no ticket is bound to it.
_NOTHING = bytes(32)


@dataclass(frozen=True, slots=True)
class TicketTarget:
    """What a request wants of the desk. path: the desk's. id: of the ticket; ``None``: `target` is to be kept."""

    path: str
    id: str | None = field(repr=False)
    target: str


@dataclass(frozen=True, slots=True)
class KeptTicket:
    """A new ticket. ttl: seconds."""

    id: str = field(repr=False)
    ttl: float


@dataclass(frozen=True, slots=True)
class OwnedTicket:
    """A ticket of whoever asks for it. key: what the store knows it by."""

    key: bytes = field(repr=False)
    route: Route
    known: TicketState


class Opening(Protocol):
    """Somebody who has a ticket open."""

    def withdraw(self) -> None:
        """Stop what the ticket has brought about: it was deleted."""


class TicketService:
    """Keeps requests and hands them out.

    A ticket is stored under a digest of its id and of all that its holder has to show. So nobody can find out anything
    about somebody else's, how long it takes included: whoever shows something else has asked for what there is not.

    store: may be left out where no route has tickets. secret: of whoever shares the store; the digests are worth
    nothing without it. most_incoming: bytes of bodies that are being read, of which a client has one of
    `shares` parts. body_time: seconds for each.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        store: TicketStore | None,
        *,
        secret: bytes = b"",
        most_incoming: int = MOST_INCOMING,
        shares: int = SHARES,
        body_time: float = BODY_TIME,
    ) -> None:
        self._routes = tuple(routes)
        self._by_name = {route.name: route for route in routes}
        self._bindings = _bindings(routes)
        self._paths = sorted(self._bindings, key=len, reverse=True)
        if self._paths and store is None:
            raise ValueError("routes with tickets need a store")
        self._store = store
        self._secret = secret or secrets.token_bytes(32)
        self._most_incoming = most_incoming
        self._shares = shares
        self._body_time = body_time
        self._incoming: Counter[str] = Counter()  # bytes, by client
        self._from_networks: Counter[str] = Counter()  # the same bytes, by the wider networks of clients
        self._bodies: Counter[str] = Counter()  # how many, by client: also those of which nothing has come yet
        self._open: dict[bytes, dict[Opening, bytes]] = {}
        self.draining = False

    @property
    def store(self) -> TicketStore:
        assert self._store is not None  # whoever asks has a call for a route with tickets
        return self._store

    # What a request is about.

    def find_call(self, inbound: InboundRequest) -> TicketTarget | None:
        """What a request wants of the desk, if it wants anything. Raises `BadRequest` where that cannot be known."""
        for path in self._paths:
            if has_prefix(inbound.path, path):
                name = inbound.path[len(path) + 1 :]
                raw, query = split_target(inbound.target)
                target = None if has_dots(raw) else behind_prefix(raw, path)
                if target is None:
                    raise BadRequest("The path of a ticket must not have dot segments.")
                if inbound.method in _OF_TICKETS and is_ticket_id(name):
                    return TicketTarget(path, name, "")
                return TicketTarget(path, None, target + query)
        return None

    def find_route(self, call: TicketTarget, *, method: str, host: bytes) -> Route:
        """The route of a request that shall be kept. Raises `RouteNotFound`, also if it only looks for a ticket."""
        path = normalized(split_target(call.target)[0])
        if method in _OF_TICKETS and names_ticket(path):
            raise RouteNotFound("No route matches this request.")
        route = find_route(self._routes, method=method, path=path, host=host.decode("latin-1"))
        if not path.startswith("/") or route is None or not _has_desk(route, call.path):
            raise RouteNotFound("No route matches this request.")
        return route

    # Keeping.

    async def keep(
        self,
        call: TicketTarget,
        inbound: InboundRequest,
        route: Route,
        body: BodyReader | None,
        *,
        peer: Peer,
        client: str,
    ) -> KeptTicket:
        """Keep a request of `peer`, and of the client behind it. Raises `ClientError`, `StoreFull` and `Draining`."""
        policy = route.tickets
        assert policy is not None
        self._refuse_late()
        binding = self._binding(policy, inbound, client)
        if binding is None:
            raise BadRequest("The request lacks the cookie that its ticket would be bound to.")
        limit = body_limit(route)
        if inbound.body_length is not None and inbound.body_length > limit:
            raise RequestTooLarge(f"The request body is larger than {limit} bytes.")
        content, owners = None, networks(client)
        if body is not None:
            within = min(route.timeouts.response or self._body_time, self._body_time)
            content = await self._collect(body, owners, within=within)
        self._refuse_late()
        ticket = KeptTicket(ticket_id(secrets.token_bytes(ID_BYTES)), policy.ttl)
        digests = tuple(self._digest(owner.encode(), b"owner") for owner in owners)
        terms = TicketTerms(route.name, digests, policy.ttl, policy.reopen is Reopen.ALWAYS)
        request = KeptRequest(inbound.method, call.target, inbound.host, inbound.headers, content, peer)
        await self.store.keep(self._key(call.path, ticket.id, binding), terms, request)
        return ticket

    # What a ticket is good for.

    async def find(self, call: TicketTarget, inbound: InboundRequest, *, client: str) -> OwnedTicket:
        """The ticket, if it is this client's. Raises `TicketNotFound`, after the same work whatever is wrong."""
        assert call.id is not None  # a call to keep something has no business here
        found = None
        for policy in self._bindings[call.path]:
            shown = self._binding(policy, inbound, client)
            key = self._key(call.path, call.id, _NOTHING if shown is None else shown)
            known = await self.store.look(key)
            route = None if known is None else self._by_name.get(known.terms.route)
            if known is not None and route is not None and _has_desk(route, call.path):
                found = OwnedTicket(key, route, known)
        if found is None:
            raise TicketNotFound("There is no such ticket.")
        return found

    async def open(self, ticket: OwnedTicket, opening: Opening) -> KeptRequest | None:
        """The request, unless it must not be sent again. Must be followed by `end`, whatever this returns or raises."""
        name = secrets.token_bytes(_OPENING_BYTES)
        self._open.setdefault(ticket.key, {})[opening] = name
        return await self.store.open(ticket.key, name)

    async def release(self, ticket: OwnedTicket, opening: Opening) -> None:
        """The request was sent: nobody needs to keep it any more, unless the ticket reopens."""
        await self.store.release(ticket.key, self._open[ticket.key][opening])

    async def end(self, ticket: OwnedTicket, opening: Opening, *, spent: bool) -> None:
        """Whoever wanted to open a ticket is done. spent: the request may have been sent; else the ticket waits on."""
        openings = self._open.get(ticket.key, {})
        name = openings.pop(opening, None)
        if not openings:
            self._open.pop(ticket.key, None)
        if name is not None:
            await self.store.end(ticket.key, name, spent=spent)

    async def delete(self, ticket: OwnedTicket) -> None:
        """Forget a ticket, and stop what it has brought about."""
        await self.store.delete(ticket.key)
        for opening in list(self._open.get(ticket.key, ())):
            opening.withdraw()

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()

    # Private.

    def _refuse_late(self) -> None:
        """What is kept now would be gone before it is asked for."""
        if self.draining:
            raise Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER)

    async def _collect(self, body: BodyReader, owners: Sequence[str], *, within: float) -> bytes:
        """The whole body. Of several that a client sends at a time, the first may be larger than its share.

        owners: the client, and the wider networks that it is in.
        """
        pieces: list[bytes] = []
        client, *wider = owners
        share = self._most_incoming // (self._shares if client in self._bodies else 1)
        self._bodies[client] += 1
        try:
            async with asyncio.timeout(within), aclosing(body.pieces()) as coming:
                async for piece in coming:
                    pieces.append(piece)
                    self._count(client, wider, len(piece))
                    self._refuse_too_much(client, wider, share)
        except TimeoutError:
            raise BadRequest("The request body did not come in time.") from None
        finally:
            self._count(client, wider, -sum(map(len, pieces)))
            self._bodies[client] -= 1
            if not self._bodies[client]:
                del self._incoming[client], self._bodies[client]
        return b"".join(pieces)

    def _count(self, client: str, wider: Sequence[str], size: int) -> None:
        self._incoming[client] += size
        for network in wider:
            self._from_networks[network] += size
            if not self._from_networks[network]:
                del self._from_networks[network]

    def _refuse_too_much(self, client: str, wider: Sequence[str], share: int) -> None:
        if self._incoming.total() > self._most_incoming:
            raise StoreFull("Too many requests are being kept.", retry_after=_RETRY_AFTER)
        if self._incoming[client] > share:
            raise StoreFull("Too many requests of this client are being kept.", retry_after=_RETRY_AFTER)
        for level, network in enumerate(wider, 1):
            beside = self._from_networks[network] - self._incoming[client]
            if beside and self._from_networks[network] * self._shares > self._most_incoming << level:
                raise StoreFull("Too many requests of this network are being kept.", retry_after=_RETRY_AFTER)

    def _binding(self, policy: TicketPolicy, inbound: InboundRequest, client: str) -> bytes | None:
        """What a client has to show, in a form that tells nothing; ``None`` if it lacks the cookie."""
        if policy.bind is TicketBinding.NONE:
            return self._digest(b"", b"anybody")
        if policy.bind is TicketBinding.ADDRESS:
            return self._digest(client.encode(), b"address")
        value = cookie_value(inbound.headers, policy.bind_cookie)
        return self._digest(b"%b=%b" % (policy.bind_cookie.encode(), value), b"cookie") if value else None

    def _key(self, path: str, ticket: str, binding: bytes) -> bytes:
        return self._digest(b"%b%b/%b" % (binding, path.encode(), ticket.encode()), b"ticket")

    def _digest(self, data: bytes, purpose: bytes) -> bytes:
        return blake2b(data, digest_size=32, key=self._secret, person=purpose).digest()


def body_limit(route: Route) -> int:
    """Bytes of a body that can be kept: what the desk takes, and what the route would take afterwards."""
    assert route.tickets is not None
    limit = route.limits.request_body
    return route.tickets.max_body if limit is None else min(route.tickets.max_body, limit)


def sent_with(kept: KeptRequest, inbound: InboundRequest, route: Route, *, again: bool) -> InboundRequest:
    """The kept request as it goes on now, at the request of whoever opened its ticket.

    again: it was sent before, and goes on where that ended.
    """
    headers = end_to_end(kept.headers, keep=route.named_fields)
    position = get(inbound.headers, b"last-event-id")
    if again and position is not None:
        headers = [*without(headers, {b"last-event-id"}), (b"Last-Event-ID", position)]
    return InboundRequest(
        method=kept.method,
        target=kept.target,
        path=normalized(split_target(kept.target)[0]),
        host=kept.host,
        headers=headers,
        body_length=None if kept.body is None else len(kept.body),
        has_body=kept.body is not None,
        expects_continue=False,
        upgrade=None,
        opened_with=inbound.headers,
        opened_at=inbound.target,
    )


def _bindings(routes: Sequence[Route]) -> dict[str, list[TicketPolicy]]:
    """For each path of a desk, one policy of each way in which its tickets are bound."""
    found: dict[str, dict[tuple[TicketBinding, str], TicketPolicy]] = {}
    for policy in (route.tickets for route in routes if route.tickets is not None):
        found.setdefault(policy.path, {}).setdefault((policy.bind, policy.bind_cookie), policy)
    return {path: list(policies.values()) for path, policies in found.items()}


def _has_desk(route: Route, path: str) -> bool:
    return route.tickets is not None and route.tickets.path == path
