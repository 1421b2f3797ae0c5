"""What reaches upstream and client when a request is kept until a GET asks for it? (docs/eventsource.md)"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sseproxy.core.errors import ConnectError
from sseproxy.core.eventsource.policies import CookieAuth, Reopen, TicketPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.http import HttpExchange, HttpOrigin
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.stores.base import KeptRequest
from sseproxy.stores.memory import MemoryTicketStore
from tests.support.async_peer import AsyncPeer
from tests.support.proxy_server import SILENT, ProxyServer, Stage, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

TICKETS = TicketPolicy()
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ACCEPT = b"Accept: text/event-stream"


def ask(line: bytes, *fields: bytes, body: bytes | None = None) -> bytes:
    length = () if body is None else (b"Content-Length: %d" % len(body),)
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields, *length]) + b"\r\n\r\n" + (body or b"")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


POST = ask(b"POST /_tickets/v1/x?a=b&", b"X-Own: 1", b"Content-Type: application/json", body=b'{"q": 1}')


async def kept(client: AsyncPeer, request: bytes = POST) -> bytes:
    """Have a request kept, and return the target that opens it."""
    response = await client.ask(request)
    assert response.status == 201, response
    return response.one(b"Location") or b""


@contextlib.asynccontextmanager
async def desk(script: Script, **options: Any) -> AsyncIterator[Stage]:
    async with stage(script, **{"tickets": TICKETS, **options}) as on:
        yield on


def streams(*events: bytes, ends: bool = True) -> Script:
    """Each request gets these events."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(EVENT_STREAM + b"".join(map(chunk, events)) + (chunk(b"") if ends else b""))
            if not ends:
                await visit.wait_closed()

    return script


# Keeping.


async def test_what_is_kept_is_not_sent() -> None:
    async with desk(replies()) as on:
        response = await on.client.ask(POST)
        assert response.status == 201
        ticket = json.loads(response.body)
        assert list(ticket) == ["ticket", "url", "expires_in"]
        assert re.fullmatch(r"tkt_[A-Za-z0-9_-]{22}", ticket["ticket"])
        assert ticket["url"] == f"/_tickets/{ticket['ticket']}"
        assert ticket["expires_in"] == 60
        assert response.one(b"Location") == ticket["url"].encode()
        assert response.one(b"Cache-Control") == b"no-store"
        assert response.one(b"Content-Type") == b"application/json"
        assert on.upstream.visits == []


async def test_no_two_tickets_are_alike() -> None:
    async with desk(replies()) as on:
        assert len({await kept(on.client) for _ in range(50)}) == 50


async def test_half_a_second_is_said_as_it_is() -> None:
    async with desk(replies(), tickets=TicketPolicy(ttl=1.5)) as on:
        assert json.loads((await on.client.ask(POST)).body)["expires_in"] == 1.5


async def test_the_upstream_sees_exactly_the_request_that_was_meant() -> None:
    async with desk(replies()) as on:
        direct = ask(
            b"POST /v1/x?a=b&", b"X-Own: 1", b"Content-Type: application/json", b"Accept: */*", body=b'{"q": 1}'
        )
        assert (await on.client.ask(direct)).status == 200
        url = await kept(on.client, direct.replace(b" /v1", b" /_tickets/v1"))
        opening = ask(b"GET " + url, b"X-Own: 2", b"Cookie: a=b", b"User-Agent: x", ACCEPT)
        assert (await on.client.ask(opening)).status == 200
        meant, sent = on.upstream.requests
        assert sent.first_line == b"POST /v1/x?a=b& HTTP/1.1"
        assert sorted(sent.fields) == sorted(meant.fields)
        assert sent.body == meant.body == b'{"q": 1}'


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"QUERY"])
async def test_any_method_without_a_body(method: bytes) -> None:
    async with desk(replies()) as on:
        url = await kept(on.client, ask(method + b" /_tickets/a"))
        assert (await on.client.ask(ask(b"GET " + url))).body == b"ok"
        [request] = on.upstream.requests
        assert request.first_line == method + b" /a HTTP/1.1"
        assert request.one(b"Content-Length") is None
        assert request.one(b"Transfer-Encoding") is None


@pytest.mark.parametrize(
    "target", [b"/", b"/a%2Fb;c+d", b"//a", b"/a?", b"/_tickets/a", b"/%5Ftickets", b"/a?b=/c%20d"]
)
async def test_the_target_goes_on_as_it_is(target: bytes) -> None:
    async with desk(replies()) as on:
        await on.client.ask(ask(b"GET " + await kept(on.client, ask(b"POST /_tickets" + target))))
        assert on.upstream.requests[0].target == target


async def test_absolute_targets() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client, ask(b"POST http://A.test/_tickets/a?b"))
        await on.client.ask(ask(b"GET http://a.test" + url))
        [request] = on.upstream.requests
        assert request.target == b"/a?b"
        assert request.one(b"Host") == b"A.test"


async def test_the_bytes_of_fields_and_body() -> None:
    body = bytes(range(256)) * 300
    async with desk(replies()) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", b"X-Odd: \xe9\xff", b"X-ODD: 2", body=body))
        await on.client.ask(ask(b"GET " + url))
        [request] = on.upstream.requests
        assert request.all(b"x-odd") == [b"\xe9\xff", b"2"]
        assert (b"X-ODD", b"2") in request.fields
        assert request.body == body


async def test_an_empty_body_keeps_its_length() -> None:
    async with desk(replies()) as on:
        await on.client.ask(ask(b"GET " + await kept(on.client, ask(b"POST /_tickets/a", body=b""))))
        assert on.upstream.requests[0].one(b"Content-Length") == b"0"


async def test_a_chunked_body_goes_on_with_its_length() -> None:
    async with desk(replies()) as on:
        head = ask(b"POST /_tickets/a", b"Transfer-Encoding: chunked")
        url = await kept(on.client, head + chunk(b"one") + chunk(b"two") + chunk(b""))
        await on.client.ask(ask(b"GET " + url))
        [request] = on.upstream.requests
        assert request.one(b"Content-Length") == b"6"
        assert request.body == b"onetwo"


async def test_trailers_go_nowhere() -> None:
    async with desk(replies()) as on:
        await on.client.send(ask(b"POST /_tickets/a", b"Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\nX-T: 1\r\n\r\n")
        response = await on.client.response()
        assert response.status == 201
        await on.client.ask(ask(b"GET " + (response.one(b"Location") or b"")))
        assert b"X-T" not in on.upstream.received


async def test_continue_is_said_for_what_will_be_kept() -> None:
    async with desk(replies()) as on:
        await on.client.send(ask(b"POST /_tickets/a", b"Expect: 100-continue", b"Content-Length: 5"))
        assert (await on.client.response()).status == 100
        await on.client.send(b"hello")
        response = await on.client.response()
        assert response.status == 201
        await on.client.ask(ask(b"GET " + (response.one(b"Location") or b"")))
        [request] = on.upstream.requests
        assert request.one(b"Expect") is None
        assert request.body == b"hello"


async def test_hop_by_hop_fields_of_either_request_go_nowhere() -> None:
    async with desk(replies()) as on:
        hops = (b"Connection: X-Mine, X-Forwarded-Proto", b"TE: trailers", b"Upgrade: h2c", b"Keep-Alive: 5")
        url = await kept(on.client, ask(b"POST /_tickets/a", *hops, b"X-Mine: 1", b"Proxy-Authorization: 1"))
        await on.client.ask(ask(b"GET " + url, b"Connection: X-Other, Content-Length", b"X-Other: 1"))
        [request] = on.upstream.requests
        names = {name.lower() for name, _ in request.fields}
        assert names == {b"host", b"accept-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"} | {
            b"forwarded",
            b"x-request-id",
            b"via",
        }


async def test_connection_takes_nothing_from_a_kept_request_that_is_for_everybody() -> None:
    async with desk(replies(), trusted=("127.0.0.0/8",)) as on:
        fields = (b"Connection: x-forwarded-for, authorization, x-a", b"X-Forwarded-For: 192.0.2.1", b"X-A: 1")
        url = await kept(on.client, ask(b"POST /_tickets/a", *fields, b"Authorization: Bearer x", body=b""))
        await on.client.ask(ask(b"GET " + url))
        [request] = on.upstream.requests
    assert request.one(b"X-Forwarded-For") == b"192.0.2.1, 127.0.0.1"
    assert request.one(b"Authorization") == b"Bearer x"
    assert request.one(b"X-A") is None


async def test_where_it_came_from_is_said_of_the_one_who_had_it_kept() -> None:
    async with desk(replies(), trusted=["127.0.0.1"]) as on:
        said = (b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: https", b"Via: 1.1 one")
        url = await kept(on.client, ask(b"POST /_tickets/a", *said))
        opening = ask(b"GET " + url, b"X-Forwarded-For: 10.0.0.2", b"X-Forwarded-Host: b.test", b"Via: 1.1 two")
        await on.client.ask(opening.replace(b"Host: a.test", b"Host: c.test", 1))
        [request] = on.upstream.requests
        assert request.one(b"X-Forwarded-For") == b"10.0.0.1, 127.0.0.1"
        assert request.one(b"X-Forwarded-Proto") == b"https"
        assert request.one(b"X-Forwarded-Host") == b"a.test"
        assert request.one(b"Via") == b"1.1 one, 1.1 sseproxy-test"


async def test_nobody_lends_an_address_to_the_request_of_another() -> None:
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream, tickets=TICKETS)) as proxy,
        proxy.connect() as keeper,
    ):
        url = await kept(keeper, ask(b"POST /_tickets/admin", b"X-Forwarded-For: 127.0.0.9"))
        elsewhere = await asyncio.open_connection("127.0.0.1", proxy.port, local_addr=("127.0.0.9", 0))
        elsewhere[1].write(ask(b"GET " + url, b"Connection: close"))
        assert b"200 OK" in await elsewhere[0].read()
        elsewhere[1].close()
        [request] = upstream.requests
        assert request.one(b"X-Forwarded-For") == b"127.0.0.1"
        assert b"127.0.0.9" not in (request.one(b"Forwarded") or b"")


async def test_what_a_stranger_says_about_itself_is_dropped() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", b"X-Forwarded-For: 10.0.0.1"))
        await on.client.ask(ask(b"GET " + url, b"X-Forwarded-For: 10.0.0.2"))
        assert on.upstream.requests[0].one(b"X-Forwarded-For") == b"127.0.0.1"


async def test_a_request_to_switch_protocols_is_kept_as_an_ordinary_one() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client, ask(b"GET /_tickets/a", b"Connection: upgrade", b"Upgrade: websocket"))
        async with on.proxy.connect() as client:
            await client.ask(ask(b"GET " + url, b"Connection: upgrade", b"Upgrade: websocket"))
        assert on.upstream.requests[0].one(b"Upgrade") is None


async def test_a_kept_head_has_an_answer_without_a_body() -> None:
    async with desk(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-A: 1\r\n\r\n")) as on:
        response = await on.client.ask(ask(b"HEAD /_tickets/a"), to_head=True)
        assert response.status == 201
        opened = await on.client.ask(ask(b"GET " + (response.one(b"Location") or b"")))
        assert opened.one(b"Content-Length") == b"0"
        assert opened.one(b"X-A") == b"1"
        assert on.upstream.requests[0].first_line == b"HEAD /a HTTP/1.1"
        assert (await on.client.ask(POST)).status == 201


async def test_the_login_is_that_of_the_request_that_was_kept() -> None:
    async with desk(replies(), auth=CookieAuth("token")) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", b"Cookie: a=b; token=mine"))
        await on.client.ask(ask(b"GET " + url, b"Cookie: token=yours"))
        [request] = on.upstream.requests
        assert request.one(b"Authorization") == b"Bearer mine"
        assert request.one(b"Cookie") == b"a=b"


# Which route.


async def test_the_route_is_that_of_the_real_target() -> None:
    async with RawUpstream.serve(replies()) as one, RawUpstream.serve(replies()) as two:
        routes = [
            route_to(one, name="one", match=Match(path="/a", methods=frozenset(["POST"])), tickets=TICKETS),
            route_to(two, name="two", match=Match(path="/a", host="b.test"), tickets=TicketPolicy(path="/_tickets/x")),
            route_to(two, name="three", match=Match(path="/b")),
        ]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            url = await kept(client, ask(b"POST /_tickets/a"))
            await client.ask(ask(b"GET " + url))
            assert [request.first_line for request in one.requests] == [b"POST /a HTTP/1.1"]
            other = ask(b"GET /_tickets/x/a").replace(b"a.test", b"B.test:80")
            await client.ask(ask(b"GET " + await kept(client, other)))
            assert [request.first_line for request in two.requests] == [b"GET /a HTTP/1.1"]
            for target in (b"GET /_tickets/a", b"GET /_tickets/b", b"GET /_tickets/c", b"GET /_tickets/x/b"):
                assert (await client.ask(ask(target))).status == 404, target


@pytest.mark.parametrize("target", [b"/_tickets", b"/_tickets?/a", b"/_tickets?"])
async def test_a_desk_without_a_target(target: bytes) -> None:
    async with desk(replies()) as on:
        for method in (b"GET ", b"POST ", b"DELETE "):
            assert (await on.client.ask(ask(method + target))).status == 404
        assert on.upstream.visits == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
async def test_a_target_of_twenty_two_characters(method: bytes) -> None:
    async with desk(replies(b"HTTP/1.1 204 No Content\r\n\r\n")) as on:
        target = b"/" + b"A" * 22
        response = await on.client.ask(ask(method + b" /_tickets" + target), to_head=method == b"HEAD")
        assert response.status == 201
        await on.client.ask(ask(b"GET " + (response.one(b"Location") or b"")))
        assert on.upstream.requests[0].first_line == method + b" " + target + b" HTTP/1.1"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
@pytest.mark.parametrize(
    ("shape", "status"),
    [
        (b"/_tickets/./%b", 400),
        (b"/_tickets/%%2E/%b", 400),
        (b"/_tickets/.//%b", 400),
        (b"/_tickets/x/%%2e%%2E/%b", 400),
        (b"/x/../_tickets/%b", 400),
        (b"/_tickets/%b/.", 400),
        (b"/_tickets/%b/", 404),
    ],
)
async def test_a_ticket_that_is_written_carelessly_is_not_kept(method: bytes, shape: bytes, status: int) -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        async with on.proxy.connect() as client:
            request = ask(method + b" " + shape % url.rpartition(b"/")[2])
            assert (await client.ask(request, to_head=method == b"HEAD")).status == status
        assert on.upstream.visits == []
        assert (await on.client.ask(ask(b"GET " + url))).status == 200


@pytest.mark.parametrize(("old", "new"), [(b"/tkt", b"//tkt"), (b"tkt", b"%74kt"), (b"/_tickets", b"//%5Ftickets")])
async def test_a_ticket_in_another_spelling_is_the_same(old: bytes, new: bytes) -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        assert (await on.client.ask(ask(b"GET " + url.replace(old, new)))).status == 200
        assert (await on.client.ask(ask(b"GET " + url))).status == 204


@pytest.mark.parametrize("path", [b"//_tickets", b"/%5ftickets", b"//%5Ftickets"])
async def test_the_desk_in_another_spelling_keeps_the_rest_as_it_is(path: bytes) -> None:
    async with desk(replies()) as on:
        await on.client.ask(ask(b"GET " + await kept(on.client, ask(b"POST " + path + b"//%61?%61", body=b""))))
        assert on.upstream.requests[0].target == b"//%61?%61"


async def test_a_kept_target_is_routed_by_what_it_means() -> None:
    async with RawUpstream.serve(replies()) as left, RawUpstream.serve(replies()) as right:
        routes = [
            route_to(left, name="left", match=Match(prefix="/admin"), tickets=TICKETS),
            route_to(right, name="right", tickets=TICKETS),
        ]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            await client.ask(ask(b"GET " + await kept(client, ask(b"POST /_tickets//%61dmin", body=b""))))
        assert [request.target for request in left.requests] == [b"//%61dmin"]
        assert right.requests == []


@pytest.mark.parametrize("target", [b"/_ticketsx", b"/x/_tickets/a", b"/_ticket"])
async def test_what_is_no_ticket_is_an_ordinary_request(target: bytes) -> None:
    async with desk(replies()) as on:
        assert (await on.client.ask(ask(b"POST " + target))).status == 200
        assert on.upstream.requests[0].target == target


async def test_a_ticket_belongs_to_its_own_desk() -> None:
    async with RawUpstream.serve(replies()) as upstream:
        routes = [
            route_to(upstream, name="one", match=Match(path="/a"), tickets=TICKETS),
            route_to(upstream, name="two", match=Match(path="/b"), tickets=TicketPolicy(path="/other")),
        ]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            url = await kept(client, ask(b"POST /_tickets/a"))
            elsewhere = url.replace(b"/_tickets", b"/other")
            for method in (b"GET ", b"HEAD ", b"DELETE "):
                response = await client.ask(ask(method + elsewhere), to_head=method == b"HEAD ")
                assert response.status == 404
            assert upstream.visits == []
            assert (await client.ask(ask(b"GET " + url))).status == 200


async def test_the_prefix_is_stripped_and_the_base_path_put_on() -> None:
    async with desk(replies(), strip_prefix="/api", base_path="/base") as on:
        await on.client.ask(ask(b"GET " + await kept(on.client, ask(b"POST /_tickets/api/x"))))
        assert on.upstream.requests[0].target == b"/base/x"


# Opening.


async def test_the_answer_of_an_opened_ticket_is_streamed() -> None:
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENT_STREAM + chunk(b"data: 1\n\n"))
        await go.wait()
        await visit.send(chunk(b"data: 2\n\n") + chunk(b""))

    async with desk(script) as on:
        await on.client.send(ask(b"GET " + await kept(on.client), ACCEPT))
        head = await on.client.head()
        assert head.status == 200
        assert head.one(b"Content-Type") == b"text/event-stream"
        assert head.one(b"Cache-Control") == b"no-cache, no-transform, no-store"
        assert await on.client.chunk() == b"data: 1\n\n"
        go.set()
        assert await on.client.chunk() == b"data: 2\n\n"
        assert await on.client.chunk() == b""


async def test_a_query_and_a_body_of_the_opening_request_do_not_matter() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        assert (await on.client.ask(ask(b"GET " + url + b"?cache=1", body=b"hello"))).body == b"ok"
        assert on.upstream.requests[0].body == b'{"q": 1}'
        assert (await on.client.ask(ask(b"GET " + url))).status == 204


async def check_spent(client: AsyncPeer, url: bytes) -> None:
    for method in (b"GET ", b"HEAD "):
        response = await client.ask(ask(method + url, ACCEPT))
        assert response.status == 204
        assert response.body == b""
        assert response.one(b"Cache-Control") == b"no-store"
        assert response.one(b"Content-Length") is None


async def test_a_ticket_is_opened_once() -> None:
    async with desk(streams(b"data: 1\n\n")) as on:
        url = await kept(on.client)
        assert (await on.client.ask(ask(b"GET " + url, ACCEPT))).body == b"data: 1\n\n"
        for _ in range(3):
            await check_spent(on.client, url)
        assert len(on.upstream.requests) == 1


async def test_a_ticket_that_is_open_is_not_opened_again() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False)) as on:
        url = await kept(on.client)
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await on.client.head()
        async with on.proxy.connect() as other:
            await check_spent(other, url)
        assert await on.client.chunk() == b"data: 1\n\n"
        assert len(on.upstream.requests) == 1


async def test_of_many_who_ask_at_once_one_gets_the_answer() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)

        async def open_it() -> int:
            async with on.proxy.connect() as client:
                return (await client.ask(ask(b"GET " + url, ACCEPT))).status

        statuses = await asyncio.gather(*(open_it() for _ in range(20)))
        assert sorted(statuses) == [200] + [204] * 19
        assert len(on.upstream.requests) == 1


async def test_a_client_that_left_does_not_get_it_again() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False)) as on:
        url = await kept(on.client)
        async with on.proxy.connect() as first:
            await first.send(ask(b"GET " + url, ACCEPT))
            await first.head()
        await (await on.upstream.visit()).wait_closed()
        await check_spent(on.client, url)


async def test_a_client_that_left_before_the_answer_does_not_get_it_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    async with desk(script) as on:
        url = await kept(on.client)
        async with on.proxy.connect() as first:
            await first.send(ask(b"GET " + url, ACCEPT))
            await (await on.upstream.visit()).wait_received(b'{"q": 1}')
            first.reset()
        await on.upstream.visits[0].wait_closed()
        await check_spent(on.client, url)
        assert len(on.upstream.visits) == 1


async def test_a_stream_that_broke_off_does_not_come_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENT_STREAM + chunk(b"data: 1\n\n"))
        visit.reset()

    async with desk(script) as on:
        url = await kept(on.client)
        async with on.proxy.connect() as first:
            await first.send(ask(b"GET " + url, ACCEPT))
            await first.head()
            assert not (await first.rest()).endswith(b"0\r\n\r\n")
        await check_spent(on.client, url)
        assert len(on.upstream.visits) == 1


# What never reached the upstream.


async def test_an_upstream_that_is_not_there() -> None:
    route = Route("down", Upstream("http", "127.0.0.1", 1), heartbeat=SILENT, tickets=TICKETS)
    async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
        url = await kept(client)
        for _ in range(2):
            response = await client.ask(ask(b"GET " + url, ACCEPT))
            assert response.status == 502
            assert url not in response.head + response.body
        assert (await client.ask(ask(b"HEAD " + url), to_head=True)).status == 200


async def test_a_ticket_is_not_spent_on_a_refusal_of_ours() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False), limits=LimitPolicy(streams=1)) as on:
        one, two = await kept(on.client), await kept(on.client)
        async with on.proxy.connect() as other:
            await other.send(ask(b"GET " + one, ACCEPT))
            await other.head()
            for _ in range(2):
                response = await on.client.ask(ask(b"GET " + two, ACCEPT))
                assert response.status == 503
                assert response.one(b"Retry-After") is not None
            assert len(on.upstream.requests) == 1
        await eventually(lambda: len(on.proxy.app.streams) == 0)
        await on.client.send(ask(b"GET " + two, ACCEPT))
        assert (await on.client.head()).status == 200


async def test_an_error_that_was_told_in_a_stream_was_told() -> None:
    early = HeartbeatPolicy(interval=0.01, before_response=0.01)
    route = Route("slow", Upstream("http", "slow.test", 1), heartbeat=early, tickets=TICKETS)
    waits = asyncio.Event()

    class Slow(HttpOrigin):
        async def open(self, request: OriginRequest, timeouts: TimeoutPolicy) -> HttpExchange:
            await waits.wait()
            raise ConnectError("The upstream cannot be reached.", proxy_status="destination_unavailable")

    async with ProxyServer.serve(route, origin=Slow) as proxy, proxy.connect() as client:
        url = await kept(client)
        await client.send(ask(b"GET " + url, ACCEPT))
        assert (await client.head()).status == 200
        waits.set()
        assert b"event: error" in await client.rest()
        async with proxy.connect() as other:
            await check_spent(other, url)


class SlowStore(MemoryTicketStore):
    """One that is somewhere else: it has opened a ticket before it says so. opened: it has. goes_on: it says so."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.opened, self.goes_on = asyncio.Event(), asyncio.Event()

    async def open(self, key: bytes, opening: bytes) -> KeptRequest | None:
        request = await super().open(key, opening)
        self.opened.set()
        await self.goes_on.wait()
        return request


async def test_a_client_that_leaves_while_its_ticket_is_opened() -> None:
    store = SlowStore()
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream, tickets=TICKETS), store=store) as proxy,
        proxy.connect() as keeper,
        proxy.connect() as client,
    ):
        url = await kept(keeper)
        await client.send(ask(b"GET " + url, ACCEPT))
        await store.opened.wait()
        client.reset()
        await eventually(lambda: proxy.app.requests == 0)
        assert upstream.visits == []
        store.goes_on.set()
        assert (await keeper.ask(ask(b"GET " + url, ACCEPT))).status == 200


async def test_a_ticket_that_is_deleted_while_it_is_opened() -> None:
    store = SlowStore()
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream, tickets=TICKETS), store=store) as proxy,
        proxy.connect() as keeper,
        proxy.connect() as client,
    ):
        url = await kept(keeper)
        await client.send(ask(b"GET " + url, ACCEPT))
        await store.opened.wait()
        assert (await keeper.ask(ask(b"DELETE " + url))).status == 204
        store.goes_on.set()
        assert (await client.response()).status == 204
        assert (await client.ask(ask(b"GET " + url, ACCEPT))).status == 404
        assert upstream.visits == []


async def test_a_look_opens_nothing() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        response = await on.client.ask(ask(b"HEAD " + url), to_head=True)
        assert response.status == 200
        assert response.one(b"Cache-Control") == b"no-store"
        assert on.upstream.visits == []
        assert (await on.client.ask(ask(b"GET " + url))).status == 200


# All that holds for other requests.


async def test_heartbeats() -> None:
    beating = HeartbeatPolicy(interval=0.02)
    async with desk(streams(b"data: 1\n\n", ends=False), heartbeat=beating) as on:
        await on.client.send(ask(b"GET " + await kept(on.client), ACCEPT))
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        assert await on.client.chunk() == b": heartbeat\n\n"


@pytest.mark.parametrize(
    ("request_", "accept"),
    [
        (POST, ACCEPT),
        (ask(b"POST /_tickets/a", ACCEPT), b"Accept: */*"),
        (ask(b"POST /_tickets/a", body=b'{"stream": true}'), b"Accept: */*"),
        (ask(b"GET /_tickets/a"), ACCEPT),
    ],
    ids=["the opening request says it", "the kept request says it", "its body says it", "a kept GET"],
)
async def test_the_client_is_answered_before_the_upstream_does(request_: bytes, accept: bytes) -> None:
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await go.wait()
        await visit.send(EVENT_STREAM + chunk(b"data: 1\n\n") + chunk(b""))

    early = HeartbeatPolicy(interval=0.02, before_response=0.02)
    async with desk(script, heartbeat=early) as on:
        await on.client.send(ask(b"GET " + await kept(on.client, request_), accept))
        assert (await on.client.head()).status == 200
        assert await on.client.chunk() == b": heartbeat\n\n"
        go.set()
        while (piece := await on.client.chunk()) == b": heartbeat\n\n":
            pass
        assert piece == b"data: 1\n\n"


async def test_a_body_that_asks_for_no_stream_waits_for_its_answer() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await waited.wait()
        await visit.send(OK)

    waited = asyncio.Event()
    early = HeartbeatPolicy(interval=0.01, before_response=0.01)
    async with desk(script, heartbeat=early) as on:
        await on.client.send(ask(b"GET " + await kept(on.client), b"Accept: */*"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await on.client.reader.read(1)
        waited.set()
        assert (await on.client.response()).body == b"ok"


@pytest.mark.parametrize("accept", [ACCEPT, b"Accept: */*"], ids=["an EventSource", "none"])
@pytest.mark.parametrize("reopen", Reopen)
async def test_the_answer_of_a_ticket_is_let_finish(accept: bytes, reopen: Reopen) -> None:
    go_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENT_STREAM + chunk(b"data: 1\n\n"))
        await go_on.wait()
        await visit.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    async with desk(script, tickets=TicketPolicy(reopen=reopen)) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", ACCEPT))
        await on.client.send(ask(b"GET " + url, accept, b"Cache-Control: no-cache"))
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        on.proxy.app.drain(timeout=20.0, spread=0.0)
        await asyncio.sleep(0)
        go_on.set()
        assert [await on.client.chunk(), await on.client.chunk()] == [b"data: 2\n\n", b""]


async def test_limits_of_streams() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False), limits=LimitPolicy(streams=1)) as on:
        one, two = await kept(on.client), await kept(on.client)
        await on.client.send(ask(b"GET " + one, ACCEPT))
        await on.client.head()
        async with on.proxy.connect() as other:
            response = await other.ask(ask(b"GET " + two, ACCEPT))
            assert response.status == 503
            assert response.one(b"Retry-After") is not None
        assert len(on.upstream.requests) == 1


async def test_a_request_that_waits_counts_as_no_stream() -> None:
    async with desk(streams(b"data: 1\n\n"), limits=LimitPolicy(streams=1)) as on:
        urls = [await kept(on.client) for _ in range(5)]
        for url in urls:
            assert (await on.client.ask(ask(b"GET " + url, ACCEPT))).status == 200


# Deleting.


async def test_a_ticket_that_waits_is_deleted() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        response = await on.client.ask(ask(b"DELETE " + url))
        assert response.status == 204
        assert response.one(b"Cache-Control") == b"no-store"
        for method in (b"GET ", b"DELETE "):
            assert (await on.client.ask(ask(method + url))).status == 404
        assert on.upstream.visits == []


async def test_an_ended_ticket_is_deleted() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client)
        await on.client.ask(ask(b"GET " + url))
        assert (await on.client.ask(ask(b"DELETE " + url))).status == 204
        assert (await on.client.ask(ask(b"GET " + url))).status == 404


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"text/plain"])
async def test_an_open_ticket_is_stopped(content_type: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENT_STREAM.replace(b"text/event-stream", content_type) + chunk(b"data: 1\n\n"))
        await visit.wait_closed()

    async with desk(script) as on:
        url = await kept(on.client)
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        async with on.proxy.connect() as other:
            assert (await other.ask(ask(b"DELETE " + url))).status == 204
            await on.upstream.visits[0].wait_closed()
            # Asked for by the client, the end of an event stream is a clean one; any other body is not whole.
            is_stream = content_type == b"text/event-stream"
            assert await (on.client.chunk() if is_stream else on.client.rest()) == b""
            assert (await other.ask(ask(b"GET " + url))).status == 404


@pytest.mark.parametrize("early", [None, 0.01], ids=["no answer yet", "answered early"])
async def test_an_open_ticket_is_stopped_before_the_upstream_answers(early: float | None) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    async with desk(script, heartbeat=HeartbeatPolicy(interval=0.01, before_response=early)) as on:
        url = await kept(on.client)
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await (await on.upstream.visit()).wait_received(b'{"q": 1}')
        if early is not None:
            assert (await on.client.head()).status == 200
        async with on.proxy.connect() as other:
            assert (await other.ask(ask(b"DELETE " + url))).status == 204
            await on.upstream.visits[0].wait_closed()
            assert (await other.ask(ask(b"GET " + url))).status == 404
        if early is None:
            assert (await on.client.response()).status == 204
            assert (await on.client.ask(POST)).status == 201
        else:
            while await on.client.chunk():  # heartbeats, and the end that the client has asked for
                pass
        assert len(on.upstream.visits) == 1


async def test_a_ticket_is_stopped_while_its_client_reads_nothing() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(EVENT_STREAM)
        while not visit.closed.is_set():
            await visit.send(chunk(b"data: " + bytes(100_000) + b"\n\n"))

    async with desk(script, timeouts=TimeoutPolicy(write=0.3)) as on:
        url = await kept(on.client)
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await on.client.head()
        on.client.pause()
        async with on.proxy.connect() as other:
            assert (await other.ask(ask(b"DELETE " + url))).status == 204
        await on.upstream.visits[0].wait_closed()


# Opening again, where the route says so.

AGAIN = TicketPolicy(reopen=Reopen.ALWAYS)


async def test_a_ticket_that_reopens_goes_on_where_the_client_was() -> None:
    async with desk(streams(b"id: 1\ndata: 1\n\n"), tickets=AGAIN) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", b"Last-Event-ID: 0", body=b"hello"))
        for position in (b"first", b"1", b"2"):
            assert (await on.client.ask(ask(b"GET " + url, ACCEPT, b"Last-Event-ID: " + position))).status == 200
        await on.client.ask(ask(b"GET " + url, ACCEPT))
        assert [request.one(b"Last-Event-ID") for request in on.upstream.requests] == [b"0", b"1", b"2", b"0"]
        assert {request.body for request in on.upstream.requests} == {b"hello"}
        assert (await on.client.ask(ask(b"HEAD " + url), to_head=True)).status == 200
        assert (await on.client.ask(ask(b"DELETE " + url))).status == 204
        assert (await on.client.ask(ask(b"GET " + url))).status == 404


async def test_an_end_that_was_told_ends_a_ticket_that_reopens() -> None:
    async with desk(streams(b"data: 1\n\n"), tickets=AGAIN, end=EndPolicy(stop_reconnect=True)) as on:
        url = await kept(on.client)
        response = await on.client.ask(ask(b"GET " + url, ACCEPT))
        position = re.fullmatch(rb"data: 1\n\nid: (\S+)\n\n", response.body)
        assert position is not None
        assert (await on.client.ask(ask(b"GET " + url, ACCEPT, b"Last-Event-ID: " + position[1]))).status == 204
        assert len(on.upstream.requests) == 1
        assert (await on.client.ask(ask(b"GET " + url, ACCEPT))).status == 200


async def test_all_that_a_ticket_has_open_is_stopped() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False), tickets=AGAIN) as on:
        url = await kept(on.client)
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await on.client.head()
        async with on.proxy.connect() as second, on.proxy.connect() as third:
            await second.send(ask(b"GET " + url, ACCEPT))
            await second.head()
            assert (await third.ask(ask(b"DELETE " + url))).status == 204
        for visit in on.upstream.visits:
            await visit.wait_closed()
        assert len(on.upstream.visits) == 2


# The end of the process.


async def test_a_drain_does_not_wait_for_tickets_that_nobody_opened() -> None:
    async with desk(replies()) as on:
        await kept(on.client)
        on.proxy.app.drain(timeout=None, spread=0.0)
        await on.proxy.app.wait_until_idle()


async def test_an_open_ticket_is_drained_like_any_stream() -> None:
    async with desk(streams(b"data: 1\n\n", ends=False)) as on:
        await on.client.send(ask(b"GET " + await kept(on.client), b"Accept: */*"))
        await on.client.head()
        assert await on.client.chunk() == b"data: 1\n\n"
        on.proxy.app.drain(timeout=0.05, spread=0.0)
        told = await on.client.rest()
        assert b"shutting down" in told
        assert not told.endswith(b"0\r\n\r\n")


async def test_nothing_is_kept_during_a_drain() -> None:
    async with desk(replies()) as on:
        url = await kept(on.client, POST)
        head = ask(b"POST /_tickets/a", b"Content-Length: 5")
        await on.client.send(head)
        await eventually(lambda: on.proxy.app.requests == 1)
        on.proxy.app.drain(timeout=None, spread=0.0)
        await on.client.send(b"hello")
        response = await on.client.response()
        assert response.status == 503
        assert response.one(b"Retry-After") == b"1"
        assert response.one(b"Connection") == b"close"
        async with on.proxy.connect() as client:
            assert (await client.ask(POST)).status == 503
        async with on.proxy.connect() as client:
            assert (await client.ask(ask(b"GET " + url))).status == 200


async def test_a_client_that_is_still_sending_is_told_that_it_ends() -> None:
    async with desk(replies()) as on:
        await on.client.send(ask(b"POST /_tickets/a", b"Content-Length: 5") + b"he")
        await eventually(lambda: on.proxy.app.requests == 1)
        on.proxy.app.abort()
        assert (await on.client.response()).status == 503
        assert on.upstream.visits == []


async def test_a_ticket_whose_upstream_has_not_answered_is_refused_at_the_end() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    async with desk(script) as on:
        await on.client.send(ask(b"GET " + await kept(on.client), ACCEPT))
        await (await on.upstream.visit()).wait_received(b'{"q": 1}')
        on.proxy.app.abort()
        assert (await on.client.response()).status == 503
        await on.upstream.visits[0].wait_closed()


def test_a_route_with_tickets_needs_a_store() -> None:
    route = Route("a", Upstream("http", "127.0.0.1", 1), tickets=TICKETS)
    with pytest.raises(ValueError, match="need a store"):
        TicketService([route], None)
