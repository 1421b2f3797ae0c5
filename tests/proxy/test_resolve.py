"""Is what a request wants decided as one value, before anything is done about it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from sseproxy.core.errors import (
    BadRequest,
    ForeignOrigin,
    LoopDetected,
    MethodRefused,
    RouteNotFound,
    SSEProxyError,
)
from sseproxy.core.eventsource.policies import CorsPolicy, TicketPolicy
from sseproxy.core.http.fields import Headers, Peer
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.journal.templates import Template
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.engine.observer import AccessRecord
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.server import DownstreamConnection
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.eventsource.ticket_paths import TicketPaths
from sseproxy.proxy.resolve import Forward, KeepTicket, Refuse, Reply, Resolution, Resolver, UseTicket

UPSTREAM = Upstream("http", "127.0.0.1", 9000)
PLAIN = Route("plain", UPSTREAM, Match(prefix="/a"))
PAGE = b"https://app.test"
OPEN = Route("open", UPSTREAM, Match(prefix="/b"), cors=CorsPolicy(frozenset({PAGE.decode()})), tickets=TicketPolicy())
TICKET = "/_tickets/tkt_" + "A" * 22


@dataclass
class Connection:
    """What a `Resolver` wants to know of a connection."""

    client_address: str = "192.0.2.1"
    scheme: str = "http"
    is_trusted: bool = False
    peer: Peer | None = None


def resolve(
    method: str,
    target: str,
    fields: Sequence[tuple[bytes, bytes]] = (),
    *,
    routes: Sequence[Route] = (PLAIN, OPEN),
) -> Resolution:
    resolver = Resolver(routes, trusted_proxies=(), tickets=TicketPaths(routes), instance=b"sseproxy-me")
    request = ParsedRequest(method, target, "1.1", [(b"Host", b"a.test"), *fields])
    connection = cast(DownstreamConnection, Connection())
    record = AccessRecord("-", method, target, 0.0, "made-here")
    return resolver.resolve(request, connection, ResponseTreatment(keep_alive=True), record)


def test_a_request_is_forwarded_along_its_route() -> None:
    found = resolve("GET", "/a/b?c")
    assert isinstance(found, Forward)
    assert (found.route, found.request.inbound.target, found.request.client) == (PLAIN, "/a/b?c", "192.0.2.1")
    assert found.treatment == ResponseTreatment(keep_alive=True)


def test_what_is_said_to_pages_of_other_origins_is_known_before_the_answer() -> None:
    found = resolve("GET", "/b", [(b"Origin", PAGE)])
    assert isinstance(found, Forward)
    assert found.treatment.cross_origin is not None
    assert found.treatment.cross_origin.is_allowed


@pytest.mark.parametrize(("method", "target"), [("POST", "/_tickets/b"), ("GET", "/_tickets/b")])
def test_a_request_to_be_kept(method: str, target: str) -> None:
    found = resolve(method, target)
    assert isinstance(found, KeepTicket)
    assert (found.route, found.target.id, found.target.target) == (OPEN, None, "/b")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_ticket_to_be_used(method: str) -> None:
    found = resolve(method, TICKET)
    assert isinstance(found, UseTicket)
    assert (found.route, found.target.path, found.target.id) == (None, "/_tickets", TICKET.rpartition("/")[2])


def test_a_preflight_is_answered_for_the_route_of_the_request() -> None:
    asks = [(b"Origin", PAGE), (b"Access-Control-Request-Method", b"POST")]
    found = resolve("OPTIONS", "/b", asks)
    assert isinstance(found, Reply)
    assert found.route is OPEN
    assert (b"Access-Control-Allow-Origin", PAGE) in found.fields
    assert isinstance(resolve("OPTIONS", "/a", asks), Forward)


def test_the_last_hop_answers() -> None:
    found = resolve("OPTIONS", "*", [(b"Max-Forwards", b"0")])
    assert isinstance(found, Reply)
    assert [name for name, _ in found.fields] == [b"Allow"]


@pytest.mark.parametrize(
    ("method", "target", "fields", "error", "route"),
    [
        ("GET", "/c", [], RouteNotFound, None),
        ("GET", "/a", [(b"Via", b"1.1 sseproxy-me")], LoopDetected, None),
        ("GET", "/a b", [], BadRequest, None),
        ("POST", "/_tickets/x/../b", [], BadRequest, None),
        ("POST", "/_tickets/a", [], RouteNotFound, None),
        ("POST", "/_tickets/b", [(b"Origin", b"https://evil.test")], ForeignOrigin, OPEN),
        (
            "OPTIONS",
            "/b",
            [(b"Origin", b"https://evil.test"), (b"Access-Control-Request-Method", b"POST")],
            ForeignOrigin,
            OPEN,
        ),
    ],
)
def test_what_is_refused(
    method: str, target: str, fields: Headers, error: type[SSEProxyError], route: Route | None
) -> None:
    found = resolve(method, target, fields)
    assert isinstance(found, Refuse)
    assert type(found.error) is error
    assert found.route is route
    assert found.error.__traceback__ is None


def test_a_refusal_says_to_pages_of_other_origins_what_the_route_allows_them() -> None:
    other = Route("other", UPSTREAM, Match(prefix="/b"), strip_prefix="/b", cors=OPEN.cors)
    found = resolve("GET", "/b/../x/../b/c/%2e%2e/d", [(b"Origin", PAGE)], routes=(other,))
    assert isinstance(found, Refuse)
    assert found.treatment.cross_origin is not None


PUSH = Route(
    "push", match=Match(prefix="/p"), tickets=TicketPolicy(), redis=RedisPolicy(channels=(Template.parse("news"),))
)


@pytest.mark.parametrize("target", ["/p", "/_tickets/p"])
def test_what_comes_out_of_redis_can_only_be_read(target: str) -> None:
    for method in ("GET", "HEAD"):
        assert isinstance(resolve(method, target, routes=[PUSH]), Forward | KeepTicket)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        found = resolve(method, target, routes=[PUSH])
        assert isinstance(found, Refuse)
        assert isinstance(found.error, MethodRefused)
        assert found.error.allowed == ("GET", "HEAD")
