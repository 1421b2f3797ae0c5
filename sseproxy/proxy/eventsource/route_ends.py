"""How does a client learn that its stream has ended for good, and which clients have? (docs/eventsource.md)"""

import secrets
import time
from collections.abc import Callable

from sseproxy.core.eventsource.cookies import cookie_value
from sseproxy.core.eventsource.end_id import EndScope
from sseproxy.core.eventsource.end_signer import EndSigner
from sseproxy.core.http.fields import Headers, get_all
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.proxy.inbound import InboundRequest


class RouteEnds:
    """Signs the ends of the streams of routes, and recognises them.

    key: of all processes that answer each other's reconnects; a route with a secret has one of its own.
    clock: seconds since 1970.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._signer = EndSigner(key, clock=clock, random=secrets.token_bytes)

    def message(
        self, route: Route, inbound: InboundRequest, upstream_headers: Headers, *, id_has_event: bool
    ) -> EndMessage | None:
        """Return what is written at a clean end to a client that comes back by itself, as the route's `end` says."""
        end = route.end
        if end is None:
            return None
        if not end.stop_reconnect:
            return None if end.event is None else EndMessage(end.event)
        scope = _scope(route, inbound, upstream_headers)
        return self._signer.message(scope, event=end.event, id_has_event=id_has_event, secret=end.secret)

    def final_message(
        self, route: Route, inbound: InboundRequest, upstream_headers: Headers, *, id_has_event: bool
    ) -> EndMessage:
        """Return what ends the reconnecting of a client, whatever the route says about ends."""
        scope = _scope(route, inbound, upstream_headers)
        return self._signer.message(scope, id_has_event=id_has_event, secret=_secret_of(route))

    def has_seen(self, route: Route, inbound: InboundRequest, upstream_headers: Headers) -> bool:
        """Return whether this client has seen the end of just what it asks for, and has come back by itself."""
        last = inbound.client_fields.get(b"last-event-id")
        if not last:
            return False
        return self._signer.recognises(last[0], _scope(route, inbound, upstream_headers), secret=_secret_of(route))


def _secret_of(route: Route) -> str:
    return "" if route.end is None else route.end.secret


def _scope(route: Route, inbound: InboundRequest, upstream_headers: Headers) -> EndScope:
    """Return what the end is signed for. The login is what the upstream goes by, and its cookie."""
    login = get_all(upstream_headers, b"authorization")
    if route.auth is not None:
        login += get_all(upstream_headers, route.auth.header.lower().encode())
        login.append(cookie_value(inbound.headers, route.auth.cookie) or b"")
    return EndScope(route.name, inbound.method, inbound.host, inbound.target, tuple(login), inbound.opened_at)
