"""Whose run does a request mean, and where in it is the client?"""

from dataclasses import dataclass

from sseproxy.core.errors import BadRequest
from sseproxy.core.journal.identity import Identities, read_parts
from sseproxy.core.journal.positions import named_position
from sseproxy.core.routes import Route
from sseproxy.proxy.inbound import ClientRequest, InboundRequest
from sseproxy.proxy.journal.request_parts import MOST_BODY, RequestParts
from sseproxy.proxy.opening import Opening
from sseproxy.runs.terms import Belonging

_POSITION = b"last-event-id"


@dataclass(frozen=True, slots=True)
class Identified:
    """belongs: ``None`` if a part of key or login is missing. key: the one part of the key, where it has one."""

    belongs: Belonging | None
    key: bytes | None = None


class Identifier:
    """Finds out to which stream, and to which login, a request belongs. secret: of the digests."""

    def __init__(self, secret: bytes) -> None:
        self._identities = Identities(secret)

    async def identify(self, request: ClientRequest, route: Route, opening: Opening) -> Identified:
        """Identify a request on its way along a route with a journal.

        Waits for its body if a part of the key is in it. Raises what reading the body raises.
        """
        policy = route.journal
        assert policy is not None
        body = await opening.collect_body(MOST_BODY) if policy.members else None
        parts = RequestParts(request, route, body).values
        login, key = read_parts(policy.login, parts), read_parts(policy.key, parts)
        if login is None or key is None:
            return Identified(None)
        return Identified(self.belonging(request, route, login, key), key[0] if len(key) == 1 else None)

    def of_path(self, request: ClientRequest, route: Route, key: bytes | None) -> Belonging | None:
        """Identify a request for the URL of a run. key: the one in its path; ``None`` if it has the run's name.

        ``None`` if a part of the login is missing.
        """
        policy = route.journal
        assert policy is not None
        login = read_parts(policy.login, RequestParts(request, route).values)
        if login is None:
            return None
        return self.belonging(request, route, login, () if key is None else (key,))

    def belonging(
        self, request: ClientRequest, route: Route, login: tuple[bytes, ...], key: tuple[bytes, ...]
    ) -> Belonging:
        """Return to which stream a request with this login and key belongs."""
        policy, ids = route.journal, self._identities
        assert policy is not None
        said = ids.login(route.name, policy, login)
        owner = said if login else ids.address(route.name, request.client)
        return Belonging(route.name, policy, route.limits, ids.scope(route.name, policy, login, key), said, owner)


def unidentified() -> BadRequest:
    """Return what a client gets that cannot be served without a key and a login, and lacks a part of them."""
    return BadRequest("A part of the key or of the login of the stream is missing in the request, or there twice.")


def position_of(inbound: InboundRequest) -> bytes | None:
    """Return the position that the client of a response names."""
    named = [(_POSITION, value) for value in inbound.client_fields.get(_POSITION, ())]
    return named_position(named, inbound.client_query.encode())
