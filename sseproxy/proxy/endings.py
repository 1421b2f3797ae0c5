"""Which client is told that its stream has ended for good, and which one has been told? (contract section 5)"""

import secrets

from sseproxy.core.ending import NONCE, Farewell, sign, verify
from sseproxy.core.eventsource import EndPolicy
from sseproxy.core.headers import get
from sseproxy.core.routes import Route
from sseproxy.proxy.inbound import InboundRequest


class Ends:
    """Names the ends of streams, and knows them again.

    key: of all processes that answer each other's reconnects; a route with a secret has one of its own.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def farewell(self, route: Route, inbound: InboundRequest) -> Farewell | None:
        """What this client is told at a clean end; nothing, if it does not reconnect by itself."""
        end = route.end
        if end is None or not inbound.is_event_source:
            return None
        if not end.stop_reconnect:
            return None if end.event is None else Farewell(end.event)
        nonce = secrets.token_bytes(NONCE)
        return Farewell(end.event, sign(self._key_of(end), route=route.name, target=inbound.target, nonce=nonce))

    def has_seen(self, route: Route, inbound: InboundRequest) -> bool:
        """Whether this client has seen the end of just what it asks for, and has come back by itself."""
        end = route.end
        if end is None or not end.stop_reconnect or not inbound.is_event_source:
            return False
        last = get(inbound.client_headers, b"last-event-id")
        return last is not None and verify(
            self._key_of(end), last.strip(b" \t"), route=route.name, target=inbound.target
        )

    def _key_of(self, end: EndPolicy) -> bytes:
        return end.secret.encode() or self._key
