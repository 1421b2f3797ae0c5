"""Which faults of a set-up are logged once, or now and then, because nothing else shows them?"""

import logging
from collections.abc import Callable
from math import inf

from sseproxy.core.http.fields import Headers, Peer, forwarding_names
from sseproxy.core.stream.dialects import Dialect
from sseproxy.engine.observer import ObservedStream, Observer
from sseproxy.http1.handshake import HandshakeFailure
from sseproxy.logs import LOGGER

_log = logging.getLogger(LOGGER)

#: Dialects that say by rules of their own which requests are for streams; `stream: always` changes nothing there.
_DECLARED_BY_THEMSELVES = frozenset((Dialect.MCP, Dialect.OLLAMA))

#: Seconds from one warning of refused clients to the next.
_BETWEEN_WARNINGS = 60.0


class UntellableNotice:
    """Warns once of clients that cannot tell a broken end from a clean one."""

    __slots__ = ("_is_given",)

    def __init__(self) -> None:
        self._is_given = False

    def give(self) -> None:
        """Give the warning, the first time."""
        if not self._is_given:
            self._is_given = True
            _log.warning("HTTP/1.0 over a unix socket: a broken response looks whole (nginx: proxy_http_version 1.1)")


class ForwardingNotice:
    """Warns once of a peer that says where requests come from and is not trusted.

    It may be a gateway that `server.trusted_proxies` lacks. Then redirects name the wrong scheme, and all clients have
    one address.
    """

    __slots__ = ("_is_given",)

    def __init__(self) -> None:
        self._is_given = False

    def look_at(self, headers: Headers, peer: Peer) -> None:
        """Give the warning if this request is the first that calls for it."""
        if self._is_given or peer.trusted:
            return
        names = forwarding_names(headers)
        if not names:
            return
        self._is_given = True
        shown = ", ".join(sorted({name.decode("latin-1") for name in names})[:4])
        how = f"add it to server.trusted_proxies: [{peer.address}]" if peer.address else "let its listener trust it"
        _log.warning(
            "%s sends %s and is not trusted, so these fields are replaced or removed; if it is your gateway, %s",
            peer.address or "a peer on a unix socket",
            shown,
            how,
        )


class UndeclaredNotice(Observer):
    """Warns once for each route on which a response was a stream, and `before_response` could not know that in time.

    A request without a sign in its head or body (a plain ``fetch``) is never answered early, and the gateway's 504 is
    all that the operator would see. The names of routes are those of the file: there are no more of them than that.
    """

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def opened(self, stream: ObservedStream) -> None:
        """Give the warning for the route of `stream`, if this is its first stream that calls for it."""
        plan = stream.plan
        if plan is None or plan.heartbeat.before_response is None or stream.route in self._warned:
            return
        if plan.is_declared is not False or plan.dialect in _DECLARED_BY_THEMSELVES:
            return
        self._warned.add(stream.route)
        _log.warning(
            "route %s: a response is a stream, but its request did not ask for one, so before_response could not help "
            "it: `stream: always` on this route would",
            stream.route,
        )


class HandshakeNotice:
    """Logs handshakes that fail: each at debug, and those of clients without the right certificate as warnings, too.

    clock: seconds, such as the event loop's. A warning comes once a minute at most: strangers who knock must not fill
    the log.
    """

    __slots__ = ("_clock", "_next_at", "_untold")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next_at = -inf
        self._untold = 0

    def look_at(self, failure: HandshakeFailure) -> None:
        """Log `failure`."""
        _log.debug("TLS handshake with %s failed: it %s", failure.client, failure.why)
        if not failure.is_refusal:
            return
        now = self._clock()
        if now < self._next_at:
            self._untold += 1
            return
        more = f"; since the last such warning {self._untold} more were refused" if self._untold else ""
        self._next_at, self._untold = now + _BETWEEN_WARNINGS, 0
        _log.warning("%s is refused: it %s (server.tls.client_ca)%s", failure.client, failure.why, more)


def warn_of_connections(most: int) -> None:
    """Warn that as many clients are connected as may be."""
    _log.warning(
        "%d client connections are open, as many as may be (server.connections): idle ones are closed for new ones; "
        "where all are busy, new ones get 503",
        most,
    )
