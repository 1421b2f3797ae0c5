"""Whose yes is remembered, for how long, and who shares a question? (docs/configuration.md, "Who may")"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.routes import AuthorizePolicy, Match, Upstream
from tests.support.async_peer import AsyncPeer
from tests.support.guarded import NO, TAKE, YES, Guarded, guarded, head, silent
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

CACHE = {"cache": 60.0}


async def echo_cookie(visit: Visit) -> None:
    """Who shows a cookie has its value for a name."""
    while True:
        name = (await visit.request()).one(b"Cookie") or b"nobody"
        await visit.send(b"HTTP/1.1 200 OK\r\nX-User: " + name + b"\r\nContent-Length: 0\r\n\r\n")


def once(allowed: asyncio.Event, answer: bytes = YES) -> Script:
    """The question of each connection is answered once `allowed` is set."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await allowed.wait()
        await visit.send(answer)

    return script


async def statuses(on: Guarded, *requests: bytes) -> list[int]:
    return [(await on.client.ask(request)).status for request in requests]


async def test_a_yes_holds_for_the_same_credentials_whatever_is_asked() -> None:
    async with guarded(replies(YES, NO), policy=CACHE) as on:
        cookie = b"Cookie: a=1"
        requests = head(cookie), head(cookie, line=b"GET /b?c"), head(cookie, b"X: y", line=b"DELETE /a")
        assert await statuses(on, *requests) == [200, 200, 200]
        assert len(on.service.requests) == 1
        assert await statuses(on, head(b"Cookie: a=2")) == [401]


async def test_a_request_without_credentials_is_remembered_too() -> None:
    async with guarded(replies(YES, NO), policy=CACHE) as on:
        assert await statuses(on, head(), head(), head(b"Authorization: x")) == [200, 200, 401]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([b"Cookie: a"], [b"Cookie: b"]),
        ([b"Cookie: a"], [b"Authorization: a"]),
        ([b"Cookie: ab"], [b"Cookie: a", b"Cookie: b"]),
        ([b"Cookie: a", b"Cookie: b"], [b"Cookie: b", b"Cookie: a"]),
        ([b"Cookie: a", b"Authorization: b"], [b"Cookie: a"]),
        ([b"Cookie: acookieb"], [b"Cookie: a", b"Cookie: b"]),
        ([b"Cookie: a6:cookie1:b"], [b"Cookie: a", b"Cookie: b"]),
        ([b"Authorization: Basic a"], [b"Authorization: basic a"]),
    ],
)
async def test_other_credentials_are_another_question(first: list[bytes], second: list[bytes]) -> None:
    async with guarded(replies(YES, NO), policy=CACHE) as on:
        assert await statuses(on, head(*first), head(*second)) == [200, 401]


async def test_the_spelling_of_a_name_is_no_credential() -> None:
    async with guarded(replies(YES, NO), policy=CACHE) as on:
        assert await statuses(on, head(b"Cookie: a"), head(b"cOOKIE: a")) == [200, 200]


async def test_the_header_of_a_login_cookie_is_one() -> None:
    async with guarded(replies(YES, NO), policy=CACHE, auth=CookieAuth("t", "X-Token", "{value}")) as on:
        assert await statuses(on, head(b"Cookie: t=1"), head(b"X-Token: 1"), head(b"X-Token: 2")) == [200, 200, 401]


async def test_nobody_gets_the_identity_of_another() -> None:
    rules = HeaderRules(set=(("X-User", "{auth:user}"),))
    async with guarded(echo_cookie, policy={**CACHE, "take": TAKE}, request_headers=rules) as on:
        for name in (b"alice", b"bob", b"alice", b"bob"):
            assert (await on.client.ask(head(b"Cookie: " + name))).status == 200
            assert on.upstream.requests[-1].all(b"X-User") == [name]
        assert len(on.service.requests) == 2


async def test_a_yes_is_over_after_its_time() -> None:
    time = asyncio.get_running_loop().time
    async with guarded(replies(YES, NO), policy={"cache": 0.1}) as on:
        assert await statuses(on, head()) == [200]
        over = time() + 0.1
        await eventually(lambda: time() > over)
        assert await statuses(on, head()) == [401]


@pytest.mark.parametrize(
    "answer", [NO, NO.replace(b"401", b"403"), NO.replace(b"401", b"500"), b"what?"], ids=["401", "403", "500", "none"]
)
async def test_only_a_yes_is_remembered(answer: bytes) -> None:
    left = [answer, YES]

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(left.pop(0))

    async with guarded(script, policy=CACHE) as on:
        [first, second] = await statuses(on, head(), head())
        assert first in (401, 403, 503)
        assert second == 200


async def test_a_yes_that_does_not_say_who_is_not_remembered() -> None:
    named = b"HTTP/1.1 200 OK\r\nX-User: a\r\nContent-Length: 0\r\n\r\n"
    async with guarded(replies(YES, named), policy={**CACHE, "take": TAKE}) as on:
        assert await statuses(on, head(), head(), head()) == [503, 200, 200]
        assert len(on.service.requests) == 2


async def test_routes_do_not_share() -> None:
    async with RawUpstream.serve(replies(YES, NO)) as service, RawUpstream.serve(replies()) as upstream:
        authorize = AuthorizePolicy(Upstream("http", "127.0.0.1", service.port), cache=60.0)
        routes = [
            route_to(upstream, name=name, match=Match(path=f"/{name}"), authorize=authorize) for name in ("a", "b")
        ]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            said = [(await client.ask(head(line=b"GET /" + name))).status for name in (b"a", b"b", b"a")]
    assert said == [200, 401, 200]


# Sharing.


@contextlib.asynccontextmanager
async def clients(on: Guarded, *requests: bytes) -> AsyncIterator[list[AsyncPeer]]:
    """Clients that have sent a request each, which wait for the service."""
    async with contextlib.AsyncExitStack() as stack:
        peers: list[AsyncPeer] = []
        for request in requests:
            peers.append(await stack.enter_async_context(on.proxy.connect()))
            await peers[-1].send(request)
        await eventually(lambda: on.proxy.app.requests == len(requests))
        yield peers


@pytest.mark.parametrize(("answer", "status"), [(YES, 200), (NO, 401), (b"what?", 503)])
async def test_the_same_question_is_asked_once(answer: bytes, status: int) -> None:
    allowed = asyncio.Event()
    async with guarded(once(allowed, answer), policy=CACHE) as on, clients(on, *[head(b"Cookie: a")] * 5) as peers:
        allowed.set()
        assert [(await peer.response()).status for peer in peers] == [status] * 5
        assert len(on.service.requests) == 1


async def test_other_credentials_ask_for_themselves_meanwhile() -> None:
    allowed = asyncio.Event()
    requests = [head(b"Cookie: a"), head(b"Cookie: b"), head(b"Cookie: a")]
    async with guarded(once(allowed), policy=CACHE) as on, clients(on, *requests) as peers:
        await on.service.visit(1)
        allowed.set()
        assert [(await peer.response()).status for peer in peers] == [200] * 3
        assert len(on.service.requests) == 2


async def test_without_a_cache_no_question_is_shared() -> None:
    """The service may go by what is asked for."""
    allowed = asyncio.Event()
    async with guarded(once(allowed)) as on, clients(on, head(), head()) as peers:
        await on.service.visit(1)
        allowed.set()
        assert [(await peer.response()).status for peer in peers] == [200, 200]


async def test_a_client_that_leaves_does_not_take_the_answer_from_others() -> None:
    allowed = asyncio.Event()
    async with guarded(once(allowed), policy=CACHE) as on, clients(on, head(), head(), head()) as peers:
        await peers[0].close()  # the first to ask
        await peers[2].close()
        await eventually(lambda: on.proxy.app.requests == 1)
        assert not on.service.visits[0].closed.is_set()
        allowed.set()
        assert (await peers[1].response()).status == 200
        assert len(on.service.requests) == 1


async def test_the_last_one_that_leaves_ends_the_question_and_the_next_one_asks_anew() -> None:
    async with guarded(silent, policy={**CACHE, "timeout": 60.0}) as on:
        async with clients(on, head(), head()) as peers:
            visit = await on.service.visit()
            for peer in peers:
                await peer.close()
            await visit.wait_closed()
        async with clients(on, head()):
            await on.service.visit(1)
