"""Is the service asked before anything comes of a request, on every way? (docs/configuration.md, "Who may")"""

import asyncio

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, Reopen, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.stream.end_message import EndPolicy
from tests.support.async_peer import AsyncPeer
from tests.support.guarded import ALICE, NO, TAKE, YES, Guarded, guarded, head, silent
from tests.support.raw_upstream import Script, Visit, replies
from tests.support.settled import eventually

UPGRADE = [b"Connection: Upgrade", b"Upgrade: websocket"]
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SET_USER = HeaderRules(set=(("X-User", "{auth:user}"),))
POST = head(b"Content-Length: 4", line=b"POST /a")


def waits_for(allowed: asyncio.Event, answer: bytes = YES) -> Script:
    """Each question is answered once `allowed` is set."""

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await allowed.wait()
            await visit.send(answer)

    return script


async def asked(on: Guarded, number: int = 0) -> Visit:
    """The connection on which a question has come."""
    visit = await on.service.visit(number)
    await visit.wait_received(b"\r\n\r\n")
    return visit


# Bodies.


async def test_the_upstream_hears_nothing_of_a_request_before_it_may_go_on() -> None:
    allowed = asyncio.Event()
    async with guarded(waits_for(allowed)) as on:
        await on.client.send(POST + b"body")
        await asked(on)
        assert not on.upstream.visits
        allowed.set()
        assert (await on.client.response()).status == 200
        assert on.upstream.requests[0].body == b"body"
        assert b"body" not in on.service.received


@pytest.mark.parametrize("answer", [YES, NO])
async def test_a_client_is_not_asked_for_a_body_that_it_may_not_send(answer: bytes) -> None:
    allowed = asyncio.Event()
    async with guarded(waits_for(allowed, answer)) as on:
        await on.client.send(head(b"Content-Length: 4", b"Expect: 100-continue", line=b"POST /a"))
        await asked(on)
        assert not on.upstream.visits
        allowed.set()
        first = await on.client.response()
        assert first.status == (100 if answer == YES else 401)
        if answer == YES:
            await on.client.send(b"body")
            assert (await on.client.response()).status == 200
        else:
            assert await on.client.rest() == b""
            assert not on.upstream.visits


async def test_behind_a_body_that_was_refused_the_next_request_is_found() -> None:
    async with guarded(replies(NO, YES)) as on:
        await on.client.send(POST + b"body" + head())
        assert [(await on.client.response()).status for _ in range(2)] == [401, 200]
        assert on.upstream.requests[0].first_line == b"GET /a HTTP/1.1"


# WebSockets.


async def test_a_tunnel_is_opened_for_those_who_may() -> None:
    async def echo(visit: Visit) -> None:
        await visit.head()
        await visit.send(SWITCHED)
        while data := await visit.reader.read(65536):
            await visit.send(data)

    async with guarded(replies(ALICE), echo, policy={"take": TAKE}, request_headers=SET_USER) as on:
        await on.client.send(head(*UPGRADE, b"Cookie: a=1", b"X-User: root") + b"early")
        assert (await on.client.head()).status == 101
        assert await on.client.exactly(5) == b"early"
        assert on.upstream.requests[0].all(b"X-User") == [b"alice"]
        [question] = on.service.requests
        assert question.one(b"Cookie") == b"a=1"
        assert question.one(b"Upgrade") is None


async def test_no_tunnel_is_opened_for_others() -> None:
    async with guarded(replies(NO)) as on:
        assert (await on.client.ask(head(*UPGRADE))).status == 401
        assert not on.upstream.visits


# Tickets.

KEEP = head(b"Cookie: a=1", b"X-User: root", b"Content-Length: 4", line=b"POST /_tickets/v1?x") + b"body"


async def kept(client: AsyncPeer) -> bytes:
    response = await client.ask(KEEP)
    assert response.status == 201, response
    return response.one(b"Location") or b""


async def test_a_ticket_is_asked_about_twice_with_the_same_credentials() -> None:
    tickets = TicketPolicy()
    async with guarded(replies(ALICE), policy={"take": TAKE}, tickets=tickets, request_headers=SET_USER) as on:
        url = await kept(on.client)
        assert not on.upstream.visits
        assert (await on.client.ask(head(b"Cookie: b=2", b"X-User: eve", line=b"GET " + url))).status == 200
        assert [each.one(b"Cookie") for each in on.service.requests] == [b"a=1", b"a=1"]
        assert [each.one(b"X-Original-Method") for each in on.service.requests] == [b"POST", b"POST"]
        assert [each.one(b"X-Original-URI") for each in on.service.requests] == [b"/v1?x", b"/v1?x"]
        [request] = on.upstream.requests
        assert request.all(b"X-User") == [b"alice"]
        assert request.body == b"body"


async def test_the_login_of_a_kept_request_is_asked_about_as_the_upstream_gets_it() -> None:
    async with guarded(replies(YES), tickets=TicketPolicy(), auth=CookieAuth("a")) as on:
        url = await kept(on.client)
        assert (await on.client.ask(head(line=b"GET " + url))).status == 200
        assert [each.one(b"Authorization") for each in on.service.requests] == [b"Bearer 1"] * 2
        assert on.upstream.requests[0].one(b"Authorization") == b"Bearer 1"


async def test_no_ticket_for_those_who_may_not() -> None:
    allowed = asyncio.Event()
    async with guarded(waits_for(allowed, NO), tickets=TicketPolicy()) as on:
        await on.client.send(head(b"Expect: 100-continue", b"Content-Length: 4", line=b"POST /_tickets/a"))
        await asked(on)
        allowed.set()
        assert (await on.client.response()).status == 401
        assert on.proxy.app.tickets.incoming.is_idle


async def test_a_ticket_whose_login_was_withdrawn_waits() -> None:
    async with guarded(replies(YES, NO, YES), tickets=TicketPolicy()) as on:
        opening = head(line=b"GET " + await kept(on.client))
        refused = await on.client.ask(opening)
        assert (refused.status, refused.body) == (401, b"login")
        assert refused.one(b"Content-Security-Policy") == b"sandbox"
        assert not on.upstream.visits
        assert (await on.client.ask(opening)).status == 200
        assert (await on.client.ask(opening)).status == 204
        assert len(on.service.requests) == 3


async def test_each_opening_is_asked_about() -> None:
    async with guarded(replies(YES, YES, NO), tickets=TicketPolicy(reopen=Reopen.ALWAYS)) as on:
        opening = head(line=b"GET " + await kept(on.client))
        assert [(await on.client.ask(opening)).status for _ in range(2)] == [200, 401]


async def test_to_look_at_a_ticket_or_delete_it_needs_no_question() -> None:
    async with guarded(replies(YES, NO), tickets=TicketPolicy()) as on:
        url = await kept(on.client)
        assert (await on.client.ask(head(line=b"HEAD " + url), to_head=True)).status == 200
        assert (await on.client.ask(head(line=b"DELETE " + url))).status == 204
        assert (await on.client.ask(head(line=b"GET " + url))).status == 404
        assert len(on.service.requests) == 1


async def test_a_ticket_that_is_deleted_while_it_is_being_asked_about() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(YES)
        await visit.request()
        await visit.wait_closed()

    async with guarded(script, tickets=TicketPolicy()) as on, on.proxy.connect() as other:
        url = await kept(on.client)
        await on.client.send(head(line=b"GET " + url))
        await eventually(lambda: len(on.service.requests) == 2)
        assert (await other.ask(head(line=b"DELETE " + url))).status == 204
        assert (await on.client.response()).status == 204
        await on.service.visits[0].wait_closed()
        assert not on.upstream.visits


async def test_a_browser_that_comes_back_is_asked_about_before_it_is_stopped() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n"
    async with guarded(replies(YES, NO, YES), replies(stream), end=EndPolicy(stop_reconnect=True)) as on:
        asks = [b"Accept: text/event-stream"]
        body = (await on.client.ask(head(*asks))).body
        last = body.partition(b"id: ")[2].split(b"\n")[0]
        assert last
        asks.append(b"Last-Event-ID: " + last)
        assert [(await on.client.ask(head(*asks))).status for _ in range(2)] == [401, 204]


# Ends.


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("request_", [head(), POST, POST + b"body", head(*UPGRADE)])
@pytest.mark.parametrize("cache", [None, 60.0])
async def test_a_client_that_leaves_ends_the_question(how: str, request_: bytes, cache: float | None) -> None:
    async with guarded(silent, policy={"cache": cache, "timeout": 60.0}) as on:
        await on.client.send(request_)
        visit = await asked(on)
        on.client.reset() if how == "resets" else await on.client.close()
        await visit.wait_closed()
        await eventually(lambda: on.leased == 0)
        assert not on.upstream.visits


@pytest.mark.parametrize("cache", [None, 60.0])
async def test_the_end_of_the_process_ends_the_question(cache: float | None) -> None:
    async with guarded(silent, policy={"cache": cache, "timeout": 60.0}) as on:
        await on.client.send(head())
        visit = await asked(on)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        assert on.proxy.app.requests == 1
        on.proxy.app.abort()
        response = await on.client.response()
        assert response.status == 503
        assert b"shutting down" in response.body
        await visit.wait_closed()


async def test_a_drain_lets_a_question_be_answered() -> None:
    allowed = asyncio.Event()
    async with guarded(waits_for(allowed)) as on:
        await on.client.send(head())
        await asked(on)
        on.proxy.app.drain(timeout=60.0, spread=0.0)
        allowed.set()
        assert (await on.client.response()).status == 200


async def test_a_large_body_is_not_taken_before_its_time() -> None:
    """More than is buffered: the client has to wait, and when it leaves that is noticed although it is not read."""
    async with guarded(silent) as on:
        await on.client.send(head(b"Content-Length: 9000000", line=b"POST /a") + bytes(900_000))
        visit = await asked(on)
        on.client.reset()
        await visit.wait_closed()
        assert not on.upstream.visits
