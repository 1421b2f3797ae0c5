"""What does a service behind a journalled route get to do, and what did it notice of its clients?

It does nothing by itself: a test lets each call begin, say something, and end.
"""

import asyncio
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from sseproxy.demo.page import local
from tests.support.patience import LIMIT

_T = TypeVar("_T")

#: What a test plays by hand; all other paths are files, pages of a test, or what a chat keeps.
CALLS = {("POST", "/api/chat"), ("POST", "/ask"), ("GET", "/feed")}


@dataclass(slots=True)
class Call:
    """One request that the service got. left_at: when its client went before its end, by the monotonic clock."""

    service: "Service"
    method: str
    target: str
    fields: Mapping[str, str]
    body: bytes
    left_at: float | None = None
    steps: "asyncio.Queue[bytes | ConnectionError | None]" = field(default_factory=asyncio.Queue)

    def begin(self) -> None:
        """Send the head of an event stream."""
        self._do(b"")

    def say(self, *data: str) -> None:
        """Send an event for each of `data`, behind the head."""
        for each in data:
            self.send(f"data: {each}\n\n")

    def send(self, text: str) -> None:
        """Send this text of the stream, behind the head."""
        self._do(text.encode())

    def finish(self) -> None:
        """End the stream well."""
        self._do(None)

    def break_off(self) -> None:
        """End the connection in the middle of the stream."""
        self._do(ConnectionError())

    def wait_until_left(self) -> float:
        """Return when the client went. TimeoutError: it stays."""
        self.service.wait_until(lambda: self.left_at is not None)
        return self.left_at or 0.0

    def _do(self, step: bytes | ConnectionError | None) -> None:
        self.service.loop.call_soon_threadsafe(self.steps.put_nowait, step)


class Service:
    """A server on a thread of its own. calls: in the order in which they came. pages: what tests serve, by path.

    withdrawn: sessions that ``/whoami`` refuses. It lets all others in.

    folder: more files, below it; a path without an extension gets ``.js``, as a bundler would find it.
    """

    def __init__(self, folders: Mapping[str, Path] | None = None) -> None:
        self.calls: list[Call] = []
        self.pages: dict[str, str] = {}
        self.withdrawn: set[str] = set()
        self.loop = asyncio.new_event_loop()
        self.url = ""
        self._folders = dict(folders or {})
        self._changed = threading.Condition()

    @classmethod
    @contextlib.contextmanager
    def serving(cls, folders: Mapping[str, Path] | None = None) -> "Iterator[Service]":
        """folders: what is served below a path, such as ``/lib``."""
        service = cls(folders)
        with service.running():
            yield service

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve, on a loop in a thread of its own."""
        thread = threading.Thread(target=self.loop.run_forever, name="service")
        thread.start()
        exits = contextlib.AsyncExitStack()
        try:
            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{rest:.*}", self._answer)
            self.url = f"http://127.0.0.1:{self._run(exits.enter_async_context(local(app)))}"
            yield
        finally:
            for call in self.calls:
                call.finish()
            self._run(exits.aclose())
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join()
            self.loop.close()

    def call(self, number: int = 0) -> Call:
        """Return the call with this number, once it has come. TimeoutError: it never comes."""
        self.wait_until(lambda: len(self.calls) > number)
        return self.calls[number]

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until it is true. TimeoutError: it never is."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout=LIMIT):
                raise TimeoutError

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT)

    def _note(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def asked(self, name: str) -> int:
        """How often the model was asked in the conversation of that name."""
        return sum(json.loads(call.body).get("id") == name for call in self.calls if call.body)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (request.method, request.path) in CALLS:
            return await self._play(request)
        if request.path == "/whoami":
            return web.Response(status=401 if request.cookies.get("session") in self.withdrawn else 204)
        if request.path == "/api/session":
            given = {} if "session" in request.cookies else {"Set-Cookie": f"session={secrets.token_hex(8)}; Path=/"}
            return web.Response(status=204, headers=given)
        if request.path.startswith("/api/chat/"):
            name = request.path.rpartition("/")[2]
            said = [json.loads(call.body) for call in self.calls if call.body]
            messages = [body["messages"] for body in said if body["id"] == name]
            return web.json_response({"messages": messages[-1] if messages else []})
        if request.path in self.pages:
            return web.Response(text=self.pages[request.path], content_type="text/html")
        for path, folder in self._folders.items():
            if request.path.startswith(f"{path}/"):
                file = folder / request.path.removeprefix(f"{path}/")
                return web.FileResponse(file if file.suffix else file.with_suffix(".js"))
        return web.Response(status=404)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        call = Call(self, request.method, request.path_qs, request.headers.copy(), await request.read())
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            while (step := await call.steps.get()) is not None:
                if isinstance(step, ConnectionError):
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                if not response.prepared:
                    await response.prepare(request)
                if step:
                    await response.write(step)
        except (asyncio.CancelledError, ConnectionError):
            call.left_at = time.monotonic()
            self._note()
            raise
        return response
