"""Does anything of a hostile request reach the upstream? (contract section 2, RFC 9112 sections 6.3 and 11.2)"""

import asyncio
import json

import pytest

from sseproxy.core.limits import LimitPolicy
from tests.proxy.hostile import SMUGGLED, Hostile, bodies, heads, request
from tests.support.proxy_server import Stage, stage
from tests.support.raw_client import LIMIT
from tests.support.raw_upstream import replies
from tests.support.wire import Message

HEADS = [pytest.param(case, id=case.name) for case in heads()]


def check_refusal(response: Message, status: int) -> None:
    """An error of ours says so, gives nothing away, and closes."""
    assert response.status == status, response
    assert response.one(b"Connection") == b"close"
    assert response.one(b"Content-Type") == b"application/problem+json"
    assert (response.one(b"Proxy-Status") or b"").startswith(b"sseproxy")
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert set(problem) == {"type", "title", "status", "detail"}
    for secret in (b"Traceback", b'File "', b"127.0.0.1", b"aiohttp", b"llhttp", b"0x", b"\\u"):
        assert secret not in response.body


@pytest.mark.parametrize("case", HEADS)
async def test_hostile_head(case: Hostile) -> None:
    async with stage(replies()) as on:
        await on.client.send(case.data + SMUGGLED)
        check_refusal(await on.client.response(), case.status)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


@pytest.mark.parametrize("case", HEADS)
async def test_hostile_head_in_small_pieces(case: Hostile) -> None:
    async with stage(replies()) as on:
        await on.client.send_in_pieces(case.data + SMUGGLED, size=1 if len(case.data) < 1000 else 4000)
        check_refusal(await on.client.response(), case.status)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


CHUNKED = request(b"Transfer-Encoding: chunked")
BODIES = [pytest.param(data, id=name) for name, data in bodies()]


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_with_the_head(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send(CHUNKED + body + SMUGGLED)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        assert on.upstream.visits == []


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_in_small_pieces(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send_in_pieces(CHUNKED + body + SMUGGLED, size=1)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        await check_never_whole(on)


@pytest.mark.parametrize("body", BODIES)
async def test_malformed_body_in_a_later_packet(body: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.send(CHUNKED + b"3\r\nabc\r\n")
        visit = await on.upstream.visit()
        await visit.wait_received(b"3\r\nabc\r\n")
        await on.client.send(body + SMUGGLED)
        check_refusal(await on.client.response(), 400)
        assert await on.client.rest() == b""
        await check_never_whole(on)


async def check_never_whole(on: Stage) -> None:
    """If the upstream got the beginning of a request, it never got its end, and knows that none will come."""
    assert b"smuggled" not in on.upstream.received
    assert on.upstream.requests == []
    for visit in on.upstream.visits:
        await visit.wait_closed()
        assert not visit.received.endswith(b"0\r\n\r\n")
    assert on.upstream.requests == []
