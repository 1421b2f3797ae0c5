"""Apps that refuse late, behind each of the middlewares: for uvicorn (`app`), and aiohttp itself (run this file).

`/late/STATUS` is answered when heartbeats have gone out, `/page` is the page. What comes is written to a file, a line
each: `server` or `app`, the path, and the last id that the request brought.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from sseproxy.aiohttp import sse_keepalive
from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.options import MiddlewareOptions

#: Names the file.
RECORD = "SSEPROXY_TEST_RECORD"

_SCRIPT = (Path(__file__).parent / "page.js").read_text()
_PAGE = f"<!doctype html><meta charset=utf-8><link rel=icon href='data:,'><script>{_SCRIPT}</script>"
_OPTIONS: MiddlewareOptions = {"heartbeat": "50ms", "before_response": "50ms", "secret": "shared by all workers"}
_LATE = 0.5  # seconds: on the same loop, the early answer comes first


def record(where: str, path: str, last: str | None) -> None:
    with Path(os.environ[RECORD]).open("a") as file:
        file.write(f"{where} {path} {last or '-'}\n")


def _note(where: str, scope: Any) -> None:
    last = dict(scope["headers"]).get(b"last-event-id")
    record(where, scope["path"], None if last is None else last.decode())


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/page":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": _PAGE.encode()})
        return
    _note("app", scope)
    await asyncio.sleep(_LATE)
    status = int(scope["path"].rpartition("/")[2])
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"" if status == 204 else b"no"})


_kept_alive = SSEKeepaliveMiddleware(_refuse, **_OPTIONS)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Notes what reaches the server, also where the app hears nothing of it."""
    if scope["type"] == "http":
        _note("server", scope)
        await _kept_alive(scope, receive, send)


@web.middleware
async def _noting(request: web.Request, handler: Any) -> web.StreamResponse:
    record("server", request.path, request.headers.get("Last-Event-ID"))
    response: web.StreamResponse = await handler(request)
    return response


async def _refuse_in_aiohttp(request: web.Request) -> web.StreamResponse:
    record("app", request.path, request.headers.get("Last-Event-ID"))
    await asyncio.sleep(_LATE)
    return web.Response(status=int(request.match_info["status"]))


async def _page_of_aiohttp(request: web.Request) -> web.StreamResponse:
    return web.Response(text=_PAGE, content_type="text/html")


if __name__ == "__main__":
    served = web.Application(middlewares=[_noting, sse_keepalive(**_OPTIONS)])
    served.router.add_get("/page", _page_of_aiohttp)
    served.router.add_get("/late/{status}", _refuse_in_aiohttp)
    web.run_app(served, host="127.0.0.1", port=0)
