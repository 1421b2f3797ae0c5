# python examples/redis_push/app.py 9000 & sseproxy serve -c examples/redis_push/sseproxy.yaml
"""An app that has sessions, and publishes. It streams nothing itself. Then open http://127.0.0.1:8080/"""

import json
import os
import secrets
import shlex
import sys
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis

REDIS = web.AppKey("redis", Redis)
SESSIONS = web.AppKey("sessions", dict[str, str])
Command = tuple[str | int, ...]
FILES = {"/": "index.html", "/page.css": "page.css"}
USERS = ("ann", "bob")
KEPT = 1000  # messages that a stream keeps
AGE = 30 * 24 * 3600  # seconds after its last message that an inbox is kept


def user_of(request: web.Request) -> str:
    """Return the user who is logged in. HTTPUnauthorized: there is none."""
    user = request.app[SESSIONS].get(request.cookies.get("session", ""))
    if user is None:
        raise web.HTTPUnauthorized(text="Log in first.\n")
    return user


async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).with_name(FILES[request.path]))


async def login(request: web.Request) -> web.Response:
    """Give this browser a session; a real app asks for a password."""
    user = (await request.post()).get("user")
    if user not in USERS:
        raise web.HTTPForbidden(text="There is no such user.\n")
    session = secrets.token_urlsafe(16)
    request.app[SESSIONS][session] = str(user)
    # Without Path= the cookie is for the folder of this page only: two pages of one browser can be two users.
    return web.json_response({"user": user}, headers={"Set-Cookie": f"session={session}; HttpOnly; SameSite=Lax"})


async def whoami(request: web.Request) -> web.Response:
    """Answer sseproxy's question. Its `take` makes X-User the name of the stream: no client can choose it."""
    return web.Response(headers={"X-User": user_of(request)})


async def run(request: web.Request, *commands: Command) -> web.Response:
    """Run commands in Redis. The page shows each one as a shell would run it, and what Redis has answered."""
    async with request.app[REDIS].pipeline(transaction=False) as together:
        for command in commands:
            together.execute_command(*command)
        answers = [int(answer) if answer is True else answer for answer in await together.execute()]
    lines = [shlex.join(map(str, command)) for command in commands]
    return web.json_response([{"command": line, "answer": answer} for line, answer in zip(lines, answers, strict=True)])


async def send(request: web.Request) -> web.Response:
    """Put a message into one user's inbox, or into the stream for all."""
    sender, form = user_of(request), await request.post()
    to = receiver(form.get("to"))
    stream = "news" if to == "all" else f"inbox:{to}"
    message = json.dumps({"from": sender, "text": form["text"]})
    return await run(request, ("XADD", stream, "MAXLEN", "~", KEPT, "*", "data", message), ("EXPIRE", stream, AGE))


async def typing(request: web.Request) -> web.Response:
    """Tell one user, or all, that another one writes, if they look just now."""
    sender, form = user_of(request), await request.post()
    return await run(request, ("PUBLISH", f"typing:{receiver(form.get('to'))}", sender))


async def trim(request: web.Request) -> web.Response:
    """Take all messages out of one's own inbox, as MAXLEN does with old ones. Who has missed some gets a gap."""
    return await run(request, ("XTRIM", f"inbox:{user_of(request)}", "MAXLEN", 0))


def receiver(name: object) -> str:
    """Return a user, or all. HTTPNotFound: neither; the app alone decides which streams there are."""
    if name not in (*USERS, "all"):
        raise web.HTTPNotFound(text="There is no such user.\n")
    return str(name)


def make_app(url: str) -> web.Application:
    app = web.Application()
    app[REDIS], app[SESSIONS] = Redis.from_url(url, decode_responses=True), {}

    async def close(_: web.Application) -> None:
        await app[REDIS].aclose()

    app.on_cleanup.append(close)
    app.add_routes([*(web.get(path, page) for path in FILES), web.get("/whoami", whoami)])
    posts = {"/login": login, "/send": send, "/typing": typing, "/trim": trim}
    app.add_routes([web.post(path, handler) for path, handler in posts.items()])
    return app


if __name__ == "__main__":
    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    web.run_app(make_app(redis_url), host="127.0.0.1", port=int(sys.argv[1]))
