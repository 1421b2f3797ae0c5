# python examples/library/service.py 9000
"""What is behind the proxy: a model that thinks before its first word, and between two of them."""

import asyncio
import sys

from aiohttp import web


async def chat(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(2.5)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in ("Hello", request.headers.get("X-User", "world")):
        await response.write(b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % word.encode())
        await asyncio.sleep(1.5)
    await response.write(b"data: [DONE]\n\n")
    return response


async def models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "a-model", "object": "model"}]})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models", models)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
