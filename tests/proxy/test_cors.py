"""What does a page of another origin get, and what does its browser hear that asks first? (docs/eventsource.md)"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, TicketBinding, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Visit, replies
from tests.support.unreachable import Unreachable

CORS = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
ALL = CorsPolicy(frozenset({"*"}))
APP, EVIL = b"Origin: https://app.test", b"Origin: https://evil.test"
WANTS_POST = b"Access-Control-Request-Method: POST"


def ask(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    length = (b"Content-Length: %d" % len(body),) if body else ()
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields, *length]) + b"\r\n\r\n" + body


def said(response: Message) -> dict[bytes, bytes]:
    """All that a response says about CORS."""
    fields = [(name, value) for name, value in response.fields if name.lower().startswith(b"access-control-")]
    assert len(dict(fields)) == len(fields)
    return dict(fields)


ALLOWED = {
    b"Access-Control-Allow-Origin": b"https://app.test",
    b"Access-Control-Allow-Credentials": b"true",
    b"Access-Control-Expose-Headers": b"Location, Content-Location, Retry-After",
}


# Preflights.


async def test_a_preflight_is_answered_here() -> None:
    async with stage(replies(), cors=CORS) as on:
        for _ in range(2):
            asked = ask(b"OPTIONS /a?b", APP, WANTS_POST, b"Access-Control-Request-Headers: authorization,x-a")
            response = await on.client.ask(asked)
            assert response.status == 204
            assert said(response) == {
                b"Access-Control-Allow-Origin": b"https://app.test",
                b"Access-Control-Allow-Credentials": b"true",
                b"Access-Control-Allow-Methods": b"POST",
                b"Access-Control-Allow-Headers": b"authorization, x-a",
                b"Access-Control-Max-Age": b"600",
            }
            vary = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
            assert response.one(b"Vary") == vary
            assert response.one(b"Content-Length") is None
        assert on.upstream.received == b""


async def test_a_foreign_preflight_is_refused() -> None:
    async with stage(replies(), cors=CORS) as on:
        for _ in range(2):
            response = await on.client.ask(ask(b"OPTIONS /a", EVIL, WANTS_POST))
            assert response.status == 403
            assert response.one(b"Content-Type") == b"application/problem+json"
            assert said(response) == {}
        assert on.upstream.received == b""


@pytest.mark.parametrize(
    "fields", [[APP], [WANTS_POST], [APP, b"Access-Control-Request-Method: a b"]], ids=["plain", "no origin", "odd"]
)
async def test_another_options_is_proxied(fields: list[bytes]) -> None:
    async with stage(replies(), cors=CORS) as on:
        assert (await on.client.ask(ask(b"OPTIONS /a", *fields))).status == 200
        assert on.upstream.requests[0].first_line == b"OPTIONS /a HTTP/1.1"


async def test_without_the_option_it_is_the_upstreams_business() -> None:
    upstream = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: X\r\nContent-Length: 0\r\n\r\n"
    async with stage(replies(upstream)) as on:
        response = await on.client.ask(ask(b"OPTIONS /a", EVIL, WANTS_POST))
        assert said(response) == {b"Access-Control-Allow-Origin": b"*"}
        assert response.one(b"Vary") == b"X"
        assert said(await on.client.ask(ask(b"GET /a", EVIL))) == {b"Access-Control-Allow-Origin": b"*"}


@contextlib.asynccontextmanager
async def routes(*options: dict[str, Any]) -> AsyncIterator[tuple[AsyncPeer, RawUpstream]]:
    async with RawUpstream.serve(replies()) as upstream:
        made: list[Route] = [route_to(upstream, name=f"r{at}", **each) for at, each in enumerate(options)]
        async with ProxyServer.serve(*made) as proxy, proxy.connect() as client:
            yield client, upstream


async def test_a_preflight_belongs_to_the_route_of_what_it_asks_for() -> None:
    """Not to the one that an OPTIONS would take."""
    post = Match(prefix="/a", methods=frozenset({"POST"}))
    get = Match(prefix="/a", methods=frozenset({"GET"}))
    async with routes({"match": post, "cors": CORS}, {"match": get, "cors": ALL}, {}) as (client, upstream):
        answer = await client.ask(ask(b"OPTIONS /a/x", APP, WANTS_POST))
        assert said(answer)[b"Access-Control-Allow-Origin"] == b"https://app.test"
        assert (await client.ask(ask(b"OPTIONS /a/x", EVIL, WANTS_POST))).status == 403
        answer = await client.ask(ask(b"OPTIONS /a/x", EVIL, b"Access-Control-Request-Method: GET"))
        assert said(answer)[b"Access-Control-Allow-Origin"] == b"*"
        assert upstream.received == b""
        assert (await client.ask(ask(b"OPTIONS /a/x", APP, b"Access-Control-Request-Method: PUT"))).status == 200
        assert len(upstream.requests) == 1


async def test_a_preflight_for_a_method_that_no_route_has() -> None:
    async with routes({"match": Match(methods=frozenset({"POST"})), "cors": CORS}) as (client, upstream):
        assert (await client.ask(ask(b"OPTIONS /", APP, b"Access-Control-Request-Method: PUT"))).status == 404
        assert upstream.received == b""


# Responses.


async def test_the_word_of_the_upstream_is_replaced() -> None:
    upstream = (
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-A\r\n"
        b"Vary: Accept\r\nContent-Length: 2\r\n\r\nok"
    )
    async with stage(replies(upstream), cors=CORS) as on:
        response = await on.client.ask(ask(b"GET /a", APP))
        assert said(response) == {
            **ALLOWED,
            b"Access-Control-Expose-Headers": b"X-A, Location, Content-Location, Retry-After",
        }
        assert response.one(b"Vary") == b"Accept, Origin"
        assert response.body == b"ok"
        for fields in ([EVIL], [], [APP, APP]):
            response = await on.client.ask(ask(b"GET /a", *fields))
            assert said(response) == {}
            assert response.one(b"Vary") == b"Accept, Origin"
        assert on.upstream.requests[0].one(b"Origin") == b"https://app.test"


async def test_event_streams_are_readable() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: x\n\n"
    async with stage(replies(stream), cors=ALL) as on:
        response = await on.client.ask(ask(b"GET /a", EVIL, b"Accept: text/event-stream"))
        exposed = b"Location, Content-Location, Retry-After"
        assert said(response) == {b"Access-Control-Allow-Origin": b"*", b"Access-Control-Expose-Headers": exposed}
        assert response.one(b"Vary") is None


async def test_a_stream_that_was_promised_early() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    early = HeartbeatPolicy(interval=60.0, before_response=0.0001)
    async with stage(script, cors=CORS, heartbeat=early) as on:
        await on.client.send(ask(b"GET /a", APP, b"Accept: text/event-stream"))
        assert said(await on.client.head()) == ALLOWED


async def test_the_head_of_a_route_comes_last() -> None:
    rules = HeaderRules(set=(("Vary", "X"), ("Access-Control-Allow-Origin", "*")))
    async with stage(replies(), cors=CORS, response_headers=rules) as on:
        response = await on.client.ask(ask(b"GET /a", APP))
        assert said(response) == ALLOWED
        assert response.one(b"Vary") == b"X, Origin"


async def test_answers_of_ours_are_readable() -> None:
    async with stage(replies(), cors=CORS, limits=LimitPolicy(request_body=1)) as on:
        response = await on.client.ask(ask(b"POST /a", APP, body=b"xx"))
        assert response.status == 413
        assert said(response) == ALLOWED
        assert response.one(b"Vary") == b"Origin"


async def test_a_failing_upstream_is_readable() -> None:
    with Unreachable() as nobody:
        where = Upstream("http", "127.0.0.1", urlsplit(nobody.refusing_url).port or 0)
        async with ProxyServer.serve(Route("default", where, cors=CORS)) as proxy, proxy.connect() as client:
            response = await client.ask(ask(b"GET /a", APP))
            assert (response.status, said(response)) == (502, ALLOWED)


async def test_the_answer_to_a_reconnect_is_readable() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n"
    async with stage(replies(stream), cors=CORS, end=EndPolicy(stop_reconnect=True)) as on:
        accept = b"Accept: text/event-stream"
        name = (await on.client.ask(ask(b"GET /a", APP, accept))).body.strip().removeprefix(b"id: ")
        response = await on.client.ask(ask(b"GET /a", APP, accept, b"Last-Event-ID: " + name))
        assert (response.status, said(response)) == (204, ALLOWED)


# Tickets.


async def test_tickets_across_origins() -> None:
    async with stage(replies(), cors=CORS, tickets=TicketPolicy()) as on:
        asked = ask(b"OPTIONS /_tickets/v1", APP, WANTS_POST, b"Access-Control-Request-Headers: content-type")
        answer = await on.client.ask(asked)
        assert (answer.status, said(answer)[b"Access-Control-Allow-Headers"]) == (204, b"content-type")
        made = await on.client.ask(ask(b"POST /_tickets/v1", APP, body=b"hi"))
        assert (made.status, said(made)) == (201, ALLOWED)
        url = json.loads(made.body)["url"].encode()
        opened = await on.client.ask(ask(b"GET " + url, APP))
        assert (opened.status, said(opened)) == (200, ALLOWED)
        again = await on.client.ask(ask(b"GET " + url, APP))
        assert (again.status, said(again)) == (204, ALLOWED)
        for method in (b"DELETE", b"GET"):
            answer = await on.client.ask(ask(b"OPTIONS " + url, APP, b"Access-Control-Request-Method: " + method))
            assert (answer.status, said(answer)[b"Access-Control-Allow-Methods"]) == (204, method)
        gone = await on.client.ask(ask(b"DELETE " + url, APP))
        assert (gone.status, said(gone)) == (204, ALLOWED)
        unknown = await on.client.ask(ask(b"GET " + url, APP))
        assert (unknown.status, said(unknown)) == (404, ALLOWED)
        assert [request.first_line for request in on.upstream.requests] == [b"POST /v1 HTTP/1.1"]


async def test_tickets_are_no_way_around_the_origins() -> None:
    async with stage(replies(), cors=CORS, tickets=TicketPolicy()) as on:
        assert (await on.client.ask(ask(b"OPTIONS /_tickets/v1", EVIL, WANTS_POST))).status == 403
        for fields in ([EVIL], [EVIL, b"Content-Type: text/plain"], [EVIL, b"Sec-Fetch-Site: same-site"]):
            kept = await on.client.ask(ask(b"POST /_tickets/v1", *fields, body=b"hi"))
            assert (kept.status, said(kept)) == (403, {})
            assert b"A page of https://evil.test sends this, and cors.origins does not name it." in kept.body
        made = await on.client.ask(ask(b"POST /_tickets/v1", APP))
        url = json.loads(made.body)["url"].encode()
        refused = await on.client.ask(ask(b"OPTIONS " + url, EVIL, b"Access-Control-Request-Method: DELETE"))
        assert refused.status == 403
        for fields in ([EVIL], [EVIL, b"Sec-Fetch-Site: same-site"], [b"Sec-Fetch-Site: same-site"]):
            for method in (b"GET ", b"DELETE "):
                refused = await on.client.ask(ask(method + url, *fields))
                assert (refused.status, said(refused)) == (404, {})
        assert on.upstream.requests == []
        assert (await on.client.ask(ask(b"GET " + url, APP))).status == 200


@pytest.mark.parametrize(("cors", "status"), [(None, 403), (CORS, 403), (ALL, 201)])
async def test_whose_requests_are_kept(cors: CorsPolicy | None, status: int) -> None:
    """A request of a page that has asked nobody must not be sent later, when its ticket looks like anybody's."""
    async with stage(replies(), cors=cors, tickets=TicketPolicy()) as on:
        assert (await on.client.ask(ask(b"POST /_tickets/v1", EVIL))).status == status
        own = await on.client.ask(ask(b"POST /_tickets/v1", b"Origin: http://a.test"))
        assert own.status == 201


IMAGE = (b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image")
FRAME = (b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe")


@pytest.mark.parametrize("fields", [IMAGE, FRAME])
@pytest.mark.parametrize("cors", [None, CORS, ALL])
async def test_nothing_is_kept_for_what_a_foreign_page_shows(
    fields: tuple[bytes, ...], cors: CorsPolicy | None
) -> None:
    """A page with some hundred images would fill the place in which its visitor's own requests are kept."""
    async with stage(replies(), cors=cors, tickets=TicketPolicy()) as on:
        assert (await on.client.ask(ask(b"GET /_tickets/v1", *fields))).status == 403
        assert (await on.client.ask(ask(b"GET /v1", *fields))).status == 200


async def test_no_foreign_request_is_kept_in_the_name_of_a_login() -> None:
    async with stage(replies(), cors=ALL, tickets=TicketPolicy(), auth=CookieAuth("token")) as on:
        assert (await on.client.ask(ask(b"POST /_tickets/v1", EVIL))).status == 201
        assert (await on.client.ask(ask(b"POST /_tickets/v1", EVIL, b"Cookie: token=x"))).status == 403


@pytest.mark.parametrize(("site", "has_hint"), [(b"cross-site", True), (b"same-site", False), (b"same-origin", False)])
async def test_who_lacks_the_cookie_for_being_on_another_site_is_told_so(site: bytes, has_hint: bool) -> None:
    """Such as a page on `localhost` that asks at 127.0.0.1."""
    bound = TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="token")
    async with stage(replies(), cors=CORS, tickets=bound) as on:
        refused = await on.client.ask(ask(b"POST /_tickets/v1", APP, b"Sec-Fetch-Site: " + site))
        assert refused.status == 400
        assert (b"localhost and 127.0.0.1 are two sites" in refused.body) is has_hint


async def test_no_foreign_page_spends_the_ticket_of_a_login() -> None:
    """Any page may read what is nobody's; with somebody's cookie it could do something in their name."""
    bound = TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="token")
    async with stage(replies(), cors=ALL, tickets=bound, auth=CookieAuth("token")) as on:
        login = b"Cookie: token=x"
        made = await on.client.ask(ask(b"POST /_tickets/v1", login))
        url = json.loads(made.body)["url"].encode()
        for method in (b"GET ", b"DELETE "):
            assert (await on.client.ask(ask(method + url, EVIL, login))).status == 404
        assert on.upstream.requests == []
        assert (await on.client.ask(ask(b"GET " + url, login))).status == 200


async def test_a_ticket_is_answered_for_by_its_own_route() -> None:
    """A route that says nothing about origins is not opened by another one with the same place for tickets."""
    own = Match(prefix="/own")
    async with RawUpstream.serve(replies(OK)) as upstream:
        silent = route_to(upstream, name="silent", match=own, tickets=TicketPolicy())
        spoken = route_to(upstream, tickets=TicketPolicy(), cors=CORS)
        async with ProxyServer.serve(silent, spoken) as proxy, proxy.connect() as client:
            refused = await client.ask(ask(b"POST /_tickets/own/x", APP))
            assert (refused.status, said(refused)) == (403, {})
            made = await client.ask(ask(b"POST /_tickets/own/x"))
            assert (made.status, said(made)) == (201, {})
            url = made.one(b"Location") or b""
            unknown = await client.ask(ask(b"GET " + url[:-2] + (b"AA" if url[-2:] != b"AA" else b"BA"), APP))
            refused = await client.ask(ask(b"GET " + url, APP))
            assert (refused.status, said(refused), refused.body) == (404, said(unknown), unknown.body)
            assert upstream.requests == []
            opened = await client.ask(ask(b"GET " + url))
            assert (opened.status, said(opened)) == (200, {})


@pytest.mark.parametrize("other", [ALL, CorsPolicy(CORS.origins), CorsPolicy(frozenset({"https://b.test"}), True)])
@pytest.mark.parametrize("comes_first", [True, False])
async def test_whichever_route_a_ticket_is_of_its_page_can_end_it(other: CorsPolicy, comes_first: bool) -> None:
    """A preflight tells no more than the ticket's path, and the page asks with its cookies."""
    async with RawUpstream.serve(replies(OK)) as upstream:
        public = route_to(upstream, name="public", match=Match(prefix="/public"), tickets=TicketPolicy(), cors=other)
        own = route_to(upstream, match=Match(prefix="/own"), tickets=TicketPolicy(), cors=CORS)
        routes = (public, own) if comes_first else (own, public)
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            made = await client.ask(ask(b"POST /_tickets/own/x", APP))
            url = made.one(b"Location") or b""
            asked = await client.ask(ask(b"OPTIONS " + url, APP, b"Access-Control-Request-Method: DELETE"))
            assert asked.status == 204
            assert (
                said(asked).items()
                >= {
                    b"Access-Control-Allow-Origin": b"https://app.test",
                    b"Access-Control-Allow-Credentials": b"true",
                    b"Access-Control-Allow-Methods": b"DELETE",
                }.items()
            )
            for method, status in ((b"GET", 200), (b"GET", 204), (b"DELETE", 204), (b"GET", 404)):
                answer = await client.ask(ask(method + b" " + url, APP))
                assert (answer.status, said(answer)) == (status, ALLOWED)


async def test_an_opened_ticket_says_what_its_own_route_says() -> None:
    async with RawUpstream.serve(replies(OK)) as upstream:
        public = route_to(upstream, name="public", match=Match(prefix="/public"), tickets=TicketPolicy(), cors=ALL)
        own = route_to(upstream, match=Match(prefix="/own"), tickets=TicketPolicy(), cors=CORS)
        async with ProxyServer.serve(own, public) as proxy, proxy.connect() as client:
            made = await client.ask(ask(b"POST /_tickets/public/x", APP))
            opened = await client.ask(ask(b"GET " + (made.one(b"Location") or b""), APP))
            assert said(opened)[b"Access-Control-Allow-Origin"] == b"*"
            assert b"Access-Control-Allow-Credentials" not in said(opened)
