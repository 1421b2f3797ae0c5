# python examples/resumable_chat/app.py 9000 & sseproxy serve -c examples/resumable_chat/sseproxy.yaml
"""A chat whose model is slow. Nothing in it resumes, shares or stops an answer. Then open http://127.0.0.1:8080/"""

import asyncio
import json
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

ANSWER = """Reload this page now, as often as you like: the answer goes on, because it is no longer tied to your
connection. Open it in a second tab, and you see it there, too, from its first word. Close both, come back, and it has
gone on without you. The model was asked once. Only the stop button ends it before its last word, from any tab."""
FILES = {"/": "index.html", "/page.css": "page.css"}
THINKING, PAUSE = 1.5, 0.15  # seconds before the first word, and behind each
HEAD = {"Content-Type": "text/event-stream", "X-Vercel-AI-UI-Message-Stream": "v1", "X-Accel-Buffering": "no"}


@dataclass(slots=True)
class Conversation:
    """messages: as `useChat` has them. asked: how often the model was."""

    messages: list[Any] = field(default_factory=list)
    asked: int = 0


CONVERSATIONS = web.AppKey("conversations", dict[tuple[str, str], Conversation])


def conversation_of(request: web.Request, name: str) -> Conversation:
    """Return the conversation of that name that this login has. HTTPUnauthorized: there is no login."""
    session = request.cookies.get("session")
    if session is None:
        raise web.HTTPUnauthorized(text="Log in first.\n")
    return request.app[CONVERSATIONS].setdefault((session, name), Conversation())


async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(Path(__file__).with_name(FILES[request.path]))


async def log_in(request: web.Request) -> web.Response:
    """Give this browser a session if it has none; a real app asks for a password."""
    if "session" in request.cookies:
        return web.Response(status=204)
    # Without Path= the cookie is for the folder of this URL: /api.
    cookie = f"session={secrets.token_urlsafe(16)}; HttpOnly; SameSite=Lax"
    return web.Response(status=204, headers={"Set-Cookie": cookie})


async def show(request: web.Request) -> web.Response:
    """What was said so far, and what it cost."""
    found = conversation_of(request, request.match_info["name"])
    return web.json_response({"messages": found.messages, "asked": found.asked})


async def chat(request: web.Request) -> web.StreamResponse:
    """Ask the model, and stream what it says. A client that leaves ends this: then it is not asked on."""
    question = await request.json()
    conversation = conversation_of(request, question["id"])
    conversation.messages = question["messages"]
    conversation.asked += 1
    message = {"id": secrets.token_hex(4), "role": "assistant", "metadata": {"whole": False}, "parts": []}
    response = web.StreamResponse(headers=HEAD)

    async def send(chunk: dict[str, object]) -> None:
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

    said = ""
    try:
        await asyncio.sleep(THINKING)
        await response.prepare(request)
        await send({"type": "start", "messageId": message["id"]})
        await send({"type": "text-start", "id": "text"})
        for word in ANSWER.split():
            said += f"{word} "
            await send({"type": "text-delta", "id": "text", "delta": f"{word} "})
            await asyncio.sleep(PAUSE)
        message["metadata"] = {"whole": True}
    finally:
        conversation.messages.append({**message, "parts": [{"type": "text", "text": said}]})
    await send({"type": "text-end", "id": "text"})
    await send({"type": "finish"})
    await response.write(b"data: [DONE]\n\n")
    return response


def make_app() -> web.Application:
    app = web.Application()
    app[CONVERSATIONS] = {}
    app.add_routes([*(web.get(path, page) for path in FILES), web.get("/api/chat/{name}", show)])
    app.add_routes([web.post("/api/session", log_in), web.post("/api/chat", chat)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
