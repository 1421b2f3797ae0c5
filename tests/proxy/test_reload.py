"""What becomes of connections, tickets and objects when a proxy that runs gets other routes?"""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sseproxy.core.eventsource.policies import Reopen, TicketPolicy
from sseproxy.core.routes import AuthorizePolicy, Match, Route, Upstream
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.pools import Pool
from sseproxy.proxy.backing.http_servers import HttpServers
from sseproxy.proxy.dispatch import Dispatcher
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.resolve import Resolver
from sseproxy.proxy.routing import Routing
from tests.support.inside import alive
from tests.support.proxy_server import ProxyServer, Stage, route_to, stage
from tests.support.raw_upstream import OK, RawUpstream, Visit, replies
from tests.support.settled import eventually

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Reloads:
    """Reloads a proxy as a process does."""

    def __init__(self, proxy: ProxyServer) -> None:
        self._app = proxy.app
        self._servers = HttpServers(asyncio.get_running_loop())
        self.upstreams: dict[Upstream, HttpOrigin] = {}

    def to(self, *routes: Route) -> None:
        every: Sequence[Route] = self._app.tickets.routes_with(routes)
        self.upstreams = self._servers.upstreams(every)
        origins = Origins(self.upstreams, {}, self._servers.authorizers(every))
        self._app.reload(routes, origins, trusted_proxies=())


async def streams_and_answers(visit: Visit) -> None:
    """Events one by one, on as many streams as come; anything else is answered at once."""
    while True:
        request = await visit.request()
        if request.target != b"/stream":
            await visit.send(OK)
            continue
        await visit.send(HEAD + b"9\r\ndata: 1\n\n\r\n")
        await visit.closed.wait()


async def test_a_pool_stays_as_long_as_a_route_leads_there() -> None:
    async with stage(replies(OK)) as on:
        reloads = Reloads(on.proxy)
        first = route_to(on.upstream)
        reloads.to(first)
        assert (await on.client.ask(GET)).status == 200
        pool = reloads.upstreams[first.upstream].pool  # type: ignore[index]
        assert pool.idle == 1
        reloads.to(replace(first, name="renamed"), replace(first, name="other", match=Match(path="/x")))
        assert pool.idle == 1
        assert (await on.client.ask(GET)).status == 200
        assert len(on.upstream.visits) == 1, "the connection was used again"
        reloads.to(replace(first, upstream=Upstream("http", "127.0.0.1", 1)))
        assert pool.idle == 0
        await on.upstream.visits[0].wait_closed()
        assert (await on.client.ask(GET)).status == 502


async def test_a_connection_in_use_is_closed_when_its_request_has_ended() -> None:
    async with stage(streams_and_answers) as on:
        reloads = Reloads(on.proxy)
        reloads.to(route_to(on.upstream))
        await on.client.send(STREAM)
        assert (await on.client.head()).status == 200
        assert await on.client.chunk() == b"data: 1\n\n"
        reloads.to(Route("none", Upstream("http", "127.0.0.1", 1)))
        visit = on.upstream.visits[0]
        await visit.send(b"9\r\ndata: 2\n\n\r\n")
        assert await on.client.chunk() == b"data: 2\n\n"
        assert not visit.closed.is_set()
        await visit.send(b"0\r\n\r\n")
        assert await on.client.chunk() == b""
        await visit.wait_closed()


async def test_a_certificate_that_was_renewed_makes_a_new_pool(tls_files: Any, tmp_path: Any) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(tls_files[0].read_bytes())
    servers = HttpServers(asyncio.get_running_loop())
    plain = Upstream("https", "127.0.0.1", 1)
    named = replace(plain, tls=replace(plain.tls, ca=str(ca)))
    routes = [Route("plain", plain), Route("named", named)]
    before = servers.upstreams(routes)
    assert servers.upstreams(routes) == before
    ca.write_bytes(tls_files[0].read_bytes() + b"\n")
    after = servers.upstreams(routes)
    assert after[plain] is before[plain]
    assert after[named] is not before[named]
    for origin in {*before.values(), *after.values()}:
        await origin.close()


async def kept(on: Stage, path: bytes = b"/_tickets") -> bytes:
    post = b"POST %b/stream HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nwhy" % path
    response = await on.client.ask(post)
    assert response.status == 201, response
    return response.one(b"Location") or b""


def opening(where: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n" % where


async def test_tickets_live_to_their_end_whatever_has_become_of_their_route() -> None:
    tickets = TicketPolicy(reopen=Reopen.ALWAYS)
    async with stage(streams_and_answers, tickets=tickets) as on:
        first = route_to(on.upstream, tickets=tickets)
        nowhere = Upstream("http", "127.0.0.1", 1)
        others = [
            Route("none", nowhere),
            Route("default", nowhere),
            Route("default", nowhere, tickets=TicketPolicy(path="/elsewhere")),
        ]
        reloads = Reloads(on.proxy)
        reloads.to(first)
        for other in others:
            where = await kept(on)
            reloads.to(other)
            async with on.proxy.connect() as opener:
                await opener.send(opening(where))
                assert (await opener.head()).status == 200
                assert await opener.chunk() == b"data: 1\n\n"
            late = await on.client.ask(b"POST /_tickets/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert late.status == 502, "a request like any other: nothing is kept there now"
            reloads.to(first)
        # The route has come back, and leads elsewhere: its tickets go there, like new requests.
        where = await kept(on)
        reloads.to(replace(first, upstream=nowhere))
        assert (await on.client.ask(opening(where))).status == 502


async def test_a_request_that_waits_for_authorize_goes_on_as_it_began() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def guard(visit: Visit) -> None:
        await visit.request()
        asked.set()
        await answer.wait()
        await visit.send(OK)

    async with RawUpstream.serve(guard) as service, stage(replies(OK)) as on:
        where = Upstream("http", "127.0.0.1", service.port)
        reloads = Reloads(on.proxy)
        reloads.to(route_to(on.upstream, authorize=AuthorizePolicy(where)))
        waiting = asyncio.create_task(on.client.ask(GET))
        await asked.wait()
        reloads.to(Route("none", Upstream("http", "127.0.0.1", 1)))
        answer.set()
        assert (await waiting).status == 200


async def test_reloads_leave_no_objects_behind() -> None:
    kinds = (Routing, Resolver, Dispatcher, HttpOrigin, Pool)
    of_other_tests = alive(*kinds)["Routing"]
    async with stage(streams_and_answers) as on:
        reloads = Reloads(on.proxy)
        reloads.to(route_to(on.upstream))
        await on.client.send(STREAM)
        assert (await on.client.head()).status == 200
        tasks = len(asyncio.all_tasks())
        counts: dict[str, int] = {}
        for number in range(200):
            upstream = Upstream("http", "127.0.0.1", 20_000 + number)
            guard = AuthorizePolicy(Upstream("http", "127.0.0.1", 30_000 + number))
            reloads.to(Route("a", upstream, authorize=guard), route_to(on.upstream, match=Match(path="/b")))
            if number == 20:
                counts = alive(*kinds)
        assert alive(*kinds) == counts
        assert len(asyncio.all_tasks()) == tasks
        gc.collect()
        # Those of the stream that runs, and those that hold now.
        assert counts["Routing"] <= of_other_tests + 2
        await eventually(lambda: len(on.proxy.app.streams) == 1)
