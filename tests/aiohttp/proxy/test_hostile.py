"""Does anything of a hostile request get past aiohttp and the proxy? (RFC 9112 sections 6.3 and 11.2)

aiohttp refuses most of them by itself, with a response of its own. What it lets pass, the proxy has to refuse.
"""

import pytest
from pytest_aiohttp.plugin import AiohttpServer

from tests.proxy.hostile import SMUGGLED, Hostile, bodies, heads, request
from tests.support.aiohttp_proxy import GET, app_stage
from tests.support.raw_upstream import replies

#: What goes upstream all the same, as a sound request that any server would read in the same way, and why.
HARMLESS = dict.fromkeys(
    ("version b'RTSP/1.0'", "version b' RTSP/1.0'", "version b'RTSP/1.1'"), "aiohttp does not tell it from HTTP"
)

CHUNKED = request(b"Transfer-Encoding: chunked")

pytestmark = pytest.mark.usefixtures("logs_errors")  # aiohttp's, for each


@pytest.mark.parametrize("piece", [0, 1], ids=["at-once", "byte-by-byte"])
async def test_hostile_heads(aiohttp_server: AiohttpServer, piece: int) -> None:
    passed = set()
    async with app_stage(aiohttp_server, replies()) as on:
        for case in heads():
            before = len(on.upstream.received)
            data = case.data + (b"" if case.name in HARMLESS else SMUGGLED)
            async with on.connect() as client:
                if piece and len(case.data) < 1000:
                    await client.send_in_pieces(data, size=piece)
                else:
                    await client.send(data)
                status = (await client.response()).status
                client.finish_sending()
                rest = await client.rest()
            if len(on.upstream.received) > before:
                passed.add(case.name)
            else:
                assert (status // 100 in (4, 5), rest) == (True, b""), case.name
        assert passed == set(HARMLESS)
        assert b"smuggled" not in on.upstream.received


@pytest.mark.parametrize("how", ["with-the-head", "byte-by-byte", "in-a-later-packet"])
async def test_malformed_bodies(aiohttp_server: AiohttpServer, how: str) -> None:
    async with app_stage(aiohttp_server, replies()) as on:
        for name, body in bodies():
            async with on.connect() as client:
                if how == "with-the-head":
                    await client.send(CHUNKED + body + SMUGGLED)
                elif how == "byte-by-byte":
                    await client.send_in_pieces(CHUNKED + body + SMUGGLED, size=1)
                else:
                    await client.send(CHUNKED + b"3\r\nabc\r\n")
                    visit = await on.upstream.visit(-1 if on.upstream.visits else 0)
                    await visit.wait_received(b"3\r\nabc\r\n")
                    await client.send(body + SMUGGLED)
                response = await client.response()
                assert response.status == 400, name
                assert await client.rest() == b"", name
            assert b"smuggled" not in on.upstream.received
            assert on.upstream.requests == [], name
            for visit in on.upstream.visits:
                await visit.wait_closed()
            on.upstream.visits.clear()


@pytest.mark.parametrize("is_apart", [False, True])
async def test_a_trailer_never_becomes_a_field_of_the_next_request(
    aiohttp_server: AiohttpServer, is_apart: bool
) -> None:
    """aiohttp makes one of the last trailer (see test_leans), so none follows a body in chunks."""
    chunks = b"5\r\nhello\r\n0\r\nAuthorization: stolen\r\n\r\n"
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        await client.send(CHUNKED + chunks + (b"" if is_apart else GET))
        response = await client.response()
        assert (response.status, response.one(b"Connection")) == (200, b"close")
        if is_apart:
            await client.send(GET)
        assert await client.rest() == b""
        assert len(on.upstream.requests) == 1
        assert b"stolen" not in on.upstream.received


async def test_what_is_behind_a_body_is_no_part_of_it(aiohttp_server: AiohttpServer) -> None:
    async with app_stage(aiohttp_server, replies()) as on, on.connect() as client:
        length = b"Content-Length: %d" % len(SMUGGLED)
        await client.send(request(length, body=SMUGGLED) + GET)
        for target in (b"/a", b"/a"):
            assert (await client.response()).status == 200
            assert on.upstream.requests[-1].target == target
        assert on.upstream.requests[0].body == SMUGGLED


def test_the_harmless_ones_are_in_the_list() -> None:
    assert set(HARMLESS) <= {case.name for case in heads()}
    assert all(isinstance(case, Hostile) for case in heads())
