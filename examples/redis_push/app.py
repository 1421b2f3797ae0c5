# python examples/redis_push/app.py 9000 & sseproxy serve -c examples/redis_push/sseproxy.yaml
"""An app that knows who is who and publishes. It streams nothing itself. Then open http://127.0.0.1:8080/"""

import json
import os
import secrets
import sys
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis

REDIS = web.AppKey("redis", Redis)
SESSIONS = web.AppKey("sessions", dict[str, str])
USERS = ("ann", "bob")
KEPT = 1000  # messages that a stream keeps
AGE = 30 * 24 * 3600  # seconds after its last message that an inbox is kept


def user_of(request: web.Request) -> str:
    """Return who is logged in. HTTPUnauthorized: nobody."""
    user = request.app[SESSIONS].get(request.cookies.get("session", ""))
    if user is None:
        raise web.HTTPUnauthorized(text="Log in first.\n")
    return user


async def page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).with_name("index.html"))


async def login(request: web.Request) -> web.Response:
    """Give this browser a session; a real app asks for a password."""
    user = (await request.post()).get("user")
    if user not in USERS:
        raise web.HTTPForbidden(text="There is no such user.\n")
    session = secrets.token_urlsafe(16)
    request.app[SESSIONS][session] = str(user)
    cookie = f"session={session}; HttpOnly; SameSite=Lax; Path=/"
    return web.json_response({"user": user}, headers={"Set-Cookie": cookie})


async def whoami(request: web.Request) -> web.Response:
    """Answer sseproxy's question. Its `take` makes X-User the name of the stream: no client can choose it."""
    return web.Response(headers={"X-User": user_of(request)})


async def send(request: web.Request) -> web.Response:
    """Put a message into one user's inbox, or into the stream for all."""
    sender, form = user_of(request), await request.post()
    to, redis = str(form["to"]), request.app[REDIS]
    if to not in (*USERS, "all"):
        raise web.HTTPNotFound(text="There is no such user.\n")
    stream = "news" if to == "all" else f"inbox:{to}"
    message = json.dumps({"from": sender, "text": form["text"]})
    async with redis.pipeline() as both:
        both.xadd(stream, {"data": message}, maxlen=KEPT, approximate=True)
        both.expire(stream, AGE)
        await both.execute()
    return web.Response(status=204)


async def typing(request: web.Request) -> web.Response:
    """Tell one user that another one writes, if they look just now."""
    to = str((await request.post())["to"])
    await request.app[REDIS].publish(f"typing:{to}", user_of(request))
    return web.Response(status=204)


def make_app(url: str) -> web.Application:
    app = web.Application()
    app[REDIS], app[SESSIONS] = Redis.from_url(url), {}

    async def close(_: web.Application) -> None:
        await app[REDIS].aclose()

    app.on_cleanup.append(close)
    app.add_routes([web.get("/", page), web.get("/whoami", whoami)])
    app.add_routes([web.post("/login", login), web.post("/send", send), web.post("/typing", typing)])
    return app


if __name__ == "__main__":
    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    web.run_app(make_app(redis_url), host="127.0.0.1", port=int(sys.argv[1]))
