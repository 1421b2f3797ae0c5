"""What does an ASGI app see of a server, and what does a strict server see of the app?

ASGI is a protocol of callables, so a script at the server's end is the real thing, and stricter than any server: it
refuses what the specification forbids, and keeps the time of each message.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from sseproxy.engine.live import LiveStreams
from tests.support.virtual_clock import now, passing

EVENT_STREAM = (b"content-type", b"text/event-stream")
HB = b": heartbeat\n"

#: What a script may hold: bytes to send as one message, seconds to wait, or an exception to raise.
Step = bytes | float | BaseException


def on_time() -> LiveStreams:
    """Streams whose heartbeats have no lead, and that break at once."""
    return LiveStreams(chance=lambda: 0.0, linger=0.0)


class Exchange:
    """One request and its response. frozen: the client does not read, so `send` waits.

    faults: what the app did against the specification; `run` and `finish` assert that there is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        method: str = "GET",
        path: str = "/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: Iterable[bytes] = (b"",),
        send_error: BaseException | None = None,
    ) -> None:
        self.app = app
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": list(headers),
            "client": ("192.0.2.7", 4711),
        }
        self.sent: list[tuple[float, Message]] = []
        self.faults: list[str] = []
        self.send_error = send_error
        self.receives = 0  # calls of receive, by whomever
        self._incoming: deque[Message] = deque(_request(list(body)))
        self._changed = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.has_left = False
        self._refuses: type[Exception] | None = None
        self._receiving = 0
        self._sending = 0
        self.task: asyncio.Task[None] | None = None

    # What the test does.

    def start(self) -> "Exchange":
        """Call the app, in a task."""
        self.task = asyncio.get_running_loop().create_task(self.call())
        return self

    async def finish(self) -> "Exchange":
        """Wait for the app's return; raises what the app raises."""
        assert self.task is not None
        await self.task
        assert not self.faults, self.faults
        return self

    async def run(self) -> "Exchange":
        return await self.start().finish()

    def leave(self) -> None:
        """The client closes the connection."""
        self.has_left = True
        self._thawed.set()
        self._changed.set()

    def refuse_to_send(self, kind: type[Exception]) -> None:
        """From now on the server's `send` raises an error of this kind, a new one each time."""
        self._refuses = kind

    def say(self, *pieces: bytes) -> None:
        """The client sends more of its request body."""
        self._incoming.extend({"type": "http.request", "body": piece, "more_body": True} for piece in pieces)
        self._changed.set()

    def end_body(self) -> None:
        """The client has sent all of its request body."""
        self._incoming.append({"type": "http.request", "body": b"", "more_body": False})
        self._changed.set()

    def freeze(self) -> None:
        """Let `send` wait: the client takes nothing."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Let the client take everything again."""
        self._thawed.set()

    # What came of it.

    @property
    def messages(self) -> list[Message]:
        return [message for _, message in self.sent]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def pieces(self) -> list[bytes]:
        return [message.get("body", b"") for message in self.messages if message["type"] == "http.response.body"]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the last message of the response was sent."""
        return bool(self.sent) and _is_last(self.messages[-1])

    # The server's side.

    async def call(self) -> None:
        await self.app(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        self.receives += 1
        if self._receiving:
            self.faults.append("receive was raced")
        self._receiving += 1
        try:
            while not self._incoming and not self._is_over:
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._receiving -= 1
        return self._incoming.popleft() if self._incoming else {"type": "http.disconnect"}

    @property
    def _is_over(self) -> bool:
        """As servers do: who has sent the whole response hears nothing but that it is over."""
        return self.has_left or self.is_whole

    async def send(self, message: Message) -> None:
        self._judge(message)
        self._sending += 1
        try:
            if self._refuses is not None:
                raise self._refuses("refused")
            if self.send_error is not None and self.has_left:
                raise self.send_error
            self.sent.append((now(), message))
            if self.is_whole:
                self._changed.set()
            if not self._thawed.is_set():
                await self._thawed.wait()
        finally:
            self._sending -= 1

    def _judge(self, message: Message) -> None:
        if not message["type"].startswith("http."):
            raise RuntimeError(f"unexpected message {message['type']}")  # as servers do
        if self._sending:
            self.faults.append("two calls of send at once")
        if self.is_whole:
            self.faults.append(f"{message['type']} after the end")
        is_start = message["type"] == "http.response.start"
        if is_start == any(seen["type"] == "http.response.start" for seen in self.messages):
            self.faults.append(f"{message['type']} out of place")


def _request(body: list[bytes]) -> Iterable[Message]:
    for index, piece in enumerate(body):
        yield {"type": "http.request", "body": piece, "more_body": index < len(body) - 1}


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


def head(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    """The first message of a response, by default of an event stream."""
    return {"type": "http.response.start", "status": status, "headers": list(headers or (EVENT_STREAM,))}


def body(data: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def script(*steps: Step, before: float = 0.0, start: Message | None = None, end: bool = True) -> ASGIApp:
    """An app that never looks at its request: it waits `before` seconds, sends the head and then does the steps."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _do(before, send)
        await send(start or head())
        for step in steps:
            await _do(step, send)
        if end:
            await send(body(more=False))

    return app


async def _do(step: Step, send: Send) -> None:
    if isinstance(step, BaseException):
        raise step
    if isinstance(step, bytes):
        await send(body(step))
    elif step:
        await passing(step)


class Noted:
    """Wraps an app and notes how its call ends: `returned`, or the exception that came out; None while it runs."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self.end: Any = None
        self.at: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
            self.end = "returned"
        except BaseException as error:
            self.end = type(error)
            raise
        finally:
            self.at = now()


async def for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    """One event, and then silence; `receive` is never called."""
    await send(head())
    await send(body(b"data: 1\n\n"))
    await asyncio.get_running_loop().create_future()
