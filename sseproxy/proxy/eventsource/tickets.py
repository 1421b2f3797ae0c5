"""Which requests are kept for later, and which client may have them sent? (docs/eventsource.md)"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from sseproxy.core.errors import BadRequest, Draining, RequestTooLarge, TicketNotFound
from sseproxy.core.eventsource.cookies import cookie_value
from sseproxy.core.eventsource.fetch_metadata import is_cross_site
from sseproxy.core.eventsource.policies import Reopen, TicketBinding, TicketPolicy
from sseproxy.core.eventsource.ticket_ids import ID_BYTES, ticket_id
from sseproxy.core.http.fields import by_name, end_to_end, get, without
from sseproxy.core.http.networks import networks
from sseproxy.core.http.paths import normalized
from sseproxy.core.routes import Route, split_target
from sseproxy.proxy.body import BodyReader
from sseproxy.proxy.eventsource.incoming import IncomingBodies
from sseproxy.proxy.eventsource.retired import RetiredRoutes
from sseproxy.proxy.eventsource.ticket_paths import TicketPaths, TicketTarget
from sseproxy.proxy.inbound import ClientRequest, InboundRequest
from sseproxy.stores.base import KeptRequest, TicketState, TicketStore, TicketTerms

_RETRY_AFTER = 1  # seconds

_OPENING_BYTES = 8

#: Why a page may have no cookie, although its user has logged in.
_ON_ANOTHER_SITE = (
    " It is from a page of another site, and browsers send such requests no cookie that is not SameSite=None."
    " localhost and 127.0.0.1 are two sites: use one of them for both."
)

#: In place of what a client has to show; no ticket is bound to it.
_NOTHING = bytes(32)


@dataclass(frozen=True, slots=True)
class KeptTicket:
    """A new ticket. ttl: seconds."""

    id: str = field(repr=False)
    ttl: float


@dataclass(frozen=True, slots=True)
class OwnedTicket:
    """A ticket of the client that asks for it. key: under which the store has it."""

    key: bytes = field(repr=False)
    route: Route
    known: TicketState


class Opening(Protocol):
    """A client that has a ticket open."""

    def cancel(self) -> None:
        """Stop what the ticket has brought about: it was deleted."""


class TicketService:
    """Keeps requests and hands them out.

    store: may be left out where no route has tickets. secret: of all processes that share the store; without it the
    digests are worth nothing. incoming: the bodies that are being read.
    """

    # Plan: a ticket is stored under a digest of its id and of all that its holder has to show (`_key`). A client that
    # shows something else asks for a ticket that does not exist, by the same steps and in the same time.
    #
    # Invariants:
    # 1. `open` is followed by exactly one `end`, also if `open` was cancelled or has raised: until then the store
    #    counts the ticket as open. `_open` holds an opening from the call of `open` to that of `end`.
    # 2. Of all requests for one ticket the store lets one through, unless the ticket reopens.
    # 3. A request that was not sent leaves its ticket waiting (`end` with spent=False).
    #
    # Hazards:
    # - a DELETE while the store is still opening the ticket: the opening is cancelled before it has what it got, so
    #   it has to look at that after `open`;
    # - a drain while a body is being read: a ticket that is made now would be gone before it is asked for, so `keep`
    #   looks at `draining` again behind the body;
    # - two routes at one path whose tickets are bound in different ways: each way is looked up.

    def __init__(
        self,
        routes: Sequence[Route],
        store: TicketStore | None,
        *,
        secret: bytes = b"",
        incoming: IncomingBodies | None = None,
    ) -> None:
        self.paths = TicketPaths(routes)
        if self.paths and store is None:
            raise ValueError("routes with tickets need a store")
        self.incoming = IncomingBodies() if incoming is None else incoming
        self.draining = False
        self._retired = RetiredRoutes()
        self._routes = tuple(routes)
        self._store = store
        self._secret = secret or secrets.token_bytes(32)
        self._open: dict[bytes, dict[Opening, bytes]] = {}

    @property
    def store(self) -> TicketStore:
        """The store. There is one wherever a request can be about tickets."""
        assert self._store is not None
        return self._store

    @property
    def open_tickets(self) -> int:
        """How many tickets are open in this process."""
        return len(self._open)

    # Other routes.

    def routes_with(self, routes: Sequence[Route]) -> tuple[Route, ...]:
        """Return what has to be served once there are only `routes`: those, and the ones of which tickets live.

        The latter come behind, and may have the name of one of the former.
        """
        now = asyncio.get_running_loop().time()
        for route in self._routes:
            self._retired.leave(route, now=now)
        return (*routes, *self._retired.beside(routes, now=now))

    def reload(self, routes: Sequence[Route]) -> None:
        """Keep requests for `routes` from now on. Tickets of routes that are gone live to their end."""
        if any(route.tickets is not None for route in routes) and self._store is None:
            raise ValueError("routes with tickets need a store")
        retired = self.routes_with(routes)[len(routes) :]
        self._routes = tuple(routes)
        self.paths = TicketPaths(routes, retired)

    @property
    def retired_until(self) -> float | None:
        """When the last ticket of one of the routes that are gone may have ended, in seconds of the event loop."""
        return self._retired.next_end(self._routes)

    # Keeping.

    async def keep(
        self, target: TicketTarget, request: ClientRequest, route: Route, body: BodyReader | None
    ) -> KeptTicket:
        """Keep a request for its client. Raises `ClientError`, `StoreFull` and `Draining`."""
        policy, inbound = route.tickets, request.inbound
        assert policy is not None
        self._refuse_late()
        binding = self._binding(policy, inbound, request.client)
        if binding is None:
            hint = _ON_ANOTHER_SITE if is_cross_site(inbound.headers) else ""
            raise BadRequest(f"The request lacks the cookie that its ticket would be bound to.{hint}")
        limit = body_limit(route)
        if inbound.body_length is not None and inbound.body_length > limit:
            raise RequestTooLarge(f"The request body is larger than {limit} bytes.")
        owners, content = networks(request.client), None
        if body is not None:
            content = await self.incoming.read(body, owners, within=route.timeouts.response)
        self._refuse_late()
        ticket = KeptTicket(ticket_id(secrets.token_bytes(ID_BYTES)), policy.ttl)
        digests = tuple(self._digest(owner.encode(), b"owner") for owner in owners)
        terms = TicketTerms(route.name, digests, policy.ttl, policy.reopen is Reopen.ALWAYS)
        kept = KeptRequest(inbound.method, target.target, inbound.host, inbound.headers, content, request.peer)
        await self.store.keep(self._key(target.path, ticket.id, binding), terms, kept)
        self._retired.extend(route, now=asyncio.get_running_loop().time())  # it may be gone since the request came
        return ticket

    # Using.

    async def find(self, target: TicketTarget, request: ClientRequest) -> OwnedTicket:
        """Return the ticket, if it is this client's. Raises `TicketNotFound`, after the same work whatever is wrong."""
        assert target.id is not None
        found = None
        for policy in self.paths.policies_at(target.path):
            shown = self._binding(policy, request.inbound, request.client)
            key = self._key(target.path, target.id, _NOTHING if shown is None else shown)
            known = await self.store.look(key)
            if known is not None:
                named = (each for each in self.paths.routes_at(target.path) if each.name == known.terms.route)
                route = next(named, None)
                found = found if route is None else OwnedTicket(key, route, known)
        if found is None:
            raise TicketNotFound("There is no such ticket.")
        return found

    async def open(self, ticket: OwnedTicket, opening: Opening) -> KeptRequest | None:
        """Return the request, unless it must not be sent again.

        The caller has to call `end` afterwards, whatever this returns or raises.
        """
        name = secrets.token_bytes(_OPENING_BYTES)
        self._open.setdefault(ticket.key, {})[opening] = name
        self._retired.opened(ticket.route)
        return await self.store.open(ticket.key, name)

    async def release(self, ticket: OwnedTicket, opening: Opening) -> None:
        """Drop the request, which was sent, unless the ticket reopens."""
        await self.store.release(ticket.key, self._open[ticket.key][opening])

    async def end(self, ticket: OwnedTicket, opening: Opening, *, spent: bool) -> None:
        """End an opening. spent: the request may have been sent; else the ticket goes on waiting."""
        openings = self._open.get(ticket.key, {})
        name = openings.pop(opening, None)
        if not openings:
            self._open.pop(ticket.key, None)
        if name is not None:
            self._retired.ended(ticket.route, now=asyncio.get_running_loop().time())
            await self.store.end(ticket.key, name, spent=spent)

    async def delete(self, ticket: OwnedTicket) -> None:
        """Delete a ticket, and stop what it has brought about."""
        await self.store.delete(ticket.key)
        for opening in list(self._open.get(ticket.key, ())):
            opening.cancel()

    async def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            await self._store.close()

    # Private.

    def _refuse_late(self) -> None:
        if self.draining:
            raise Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER)

    def _binding(self, policy: TicketPolicy, inbound: InboundRequest, client: str) -> bytes | None:
        """Return a digest of what a client has to show; ``None`` if it lacks the cookie."""
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
    """Return how many bytes of a body can be kept: within the limits of the tickets and of the route itself."""
    assert route.tickets is not None
    limit = route.limits.request_body
    return route.tickets.max_body if limit is None else min(route.tickets.max_body, limit)


def sent_with(kept: KeptRequest, inbound: InboundRequest, route: Route, *, again: bool) -> InboundRequest:
    """Return the kept request as it goes on now that `inbound` opens its ticket.

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
        fields=by_name(headers),
        body_length=None if kept.body is None else len(kept.body),
        has_body=kept.body is not None,
        opened_with=inbound.fields,
        opened_at=inbound.target,
    )
