# python examples/eventsource/app.py 9000 & sseproxy serve -c examples/eventsource/sseproxy.yaml
"""What is behind the page: a service with a login and slow answers. Then open http://127.0.0.1:8080/"""

import asyncio
import json
import secrets
import sys
from pathlib import Path

from aiohttp import web

ANSWER = """You asked with POST, and a ticket let an unmodified EventSource read the answer. Your login is a cookie, and
I saw a header. I was silent twice, and the stream lived. Your browser will now come back once, and be asked to stop."""
FILES = {"/": "index.html", "/page.css": "page.css", "/stranger": "stranger.html"}
SEEN = web.AppKey("seen", list[dict[str, str]])
ORIGINS = web.AppKey("origins", dict[str, str])


async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).with_name(FILES[request.path]))


async def origins(request: web.Request) -> web.Response:
    """Where the page may ask, too, and where one is from that may not: from here, without sseproxy in between."""
    host, port = request.get_extra_info("sockname")
    return web.json_response(request.app[ORIGINS] | {"stranger": f"http://{host}:{port}"})


async def login(_: web.Request) -> web.Response:
    cookie = f"token={secrets.token_urlsafe(12)}; HttpOnly; SameSite=Lax; Path=/"
    return web.Response(status=204, headers={"Set-Cookie": cookie})


async def chat(request: web.Request) -> web.StreamResponse:
    fields = {name: request.headers.get(name, "none") for name in ("Authorization", "Cookie", "Host")}
    seen = {"request": f"{request.method} {request.path}", **fields, "outcome": "under way"}
    request.app[SEEN][:] = [seen, *request.app[SEEN][:2]]
    model, response = (await request.json())["model"], web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        for number, word in enumerate(ANSWER.split()):
            await asyncio.sleep(3 if number in (0, 15) else 0.08)  # a model that thinks
            if number == 20 and model == "breaks-off" and request.transport is not None:
                seen["outcome"] = "broke off"
                request.transport.abort()
                return response
            await response.prepare(request)
            await response.write(f"data: {json.dumps({'text': word})}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        seen["outcome"] = "sent everything"
    finally:
        seen["outcome"] = seen["outcome"].replace("under way", "the client left, and I stopped")
    return response


async def log(request: web.Request) -> web.Response:
    return web.json_response(request.app[SEEN])


def make_app(other: str = "http://127.0.0.1:8081") -> web.Application:
    app = web.Application()
    app[SEEN], app[ORIGINS] = [], {"other": other}
    app.add_routes([web.get(path, page) for path in FILES])
    app.add_routes([web.get("/origins", origins), web.get("/log", log)])
    app.add_routes([web.post("/login", login), web.post("/chat/completions", chat)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(*sys.argv[2:]), host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
