"""Do events stay whole when an app sends them in pieces, however it cuts them and whoever sends them?"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sse_starlette import EventSourceResponse

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.types import ASGIApp, Receive, Scope, Send
from tests.support.asgi_exchange import HB, Exchange, body, head, script
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse

STREAM = b"\r\n".join(
    [
        b": hello",
        b"id: 1\r\nevent: tick\r\ndata: a\r\ndata: b\r\n",
        b"data\r\n",
        "data: \N{LATIN SMALL LETTER U WITH DIAERESIS}:\N{SNOWMAN}".encode() + b"\r\n\r\nretry: 10",
        b"id: 2\r\ndata: {}\r\n\r\n",
    ]
)
PAUSE = 16.0

Cut = Callable[[bytes], list[bytes]]


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def between_cr_and_lf(stream: bytes) -> list[bytes]:
    return re.split(rb"(?<=\r)(?=\n)", stream)


def by_fields(stream: bytes) -> list[bytes]:
    """`event:` and `data:` as messages of their own, and each blank line too."""
    return re.findall(rb"[^\r\n]*(?:\r\n|\n|\r)", stream)


def behind_colons(stream: bytes) -> list[bytes]:
    return re.split(rb"(?<=:)", stream)


CUTS = pytest.mark.parametrize("cut", [byte_by_byte, between_cr_and_lf, by_fields, behind_colons])
ENDS = pytest.mark.parametrize("eol", [b"\r\n", b"\n", b"\r"])


def without_heartbeats(stream: bytes) -> bytes:
    """Exactly what the middleware may put in: its comment line, alone or, between events, with a blank line."""
    return re.sub(rb": heartbeat(\r\n|\n|\r)", b"", stream)


def in_a_child_task(app: ASGIApp) -> ASGIApp:
    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_call(app, scope, receive, send))

    return outer


async def _call(app: ASGIApp, *call: Any) -> None:
    await app(*call)


def from_two_tasks(pieces: list[bytes]) -> ASGIApp:
    """One makes the pieces, another sends them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        await send(head())
        async with asyncio.TaskGroup() as group:
            group.create_task(_sender(queue, send))
            for piece in pieces:
                await queue.put(piece)
                await passing(PAUSE)
            await queue.put(None)

    return app


async def _sender(queue: "asyncio.Queue[bytes | None]", send: Send) -> None:
    while (piece := await queue.get()) is not None:
        await send(body(piece))
    await send(body(more=False))


def paused(pieces: list[bytes]) -> ASGIApp:
    return script(*[step for piece in pieces for step in (piece, PAUSE)])


APPS = pytest.mark.parametrize(
    "app_of",
    [paused, lambda pieces: in_a_child_task(paused(pieces)), from_two_tasks],
    ids=["in its own task", "in a child task", "from two tasks"],
)


@CUTS
@ENDS
@APPS
async def test_heartbeats_removed_the_stream_is_the_same_to_the_byte(
    app_of: Callable[[list[bytes]], ASGIApp], eol: bytes, cut: Cut
) -> None:
    stream = STREAM.replace(b"\r\n", eol)
    app = SSEKeepaliveMiddleware(app_of(cut(stream)), form="comment-line", idle_timeout="off")
    seen = await Exchange(app).run()
    assert HB.strip() in seen.body
    assert parse(seen.body).events == parse(stream).events
    assert parse(seen.body).retries == parse(stream).retries
    kept = without_heartbeats(seen.body)
    # An LF that completes a CRLF around a heartbeat is dropped: the one difference that the rules allow.
    assert kept.replace(b"\r\n", b"\r") == stream.replace(b"\r\n", b"\r")
    if eol != b"\r\n":
        assert kept == stream


@CUTS
async def test_without_silence_every_byte_is_the_same(cut: Cut) -> None:
    seen = await Exchange(SSEKeepaliveMiddleware(script(*cut(STREAM)))).run()
    assert seen.body == STREAM


class TestAgainstThePingOfSseStarlette:
    """Its ping is a comment and a blank line at a fixed pace, wherever the stream is; a blank line ends an event."""

    PIECES = (b"event: tick\r\n", b"data: one\r\n", b"data: two\r\n", b"\r\n")

    @staticmethod
    def app(ping: int) -> ASGIApp:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in TestAgainstThePingOfSseStarlette.PIECES:
                yield piece
                await passing(2.5)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await EventSourceResponse(pieces(), ping=ping)(scope, receive, send)

        return app

    async def test_it_cuts_the_event_in_two(self) -> None:
        seen = await Exchange(self.app(ping=2)).run()
        assert b": ping" in seen.body
        assert parse(seen.body).events != parse(b"".join(self.PIECES)).events

    async def test_ours_does_not(self) -> None:
        app = SSEKeepaliveMiddleware(self.app(ping=3600), heartbeat="2s")
        seen = await Exchange(app).run()
        assert seen.body.count(HB.strip()) >= 4
        assert parse(seen.body).events == parse(b"".join(self.PIECES)).events
