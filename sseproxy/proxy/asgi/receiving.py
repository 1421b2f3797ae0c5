"""What does the client still say while its request is served: a body, or that it leaves?"""

import asyncio
from collections.abc import Callable
from enum import Flag, auto

from sseproxy.asgi.types import Message, Receive
from sseproxy.core.errors import BadRequest
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import get
from sseproxy.http1.content import RequestContent
from sseproxy.http1.requests import ParsedRequest

#: Messages behind the end of a body that are passed over. A middleware that replays a body says the same for ever.
_MOST_REPEATED = 16


class _Pause(Flag):
    """Why nothing is received for now."""

    NOTHING = 0
    NOT_ASKED = auto()  # the client waits for ``100 Continue``, which servers send when the app receives
    HELD = auto()  # what has come is to be read first


# Plan. `open` looks at what the head says of the body; where it says nothing, the first message does. `listen` then
# receives until the client leaves.
#
# Rules
# 1. `receive` is called once at a time, and only where more may come: a server reads from its client when it is called.
# 2. The upstream gets as many bytes as the client has declared, or a body that breaks off.
# 3. `on_left` is called at most once, and not behind `close`.
#
# Hazards
# - While it pauses, a client that leaves is not heard of: ASGI has one queue for both.
# - A middleware in front may have changed the body and left its length, or may replay it without end.


class RequestReceiver:
    """The `receive` of one request. on_left: called when the client has left.

    error: what `receive` has raised, if it did; the client counts as gone then.
    """

    __slots__ = ("_content", "_left_to_come", "_paused", "_receive", "_repeated", "_resumed", "error", "on_left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._content: RequestContent | None = None
        self._left_to_come: int | None = None  # bytes of the body, if it has a length
        self._paused = _Pause.NOTHING
        self._resumed: asyncio.Future[None] | None = None
        self._repeated = 0
        self.on_left: Callable[[], object] | None = None
        self.error: Exception | None = None

    async def open(self, request: ParsedRequest) -> bool:
        """Give `request` its content. Return False if the client has left instead.

        A body that no field speaks of, as over HTTP/2, is declared as one in chunks.
        """
        length = get(request.headers, b"content-length")
        if length is None and get(request.headers, b"transfer-encoding") is None:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return False
            if not (message.get("body") or message.get("more_body", False)):
                return True
            request.headers.append((b"transfer-encoding", b"chunked"))
            request.content = self._content = RequestContent(self._hold)
            self._take(message)
            return True
        if length is None or length.isdigit():  # else it is refused
            self._left_to_come = None if length is None else int(length[:19])
        request.content = self._content = RequestContent(self._hold)
        if self._left_to_come == 0:
            request.content.end()
        elif request.version == "1.1" and get(request.headers, b"expect") is not None:
            self._paused = _Pause.NOT_ASKED
        return True

    def ask(self) -> None:
        """Ask the client for its body: the server sends ``100 Continue``."""
        self._resume(_Pause.NOT_ASKED)

    def read_off(self) -> asyncio.Future[None] | None:
        """Throw away what is still to come of the body. Return what is done when nothing is; ``None`` if nothing is.

        A client that waits to be asked for it is not asked: granian would, even now.
        """
        content = self._content
        if content is None or content.is_complete or _Pause.NOT_ASKED in self._paused:
            return None
        content.drop()
        return content.ended

    async def listen(self) -> None:
        """Receive until the client leaves."""
        try:
            while self._repeated < _MOST_REPEATED:
                while self._paused:
                    self._resumed = asyncio.get_running_loop().create_future()
                    await self._resumed
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self._leave()
                    return
                if message["type"] == "http.request":
                    self._take(message)
        except Exception as error:  # noqa: BLE001 - whatever a server's `receive` raises, or that of a middleware
            release_frames(error)
            self.error = error
            self._leave()

    def close(self) -> None:
        """Call nothing any more."""
        self.on_left = self._content = None

    # Private.

    def _take(self, message: Message) -> None:
        content, piece = self._content, bytes(message.get("body") or b"")
        is_last = not message.get("more_body", False)
        if content is None or content.is_complete:
            self._repeated += is_last
            return
        if piece:
            if self._left_to_come is not None:
                self._left_to_come -= len(piece)
                if self._left_to_come < 0:
                    content.fail(BadRequest("The request body is longer than its Content-Length."))
                    self._content = None
                    return
            content.feed(piece)
        if is_last:
            if self._left_to_come:
                content.fail(BadRequest("The request body is shorter than its Content-Length."))
                self._content = None
            else:
                content.end()

    def _leave(self) -> None:
        on_left, content = self.on_left, self._content
        self.close()
        if content is not None:
            content.fail(BadRequest("The request body broke off."))
        if on_left is not None:
            on_left()

    def _hold(self, is_full: bool) -> None:
        if is_full:
            self._paused |= _Pause.HELD
        else:
            self._resume(_Pause.HELD)

    def _resume(self, why: _Pause) -> None:
        self._paused &= ~why
        if not self._paused and self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
