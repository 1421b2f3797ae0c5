"""The same answers in an aiohttp app."""

import asyncio

from aiohttp import web

from sseproxy.aiohttp import sse_keepalive
from tests.e2e.kinds.slow_answers import LINES_PATH, LINES_TYPE, OPTIONS, RECORDS, SILENCE, TEXT, TEXT_PATH, TEXT_TYPE


async def lines(request: web.Request) -> web.StreamResponse:
    await request.json()
    await asyncio.sleep(SILENCE)
    response = web.StreamResponse(headers={"Content-Type": LINES_TYPE})
    await response.prepare(request)
    await response.write(RECORDS[0])
    await asyncio.sleep(SILENCE)
    for record in RECORDS[1:]:
        await response.write(record)
    return response


async def text(request: web.Request) -> web.Response:
    await request.json()
    await asyncio.sleep(SILENCE)
    return web.Response(body=TEXT, content_type=TEXT_TYPE)


def plain(_: list[str]) -> web.Application:
    app = web.Application()
    app.add_routes([web.post(LINES_PATH, lines), web.post(TEXT_PATH, text)])
    return app


def kept(_: list[str]) -> web.Application:
    keepalive = sse_keepalive(**OPTIONS)
    app = web.Application(middlewares=[keepalive])
    app.on_shutdown.append(keepalive.on_shutdown)
    app.add_routes([web.post(LINES_PATH, lines), web.post(TEXT_PATH, text)])
    return app
