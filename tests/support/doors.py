"""What does a client get for the same question and the same script behind the proxy, and inside an ASGI or aiohttp app?

All doors are to be used on a loop with virtual time, which passes only when nothing is under way on a socket.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import Receive, Scope, Send
from sseproxy.core.http.fields import Headers
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.support.aiohttp_app import AiohttpApp
from tests.support.asgi_exchange import Exchange, on_time
from tests.support.asgi_exchange import body as body_message
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import read_chunk
from tests.support.proxy_server import stage
from tests.support.raw_upstream import Visit
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse

#: Seconds. Early answers are due when this much has passed; no script of a test may do anything in that very moment.
INTERVAL, EARLY, EARLY_JSON = 0.25, 1.0, 0.7
IDLE, LONGEST = 1.5, 4.0

#: Fields of the connection, and of who serves it.
OF_SERVERS = (b"date", b"server", b"via", b"transfer-encoding", b"trailer", b"connection", b"x-request-id")


@dataclass(frozen=True, slots=True)
class Question:
    """A request. fields: without ``Host`` and the length of the body. comes_back: it is asked again behind its end."""

    method: str = "GET"
    target: str = "/"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    comes_back: bool = False

    @property
    def all_fields(self) -> Headers:
        length = [(b"Content-Length", b"%d" % len(self.body))] if self.body else []
        return [(b"Host", b"a"), *self.fields, *length]

    @property
    def on_the_wire(self) -> bytes:
        lines = b"".join(b"%b: %b\r\n" % field for field in self.all_fields)
        return f"{self.method} {self.target} HTTP/1.1\r\n".encode() + lines + b"\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Script:
    """An answer: `before` seconds of silence behind the request, a head, bytes and seconds. is_whole: or it breaks."""

    steps: tuple[bytes | float, ...] = ()
    status: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ((b"Content-Type", b"text/event-stream"),)
    before: float = 0.0
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Treatment:
    """The options of a route, or of a middleware."""

    form: HeartbeatForm = HeartbeatForm.AUTO
    dialect: Dialect = Dialect.AUTO
    is_early: bool = False
    json: float | None = None
    ndjson: WhiteSpace = WhiteSpace.AUTO

    @property
    def options(self) -> dict[str, Any]:
        """For a middleware."""
        return {
            "heartbeat": INTERVAL,
            "form": self.form,
            "dialect": self.dialect,
            "ndjson": self.ndjson,
            "before_response": EARLY if self.is_early else "off",
            "json": self.json,
            "idle_timeout": IDLE,
            "write_timeout": "off",
            "max_duration": LONGEST,
            "streams": on_time(),
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client got. fields: without those of the connection, their names in lower case.

    body: with `END_ID` in place of ids of ends. last_event_id: as it came. again: what it got when it came back.
    """

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool
    last_event_id: str = field(default="", compare=False)
    again: "Seen | None" = None


Door = Callable[[Question, Script, Treatment], Awaitable[Seen]]

_END_ID = re.compile(rb"sseproxy-end-[A-Za-z0-9_-]{40}")
END_ID = b"END"


class _Broken(Exception):
    """The app fails as its script wants it."""


async def _play(script: Script, send: Callable[[bytes], Awaitable[object]]) -> None:
    for step in script.steps:
        await (send(step) if isinstance(step, bytes) else passing(step))


async def through_the_proxy(question: Question, script: Script, treatment: Treatment) -> Seen:
    policy = HeartbeatPolicy(
        interval=INTERVAL,
        form=treatment.form,
        before_response=EARLY if treatment.is_early else None,
        json=treatment.json,
        ndjson=treatment.ndjson,
    )
    timeouts = TimeoutPolicy(idle=IDLE, write=None, max_duration=LONGEST)
    upstream = _upstream(question, script)
    dialect, streams = treatment.dialect, on_time()
    async with stage(upstream, heartbeat=policy, timeouts=timeouts, dialect=dialect, streams=streams) as stand:
        return await _asked_over(stand.proxy.connect, question)


def _upstream(question: Question, script: Script) -> Callable[[Visit], Awaitable[None]]:
    has_body = question.method != "HEAD" and script.status != 204
    fields = (*script.fields, (b"Transfer-Encoding", b"chunked")) if has_body else script.fields

    async def visited(visit: Visit) -> None:
        await visit.request()
        await passing(script.before)
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        await visit.send(b"HTTP/1.1 %d Said\r\n%b\r\n" % (script.status, lines))
        if has_body:
            await _play(script, lambda piece: visit.send(b"%x\r\n%b\r\n" % (len(piece), piece)))
            await visit.send(b"0\r\n\r\n" if script.is_whole else b"")

    return visited


async def through_asgi(question: Question, script: Script, treatment: Treatment) -> Seen:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await passing(script.before)
        await send({"type": "http.response.start", "status": script.status, "headers": list(script.fields)})
        if question.method != "HEAD":
            await _play(script, lambda piece: send(body_message(piece)))
        if not script.is_whole and question.method != "HEAD":
            raise _Broken
        await send(body_message(more=False))

    middleware = SSEKeepaliveMiddleware(app, **treatment.options)

    async def ask(asked: Question) -> Seen:
        headers = [(name.lower(), value) for name, value in asked.all_fields]
        pieces = [asked.body[start : start + 65536] for start in range(0, len(asked.body), 65536)] or [b""]
        seen = Exchange(middleware, method=asked.method, path=asked.target, headers=headers, body=pieces).start()
        with contextlib.suppress(StreamAborted, _Broken):
            await seen.finish()
        return _seen(seen.status, seen.messages[0]["headers"], seen.body, is_whole=seen.is_whole)

    return await _asked(ask, question)


async def through_aiohttp(question: Question, script: Script, treatment: Treatment) -> Seen:
    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        await passing(script.before)
        fields = CIMultiDict((name.decode(), value.decode()) for name, value in script.fields)
        response = web.StreamResponse(status=script.status, headers=fields)
        await response.prepare(request)
        if question.method != "HEAD":
            await _play(script, response.write)
        if not script.is_whole and question.method != "HEAD":
            raise _Broken
        return response

    async with AiohttpApp.serve(handler, **treatment.options) as app:
        return await _asked_over(partial(AsyncPeer.connect, app.port), question)


DOORS: dict[str, Door] = {"proxy": through_the_proxy, "asgi": through_asgi, "aiohttp": through_aiohttp}


async def _asked_over(connect: Callable[[], AbstractAsyncContextManager[AsyncPeer]], question: Question) -> Seen:
    async def ask(asked: Question) -> Seen:
        async with connect() as client:
            await client.send(asked.on_the_wire)
            head = await client.head()
            has_body = asked.method != "HEAD" and head.status != 204
            body, is_whole = await _body(client) if has_body else (b"", True)
        return _seen(head.status, head.fields, body, is_whole=is_whole)

    return await _asked(ask, question)


async def _asked(ask: Callable[[Question], Awaitable[Seen]], question: Question) -> Seen:
    seen = await ask(question)
    if not question.comes_back:
        return seen
    last = (b"Last-Event-ID", seen.last_event_id.encode())
    return replace(seen, again=await ask(replace(question, fields=(*question.fields, last))))


def _seen(status: int, fields: Headers, body: bytes, *, is_whole: bool) -> Seen:
    parsed = parse(body)
    return Seen(status, _named(fields), _END_ID.sub(END_ID, body), is_whole, parsed.last_event_id)


async def _body(client: AsyncPeer) -> tuple[bytes, bool]:
    body = b""
    try:
        while piece := await read_chunk(client.reader, []):
            body += piece
    except (asyncio.IncompleteReadError, ConnectionError):
        return body, False
    return body, True


def _named(fields: Headers) -> list[tuple[bytes, bytes]]:
    named = [(name.lower(), value) for name, value in fields]
    return [field for field in named if field[0] not in OF_SERVERS]
