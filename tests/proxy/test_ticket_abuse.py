"""Who can do what with a ticket that is not theirs, and with a desk that they try to fill? (contract section 5)"""

import asyncio
import contextlib
import gc
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sseproxy.core.eventsource.policies import Reopen, TicketBinding, TicketPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.logs import ACCESS_LOGGER, LOGGER, JSONFormatter
from sseproxy.proxy.eventsource.tickets import KeptTicket, TicketTarget
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.ticket_requests import TicketRequest
from sseproxy.stores.base import KeptRequest, TicketState
from sseproxy.stores.memory import MemoryTicketStore
from tests.support.async_peer import RawClient
from tests.support.hand_clock import HandClock
from tests.support.http1_reader import Message
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

TICKETS = TicketPolicy()
ACCEPT = b"Accept: text/event-stream"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"


def ask(line: bytes, *fields: bytes, body: bytes | None = None) -> bytes:
    length = () if body is None else (b"Content-Length: %d" % len(body),)
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields, *length]) + b"\r\n\r\n" + (body or b"")


POST = ask(b"POST /_tickets/a", body=b"hello")


async def kept(client: RawClient, request: bytes = POST) -> bytes:
    response = await client.ask(request)
    assert response.status == 201, response
    return response.one(b"Location") or b""


class Watched(MemoryTicketStore):
    """Notes what it is asked, and whether it knew of a ticket."""

    def __init__(self, clock: HandClock, **bounds: int) -> None:
        super().__init__(clock, **bounds)
        self.calls: list[str] = []

    async def look(self, key: bytes) -> TicketState | None:
        known = await super().look(key)
        self.calls.append("look" if known is None else "find")
        return known

    async def open(self, key: bytes, opening: bytes) -> KeptRequest | None:
        self.calls.append("open")
        return await super().open(key, opening)


class Desk:
    """A proxy with one route, and the store and the clock of its tickets."""

    def __init__(self, proxy: ProxyServer, upstream: RawUpstream, store: Watched, clock: HandClock) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.store = store
        self.clock = clock


@contextlib.asynccontextmanager
async def desk(script: Script | None = None, *, trusted: bool = False, **options: Any) -> AsyncIterator[Desk]:
    clock = HandClock()
    bounds = {name: options.pop(name) for name in ("most_tickets", "most_bytes", "shares") if name in options}
    store = Watched(clock, **bounds)
    async with RawUpstream.serve(script or replies()) as upstream:
        route = route_to(upstream, **{"tickets": TICKETS, **options})
        async with ProxyServer.serve(route, trusted=["127.0.0.1"] if trusted else [], store=store) as proxy:
            yield Desk(proxy, upstream, store, clock)


def timeless(message: Message) -> bytes:
    """A response without the time at which it was made."""
    return re.sub(rb"\r\nDate: [^\r]*", b"", message.head) + message.body


# Too much.


@pytest.mark.parametrize("policy", ["the desk's", "the route's"])
async def test_a_body_that_is_too_large(policy: str) -> None:
    options: dict[str, Any] = {"tickets": TicketPolicy(max_body=4)}
    if policy == "the route's":
        options = {"limits": LimitPolicy(request_body=4)}
    async with desk(**options) as on:
        chunks = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        asked = ask(b"POST /_tickets/a", b"Expect: 100-continue", b"Content-Length: 5")
        for request in (POST, asked, ask(b"POST /_tickets/a", b"Transfer-Encoding: chunked") + chunks):
            async with on.proxy.connect() as client:
                response = await client.ask(request)
                assert response.status == 413
                assert response.one(b"Content-Type") == b"application/problem+json"
        async with on.proxy.connect() as client:
            await kept(client, ask(b"POST /_tickets/a", body=b"four"))
        assert len(on.store) == 1


async def test_more_tickets_than_are_kept() -> None:
    async with desk(most_tickets=3, shares=1) as on, on.proxy.connect() as client:
        urls = [await kept(client) for _ in range(3)]
        response = await client.ask(POST)
        assert response.status == 503
        assert response.one(b"Retry-After") == b"5"
        assert response.one(b"Proxy-Status") == b"sseproxy"
        assert (await client.ask(ask(b"GET " + urls[0]))).status == 200
        await kept(client)
        on.clock.advance(60)
        for _ in range(3):
            await kept(client)


async def test_more_bytes_than_are_kept() -> None:
    async with desk(most_bytes=100_000, shares=1) as on, on.proxy.connect() as client:
        statuses = [(await client.ask(ask(b"POST /_tickets/a", body=bytes(30_000)))).status for _ in range(5)]
        assert statuses == [201, 201, 201, 503, 503]
        assert on.store.size <= 100_000


async def test_what_is_still_coming_is_bounded_too() -> None:
    async with desk(trusted=True) as on:
        on.proxy.app._desk._most_incoming = 150_000
        head = ask(b"POST /_tickets/a", b"Content-Length: 100000")
        other = ask(b"POST /_tickets/a", b"Content-Length: 100000", b"X-Forwarded-For: 198.51.100.1")
        async with on.proxy.connect() as slow, on.proxy.connect() as client:
            await slow.send(other + bytes(99_999))
            await eventually(lambda: on.proxy.app._desk._incoming.total() == 99_999)
            response = await client.ask(head + bytes(100_000))
            assert response.status == 503
            assert response.one(b"Retry-After") == b"1"
            await slow.send(b"!")
            assert (await slow.response()).status == 201
        async with on.proxy.connect() as client:
            assert (await client.ask(head + bytes(100_000))).status == 201


async def test_one_client_leaves_room_for_the_tickets_of_others() -> None:
    mine, yours = (b"X-Forwarded-For: 198.51.100.%d" % n for n in (1, 2))
    async with desk(trusted=True, most_tickets=16, shares=4) as on, on.proxy.connect() as client:
        for _ in range(4):
            await kept(client, ask(b"POST /_tickets/a", mine))
        response = await client.ask(ask(b"POST /_tickets/a", mine))
        assert (response.status, response.one(b"Retry-After")) == (503, b"5")
        await kept(client, ask(b"POST /_tickets/a", yours))


async def test_one_network_of_ipv6_is_one_client() -> None:
    """Whoever has one address of it has 2 ** 64."""
    async with desk(trusted=True, most_tickets=16, shares=4) as on, on.proxy.connect() as client:
        for address in (b"2001:db8:0:1::1", b"2001:db8:0:1::2", b"2001:DB8::1:ffff:0:0:1", b"[2001:db8:0:1:8000::]:80"):
            await kept(client, ask(b"POST /_tickets/a", b"X-Forwarded-For: " + address))
        response = await client.ask(ask(b"POST /_tickets/a", b"X-Forwarded-For: 2001:db8:0:1::5"))
        assert (response.status, response.one(b"Retry-After")) == (503, b"5")
        others = (b"2001:db8:1::1", b"2001:db8::1", b"198.51.100.1", *(b"::ffff:198.51.100.%d" % n for n in range(5)))
        for address in others:
            await kept(client, ask(b"POST /_tickets/a", b"X-Forwarded-For: " + address))


async def test_one_household_of_ipv6_leaves_room_for_the_tickets_of_others() -> None:
    """Whoever has a /56 has 256 networks of 64 bits."""
    async with desk(trusted=True, most_tickets=16, shares=4) as on, on.proxy.connect() as client:
        for number in range(8):
            await kept(client, ask(b"POST /_tickets/a", b"X-Forwarded-For: 2001:db8:0:ff%02x::1" % number))
        response = await client.ask(ask(b"POST /_tickets/a", b"X-Forwarded-For: 2001:db8:0:ff08::1"))
        assert (response.status, response.one(b"Retry-After")) == (503, b"5")
        for number in range(4):
            await kept(client, ask(b"POST /_tickets/a", b"X-Forwarded-For: 2001:db8:%d::1" % (number + 1)))


async def test_one_household_of_ipv6_leaves_room_for_the_bodies_of_others() -> None:
    def head(whose: bytes) -> bytes:
        return ask(b"POST /_tickets/a", b"Content-Length: 30000", b"X-Forwarded-For: " + whose)

    async with desk(trusted=True) as on:
        on.proxy.app._desk._most_incoming = 80_000
        async with on.proxy.connect() as slow, on.proxy.connect() as second, on.proxy.connect() as other:
            await slow.send(head(b"2001:db8:0:ff00::1") + bytes(29_999))  # more than its share, but alone
            await eventually(lambda: on.proxy.app._desk._incoming.total() == 29_999)
            response = await second.ask(head(b"2001:db8:0:ff01::1") + bytes(30_000))
            assert (response.status, response.one(b"Retry-After")) == (503, b"1")
            assert (await other.ask(head(b"2001:db8:1::1") + bytes(30_000))).status == 201
            await slow.send(b"!")
            assert (await slow.response()).status == 201
        assert not on.proxy.app._desk._from_networks


async def test_one_client_leaves_room_for_the_bodies_of_others() -> None:
    mine, yours = (b"X-Forwarded-For: 198.51.100.%d" % n for n in (1, 2))

    def head(whose: bytes) -> bytes:
        return ask(b"POST /_tickets/a", b"Content-Length: 30000", whose)

    async with desk(trusted=True) as on:
        on.proxy.app._desk._most_incoming = 80_000
        async with on.proxy.connect() as slow, on.proxy.connect() as second, on.proxy.connect() as other:
            await slow.send(head(mine) + bytes(29_999))  # more than an eighth, but alone
            await eventually(lambda: on.proxy.app._desk._incoming.total() == 29_999)
            response = await second.ask(head(mine) + bytes(30_000))
            assert (response.status, response.one(b"Retry-After")) == (503, b"1")
            assert (await other.ask(head(yours) + bytes(30_000))).status == 201
            await slow.send(b"!")
            assert (await slow.response()).status == 201


async def test_only_one_body_of_a_client_may_be_larger_than_its_share() -> None:
    mine, yours = (b"X-Forwarded-For: 198.51.100.%d" % n for n in (1, 2))

    def head(whose: bytes) -> bytes:
        return ask(b"POST /_tickets/a", b"Content-Length: 30000", whose)

    async with desk(trusted=True) as on:
        on.proxy.app._desk._most_incoming = 80_000
        async with on.proxy.connect() as first, on.proxy.connect() as second, on.proxy.connect() as other:
            await first.send(head(mine))  # of which nothing comes for now
            await eventually(lambda: on.proxy.app.requests == 1)
            async with on.proxy.connect() as passing:
                await passing.send(head(mine))
                await eventually(lambda: on.proxy.app.requests == 2)
                passing.reset()
            await eventually(lambda: on.proxy.app.requests == 1)
            response = await second.ask(head(mine) + bytes(30_000))
            assert (response.status, response.one(b"Retry-After")) == (503, b"1")
            await first.send(bytes(29_999))
            assert (await other.ask(head(yours) + bytes(30_000))).status == 201
            await first.send(b"!")
            assert (await first.response()).status == 201
        assert not on.proxy.app._desk._incoming
        assert not on.proxy.app._desk._bodies


async def trickle(client: RawClient, piece: bytes) -> int:
    """Send `piece` again and again until there is an answer, and return its status."""
    answer = asyncio.ensure_future(client.response())
    while not answer.done():
        await client.send(piece)
        await asyncio.wait({answer}, timeout=0.01)
    return answer.result().status


async def test_a_client_that_leaves_while_it_sends() -> None:
    async with desk() as on:
        async with on.proxy.connect() as client:
            await client.send(ask(b"POST /_tickets/a", b"Content-Length: 5") + b"hell")
            await eventually(lambda: on.proxy.app._desk._incoming.total() == 4)
            client.reset()
        await on.proxy.app.wait_until_idle()
        assert len(on.store) == 0


async def test_a_client_that_stops_to_send() -> None:
    async with desk(timeouts=TimeoutPolicy(response=0.05)) as on, on.proxy.connect() as client:
        response = await client.ask(ask(b"POST /_tickets/a", b"Content-Length: 5") + b"hell")
        assert response.status == 400
        assert json.loads(response.body)["detail"] == "The request body did not come in time."
        assert len(on.store) == 0


async def test_a_client_that_sends_for_too_long() -> None:
    async with desk(timeouts=TimeoutPolicy(request_body=0.2)) as on, on.proxy.connect() as client:
        await client.send(ask(b"POST /_tickets/a", b"Content-Length: 100000"))
        assert await trickle(client, b"x") == 400
        assert len(on.store) == 0


async def test_a_client_has_less_time_than_for_an_answer() -> None:
    async with desk(timeouts=TimeoutPolicy(response=None)) as on, on.proxy.connect() as client:
        assert on.proxy.app._desk._body_time == 30.0
        on.proxy.app._desk._body_time = 0.05
        response = await client.ask(ask(b"POST /_tickets/a", b"Content-Length: 5") + b"hell")
        assert response.status == 400
        assert json.loads(response.body)["detail"] == "The request body did not come in time."


@pytest.mark.parametrize("body", [b"x\r\n", b"5\r\nhelloo\r\n0\r\n\r\n", b"-1\r\n"])
async def test_a_body_that_is_malformed(body: bytes) -> None:
    async with desk() as on, on.proxy.connect() as client:
        response = await client.ask(ask(b"POST /_tickets/a", b"Transfer-Encoding: chunked") + body)
        assert response.status == 400
        assert len(on.store) == 0


# Whose ticket it is.


async def test_a_ticket_expires_to_the_second() -> None:
    async with desk(tickets=TicketPolicy(ttl=7.0)) as on, on.proxy.connect() as client:
        one, two = await kept(client), await kept(client)
        on.clock.advance(6.999)
        assert (await client.ask(ask(b"GET " + one))).status == 200
        on.clock.advance(0.001)
        assert (await client.ask(ask(b"GET " + two))).status == 404
        assert (await client.ask(ask(b"GET " + one))).status == 204
        on.clock.advance(60)
        assert (await client.ask(ask(b"GET " + one))).status == 404
        assert len(on.upstream.requests) == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
async def test_whatever_is_wrong_with_a_ticket_looks_the_same(method: bytes) -> None:
    bound = TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="sid")
    async with desk(tickets=bound) as on, on.proxy.connect() as client:
        mine, yours = b"Cookie: sid=mine", b"Cookie: sid=yours"
        post = ask(b"POST /_tickets/a", mine, body=b"hello")
        expired = await kept(client, post)
        on.clock.advance(60)
        waiting, opened, ended, deleted = [await kept(client, post) for _ in range(4)]
        await client.ask(ask(b"GET " + ended, mine))
        await client.ask(ask(b"DELETE " + deleted, mine))
        wrong = {
            "unknown": ask(method + b" /_tickets/tkt_" + b"A" * 22, mine),
            "guessed": ask(method + b" " + waiting[:-1] + (b"A" if waiting[-1:] != b"A" else b"B"), mine),
            "expired": ask(method + b" " + expired, mine),
            "deleted": ask(method + b" " + deleted, mine),
            "foreign": ask(method + b" " + waiting, yours),
            "foreign, opened": ask(method + b" " + opened, yours),
            "foreign, ended": ask(method + b" " + ended, yours),
            "no cookie": ask(method + b" " + waiting),
            "empty cookie": ask(method + b" " + waiting, b"Cookie: sid="),
        }
        calls = {}
        answers = {}
        for name, request in wrong.items():
            on.store.calls.clear()
            response = await client.ask(request, to_head=method == b"HEAD")
            answers[name] = timeless(response)
            calls[name] = tuple(on.store.calls)
        assert len(set(answers.values())) == 1, answers
        # Not even the store knows one from another, so none can take longer: see benchmarks/guessing.py.
        assert set(calls.values()) == {("look",)}, calls
        [answer] = set(answers.values())
        assert answer.startswith(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n")
        assert len(on.upstream.requests) == 1
        assert (await client.ask(ask(b"GET " + waiting, mine))).status == 200


async def test_a_ticket_that_is_bound_to_a_cookie() -> None:
    bound = TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="sid")
    async with desk(tickets=bound) as on, on.proxy.connect() as client:
        url = await kept(client, ask(b"POST /_tickets/a", b'Cookie: a=b; sid="s3cret"; c'))
        for cookie in (b"Cookie: sid=s3cre", b"Cookie: SID=s3cret", b"Cookie: xsid=s3cret", b"Cookie: sid=", b"X: y"):
            assert (await client.ask(ask(b"GET " + url, cookie))).status == 404
            assert (await client.ask(ask(b"DELETE " + url, cookie))).status == 404
        assert (await client.ask(ask(b"GET " + url, b"Cookie: sid=s3cret"))).status == 200
        assert (await client.ask(ask(b"GET " + url, b"Cookie: sid=s3cret"))).status == 204


async def test_tickets_of_one_desk_that_are_bound_in_several_ways() -> None:
    sid, uid, free = (
        TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="sid"),
        TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="uid"),
        TicketPolicy(),
    )
    store = Watched(HandClock())
    async with RawUpstream.serve(replies()) as upstream:
        routes = [
            route_to(upstream, name=path, match=Match(path=f"/{path}"), tickets=tickets)
            for path, tickets in (("a", sid), ("b", uid), ("c", free), ("d", free))
        ]
        async with ProxyServer.serve(*routes, store=store) as proxy, proxy.connect() as client:
            posts = [ask(b"POST /_tickets/" + path, b"Cookie: sid=1; uid=1") for path in (b"a", b"b", b"c")]
            a, b, c = [await kept(client, post) for post in posts]
            guess = c[:-2] + (b"AA" if c[-2:] != b"AA" else b"BA")
            store.calls.clear()
            for url, cookie in ((a, b"uid=1"), (b, b"sid=1"), (a, b"sid=2"), (b, b"x=1"), (guess, b"sid=1")):
                assert (await client.ask(ask(b"DELETE " + url, b"Cookie: " + cookie))).status == 404, cookie
            assert store.calls == ["look"] * 15, "three for each, whatever is wrong"
            for url, cookie in ((a, b"sid=1"), (b, b"uid=1; sid=2"), (c, b"sid=2")):
                assert (await client.ask(ask(b"GET " + url, b"Cookie: " + cookie))).status == 200, cookie
            assert [request.target for request in upstream.requests] == [b"/a", b"/b", b"/c"]


@pytest.mark.parametrize("cookie", [b"Cookie: other=1", b"Cookie: sid=", b'Cookie: sid=""', b"X-Cookie: sid=1"])
async def test_nothing_is_bound_to_a_cookie_that_is_not_there(cookie: bytes) -> None:
    bound = TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="sid")
    async with desk(tickets=bound) as on, on.proxy.connect() as client:
        response = await client.ask(ask(b"POST /_tickets/a", cookie))
        assert response.status == 400
        assert b"cookie" in response.body
        assert len(on.store) == 0


async def test_a_ticket_that_is_bound_to_an_address() -> None:
    bound = TicketPolicy(bind=TicketBinding.ADDRESS)
    async with desk(tickets=bound, trusted=True) as on, on.proxy.connect() as client:
        mine, yours = b"X-Forwarded-For: 198.51.100.1", b"X-Forwarded-For: 198.51.100.2"
        url = await kept(client, ask(b"POST /_tickets/a", mine))
        for fields in ([yours], []):
            assert (await client.ask(ask(b"GET " + url, *fields))).status == 404
        assert (await client.ask(ask(b"GET " + url, mine))).status == 200


async def test_a_stranger_cannot_claim_an_address() -> None:
    bound = TicketPolicy(bind=TicketBinding.ADDRESS)
    async with desk(tickets=bound) as on, on.proxy.connect() as client:
        url = await kept(client, ask(b"POST /_tickets/a", b"X-Forwarded-For: 198.51.100.1"))
        assert (await client.ask(ask(b"GET " + url, b"X-Forwarded-For: 198.51.100.2"))).status == 200


async def test_what_the_store_holds_opens_nothing() -> None:
    async with desk() as on, on.proxy.connect() as client:
        url = await kept(client)
        [key] = on.store._entries
        ticket = url.rpartition(b"/")[2]
        assert len(key) == 32
        assert ticket not in key
        assert ticket.decode() not in repr(on.store._entries[key])


async def test_ids_are_in_no_description() -> None:
    secret = "A" * 22
    assert secret not in repr(TicketTarget("/_tickets", secret, "")) + repr(KeptTicket(secret, 1.0))
    fields = [(b"Cookie", secret.encode())]
    target = f"/a?key={secret}"
    asked = InboundRequest("GET", target, target, b"a.test", fields, None, False, False, None, fields, target)
    assert secret not in repr(asked) + repr(EndPolicy(secret=secret))


# What is logged.


@pytest.fixture(params=["text", "json"])
def lines(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """All that is logged, in the form in which it would be written."""
    form = JSONFormatter() if request.param == "json" else logging.Formatter("%(levelname)s %(name)s %(message)s")
    written: list[str] = []

    class Listing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(form.format(record))

    handler = Listing()
    loggers = [logging.getLogger(name) for name in ("", LOGGER, ACCESS_LOGGER, "aiohttp", "asyncio")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


async def test_no_id_is_ever_logged(lines: list[str]) -> None:
    hidden = []
    async with desk() as on:
        for shape in (
            b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"HEAD %b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"DELETE %b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"POST %b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b%%20 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b, HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /%b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /x%b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET http://a.test%b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET %b HTTP/1.1\r\nHost: a test\r\n\r\n",
            b"GET %b HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n",
            b"GET %b HTTP/1.1\r\n\r\n",
            b"GET %b HTTP/1.1\r\nHost: a.test\r\nA B: c\r\n\r\n",
            b"GET %b HTTP/9\r\nHost: a.test\r\n\r\n",
            b"TRACE %b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ):
            async with on.proxy.connect() as client:
                url = await kept(client)
                hidden.append(url.rpartition(b"/")[2].decode())
                await client.send(shape % url)
                assert (await client.head()).status >= 200
        await on.proxy.app.wait_until_idle()
    text = "\n".join(lines)
    assert len(lines) >= 2 * len(hidden)
    assert "/_tickets/-" in text
    assert [secret for secret in hidden if secret in text or secret[:16] in text] == []


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
async def test_no_id_is_logged_wherever_it_stands(lines: list[str], method: bytes) -> None:
    async with desk() as on:
        async with on.proxy.connect() as client:
            ticket = (await kept(client)).rpartition(b"/")[2]
        encoded = ticket.replace(b"_", b"%5F").replace(b"t", b"%74")
        for path in (
            b"/%b",
            b"/_tickets//%b",
            b"/_tickets/./%b",
            b"/_Tickets/%b",
            b"/%%5ftickets/%b",
            b"/_tickets%%2F%b",
            b"/a/_tickets/%b",
            b"/_tickets/_tickets/%b",
            b"/_tickets/x%by",
            b"/_tickets;%b",
        ):
            for written in (ticket, encoded, ticket.upper(), ticket[:-2]):
                async with on.proxy.connect() as client:
                    await client.send(ask(method + b" " + path % written))
                    assert (await client.response()).status >= 200
    text = "\n".join(lines)
    assert len(lines) >= 40
    for written in (ticket, encoded, ticket.upper()):
        assert written[6:20].decode() not in text


async def test_what_is_logged_tells_who_did_what(lines: list[str]) -> None:
    async with desk() as on, on.proxy.connect() as client:
        await kept(client, ask(b"POST /_tickets/v1/chat?secret"))
        url = await kept(client)
        for method in (b"GET ", b"GET ", b"DELETE ", b"GET "):
            await client.ask(ask(method + url))
    access = [line for line in lines if "status" in line and "method" in line]
    logged = [(re.search(r"method\W+(\w+)", line), re.search(r"path[=\W]+?(/[^\s\",]*)", line)) for line in access]
    assert [(method and method[1], path and path[1]) for method, path in logged] == [
        ("POST", "/_tickets/v1/chat"),
        ("POST", "/_tickets/a"),
        ("GET", "/_tickets/-"),
        ("GET", "/_tickets/-"),
        ("DELETE", "/_tickets/-"),
        ("GET", "/_tickets/-"),
    ]
    statuses = [re.search(r"status\W+(\d+)", line) for line in access]
    assert [status and int(status[1]) for status in statuses] == [201, 201, 200, 204, 204, 404]
    routes = ['route": "default' in line or "route=default" in line for line in access]
    assert routes == [True, True, True, True, True, False]


# Nothing is left.


async def dropping(visit: Visit) -> None:
    while True:
        await visit.request()
        await visit.send(STREAM)
        if visit.requests[-1].target.startswith(b"/ends"):
            await visit.send(b"0\r\n\r\n")
        else:
            await visit.wait_closed()


def alive(kind: Any) -> int:
    """How many objects of a kind there are, those of other tests included."""
    gc.collect()
    return sum(isinstance(known, kind) for known in gc.get_objects())


@pytest.mark.parametrize(("reopen", "times"), [(Reopen.NEVER, 100), (Reopen.ALWAYS, 20)])
async def test_two_thousand_tickets_leave_nothing(reopen: Reopen, times: int) -> None:
    chance = random.Random(5)

    async def use(on: Desk) -> None:
        for _ in range(times):
            async with on.proxy.connect() as client:
                way = chance.choice(["ends", "dropped", "deleted", "forgotten"])
                url = await kept(client, ask(b"POST /_tickets/%b" % way.encode(), body=b"hello"))
                if way == "forgotten":
                    continue
                await client.send(ask(b"GET " + url, ACCEPT))
                await client.head()
                assert await client.chunk() == b"data: 1\n\n"
                if way == "ends":
                    assert await client.chunk() == b""
                elif way == "deleted":
                    async with on.proxy.connect() as other:
                        assert (await other.ask(ask(b"DELETE " + url))).status == 204
                    assert await client.chunk() == b""
                else:
                    client.reset()

    before = alive(TicketRequest | Forwarding | KeptRequest)
    async with desk(dropping, tickets=TicketPolicy(reopen=reopen)) as on:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(use(on))
        await on.proxy.app.wait_until_idle()
        on.clock.advance(60)
        assert (len(on.store), on.store.requests, on.store.size) == (0, 0, 0)
        assert not on.store._expiries
        assert on.clock.armed == []
        assert not on.proxy.app._desk._open
        await eventually(lambda: alive(TicketRequest | Forwarding | KeptRequest) == before)


async def test_a_running_stream_holds_nothing_of_its_ticket() -> None:
    before = alive(KeptRequest)
    async with stage(dropping, tickets=TICKETS) as on:
        url = await kept(on.client, ask(b"POST /_tickets/a", b"X-Large: " + bytes(b"x" * 10_000), body=bytes(100_000)))
        await on.client.send(ask(b"GET " + url, ACCEPT))
        await on.client.head()
        await on.client.chunk()
        assert alive(KeptRequest) == before
        cycles = [known for known in gc.get_objects() if isinstance(known, Forwarding)]
        assert [(cycle.body, cycle.inbound.headers, cycle.inbound.opened_with) for cycle in cycles] == [
            (None, [], None)
        ]
