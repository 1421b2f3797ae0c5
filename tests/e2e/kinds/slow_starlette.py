"""A Starlette app that thinks for long before it answers, and in the midst of its JSON lines."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.e2e.kinds.slow_answers import LINES_PATH, LINES_TYPE, OPTIONS, RECORDS, SILENCE, TEXT, TEXT_PATH, TEXT_TYPE


async def lines(request: Request) -> Response:
    await request.json()
    await asyncio.sleep(SILENCE)

    async def records() -> AsyncIterator[bytes]:
        yield RECORDS[0]
        await asyncio.sleep(SILENCE)
        for record in RECORDS[1:]:
            yield record

    return StreamingResponse(records(), media_type=LINES_TYPE)


async def text(request: Request) -> Response:
    await request.json()
    await asyncio.sleep(SILENCE)
    return Response(TEXT, media_type=TEXT_TYPE)


plain = Starlette(routes=[Route(LINES_PATH, lines, methods=["POST"]), Route(TEXT_PATH, text, methods=["POST"])])
kept = SSEKeepaliveMiddleware(plain, **OPTIONS)
