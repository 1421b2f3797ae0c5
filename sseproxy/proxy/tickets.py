"""Which requests are kept for later, and who may have them sent? (contract section 5)"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from typing import Protocol

from sseproxy.core.cookies import cookie_value
from sseproxy.core.errors import BadRequest, Draining, RequestTooLarge, RouteNotFound, StoreFull, TicketNotFound
from sseproxy.core.eventsource import Reopen, TicketBinding, TicketPolicy
from sseproxy.core.headers import FORWARDING, Headers, end_to_end, get, without
from sseproxy.core.limits import MIB
from sseproxy.core.routes import Route, find_route, has_prefix, split_target
from sseproxy.proxy.body import BodyReader
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.stores.base import KeptRequest, KnownTicket, TicketStore, TicketTerms

#: Bytes of request bodies that may be on their way to the desk, all together.
MOST_INCOMING = 64 * MIB

_RETRY_AFTER = 1  # seconds

_ID_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9_-]{22}")  # of so many bytes in base64url, without padding

#: Characters of a path segment from which on it may be most of an id, and is not logged.
_MASKED_FROM = 12

#: Bindings that nobody shows, and that no ticket has.
_SHOWS_NOTHING, _IS_NO_TICKET = bytes(32), b"\xff" * 32


@dataclass(frozen=True, slots=True)
class TicketCall:
    """What a request wants of the desk. path: the desk's. id: of the ticket; ``None``: `target` is to be kept."""

    path: str
    id: str | None = field(repr=False)
    target: str


@dataclass(frozen=True, slots=True)
class KeptTicket:
    """A new ticket. ttl: seconds."""

    id: str = field(repr=False)
    ttl: float


class Opening(Protocol):
    """Somebody who has a ticket open."""

    def withdraw(self) -> None:
        """Stop what the ticket has brought about: it was deleted."""


class TicketDesk:
    """Keeps requests and hands them out.

    store: may be left out where no route has tickets. secret: of whoever shares the store; an id is stored as a digest
    that is worth nothing without it. most_incoming: bytes of bodies that are being read.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        store: TicketStore | None,
        *,
        secret: bytes = b"",
        most_incoming: int = MOST_INCOMING,
    ) -> None:
        self._routes = tuple(routes)
        self._by_name = {route.name: route for route in routes}
        self._first = {route.tickets.path: route for route in reversed(routes) if route.tickets is not None}
        self._paths = sorted(self._first, key=len, reverse=True)
        if self._paths and store is None:
            raise ValueError("routes with tickets need a store")
        words = "|".join(map(re.escape, self._paths))
        self._masked = re.compile(f"({words})/[^/]{{{_MASKED_FROM},}}") if words else None
        self._store = store
        self._secret = secret or secrets.token_bytes(32)
        self._most_incoming = most_incoming
        self._incoming = 0
        self._open: dict[bytes, set[Opening]] = {}
        self.draining = False

    @property
    def store(self) -> TicketStore:
        assert self._store is not None  # whoever asks has a call for a route with tickets
        return self._store

    # What a request is about.

    def find_call(self, inbound: InboundRequest) -> TicketCall | None:
        """What a request wants of the desk, if it wants anything."""
        for path in self._paths:
            if has_prefix(inbound.path, path):
                name = inbound.path[len(path) + 1 :]
                if inbound.method in ("GET", "HEAD", "DELETE") and _ID.fullmatch(name):
                    return TicketCall(path, name, "")
                return TicketCall(path, None, inbound.target[len(path) :])
        return None

    def find_route(self, call: TicketCall, *, method: str, host: bytes) -> Route:
        """The route of a request that shall be kept. Raises `RouteNotFound`."""
        path = split_target(call.target)[0]
        route = find_route(self._routes, method=method, path=path, host=host.decode("latin-1"))
        if not path.startswith("/") or route is None or not _has_desk(route, call.path):
            raise RouteNotFound("No route matches this request.")
        return route

    def masked(self, path: str) -> str:
        """A path as it may be logged: without what is, or could be, the id of a ticket."""
        return path if self._masked is None else self._masked.sub(r"\1/-", path)

    # Keeping.

    async def keep(
        self, call: TicketCall, inbound: InboundRequest, route: Route, body: BodyReader | None, *, client: str
    ) -> KeptTicket:
        """Keep a request. Raises `ClientError`, `StoreFull` and `Draining`."""
        policy = route.tickets
        assert policy is not None
        self._refuse_late()
        binding = self._binding(policy, inbound, client)
        if binding is None:
            raise BadRequest("The request lacks the cookie that its ticket would be bound to.")
        limit = body_limit(route)
        if inbound.body_length is not None and inbound.body_length > limit:
            raise RequestTooLarge(f"The request body is larger than {limit} bytes.")
        content = None if body is None else await self._collect(body, within=route.timeouts.response)
        self._refuse_late()
        ticket = KeptTicket(secrets.token_urlsafe(_ID_BYTES), policy.ttl)
        terms = TicketTerms(route.name, binding, policy.ttl, policy.reopen is Reopen.ALWAYS)
        request = KeptRequest(inbound.method, call.target, inbound.host, inbound.headers, content)
        await self.store.keep(self._key(ticket.id), terms, request)
        return ticket

    # What a ticket is good for.

    async def find(self, call: TicketCall, inbound: InboundRequest, *, client: str) -> tuple[Route, KnownTicket]:
        """The ticket and its route, if it is this client's.

        Raises `TicketNotFound`, after the same work whatever is wrong.
        """
        known = await self.store.look(self._key(call.id))
        route = None if known is None else self._by_name.get(known.terms.route)
        if known is None or route is None or not _has_desk(route, call.path):
            known, route = None, self._first[call.path]
        assert route.tickets is not None
        shown = self._binding(route.tickets, inbound, client)
        wanted = _IS_NO_TICKET if known is None else known.terms.binding
        if not compare_digest(_SHOWS_NOTHING if shown is None else shown, wanted) or known is None:
            raise TicketNotFound("There is no such ticket.")
        return route, known

    async def open(self, call: TicketCall, opening: Opening) -> KeptRequest | None:
        """The request, unless it must not be sent again. Must be followed by `end`, whatever this returns or raises."""
        key = self._key(call.id)
        self._open.setdefault(key, set()).add(opening)
        return await self.store.open(key)

    async def end(self, call: TicketCall, opening: Opening, *, was_opened: bool) -> None:
        """What was opened has come to its end."""
        key = self._key(call.id)
        openings = self._open.get(key, set())
        openings.discard(opening)
        if not openings:
            self._open.pop(key, None)
        if was_opened:
            await self.store.end(key)

    async def delete(self, call: TicketCall) -> None:
        """Forget a ticket, and stop what it has brought about."""
        key = self._key(call.id)
        await self.store.delete(key)
        for opening in list(self._open.get(key, ())):
            opening.withdraw()

    async def close(self) -> None:
        if self._store is not None:
            await self._store.close()

    # Private.

    def _refuse_late(self) -> None:
        """What is kept now would be gone before it is asked for."""
        if self.draining:
            raise Draining("The proxy is shutting down.", retry_after=_RETRY_AFTER)

    async def _collect(self, body: BodyReader, *, within: float | None) -> bytes:
        """The whole body, for which the client has as long as an upstream would have for its answer."""
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(within), aclosing(body.pieces()) as coming:
                async for piece in coming:
                    pieces.append(piece)
                    self._incoming += len(piece)
                    if self._incoming > self._most_incoming:
                        raise StoreFull("Too many requests are being kept.", retry_after=_RETRY_AFTER)
        except TimeoutError:
            raise BadRequest("The request body did not come in time.") from None
        finally:
            self._incoming -= sum(map(len, pieces))
        return b"".join(pieces)

    def _binding(self, policy: TicketPolicy, inbound: InboundRequest, client: str) -> bytes | None:
        """What a client has to show, in a form that tells nothing; ``None`` if it lacks the cookie."""
        value: bytes | None = b""
        if policy.bind is TicketBinding.COOKIE:
            value = cookie_value(inbound.headers, policy.bind_cookie) or None
        elif policy.bind is TicketBinding.ADDRESS:
            value = client.encode()
        return None if value is None else self._digest(value, b"binding")

    def _key(self, ticket: str | None) -> bytes:
        assert ticket is not None  # a call to keep something has no business here
        return self._digest(ticket.encode(), b"ticket")

    def _digest(self, data: bytes, purpose: bytes) -> bytes:
        return blake2b(data, digest_size=32, key=self._secret, person=purpose).digest()


def body_limit(route: Route) -> int:
    """Bytes of a body that can be kept: what the desk takes, and what the route would take afterwards."""
    assert route.tickets is not None
    limit = route.limits.request_body
    return route.tickets.max_body if limit is None else min(route.tickets.max_body, limit)


def sent_with(kept: KeptRequest, inbound: InboundRequest, *, again: bool) -> InboundRequest:
    """The kept request as it goes on now, at the request of whoever opened its ticket.

    Who is in between is said by the one who asks now. again: it was sent before, and goes on where that ended.
    """
    headers = [*without(end_to_end(kept.headers), FORWARDING), *_only(end_to_end(inbound.headers), FORWARDING)]
    position = get(inbound.headers, b"last-event-id")
    if again and position is not None:
        headers = [*without(headers, {b"last-event-id"}), (b"Last-Event-ID", position)]
    return InboundRequest(
        method=kept.method,
        target=kept.target,
        path=split_target(kept.target)[0],
        host=kept.host,
        headers=headers,
        body_length=None if kept.body is None else len(kept.body),
        has_body=kept.body is not None,
        expects_continue=False,
        upgrade=None,
        opened_with=inbound.headers,
    )


def _has_desk(route: Route, path: str) -> bool:
    return route.tickets is not None and route.tickets.path == path


def _only(headers: Headers, names: frozenset[bytes]) -> Headers:
    return [(key, value) for key, value in headers if key.lower() in names]
