"""How does a response get into the server's `send`, in order, one message at a time, and no faster than it is taken?"""

import asyncio
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from sseproxy.asgi.types import Message, Send
from sseproxy.asgi.waiting import DONE
from sseproxy.core.http.fields import Headers
from sseproxy.core.stream.kinds import is_of_a_kind
from sseproxy.http1.policy import READ_OFF
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.asgi.heads import content_fields, is_last, with_connection
from sseproxy.proxy.asgi.pieces import WaitingPieces
from sseproxy.proxy.asgi.server_wait import ServerWait
from sseproxy.proxy.asgi.stages import BREAKING, BROKEN, FINISHING, GONE, OPEN, OVER, SETTLING, UNENDED, Stage
from sseproxy.proxy.port import ClientConnection

#: Bytes that may wait for the server before the upstream is paused, though `send` has not had to wait yet.
_MOST_WAITING = 64 * 1024


# Strategy. The proxy writes synchronously, and a server's `send` is awaited. So what is written waits in a queue, and
# one coroutine, `transmit`, hands it to the server: in the app's own call, where a middleware in front finds its task,
# its context and its cancel scopes. `stages` has how far it is.
#
# Rules
# 1. Messages go out in the order in which they were written, and the end behind all; nothing behind OVER, BROKEN, GONE.
# 2. The client takes no more (`pause_writing`) as soon as `send` has to wait, or too much waits for it; it takes more
#    (`resume_writing`) when the server has all there was.
# 3. BROKEN: the app raises, and the server breaks the connection. It must not return: a middleware in front would
#    complete the response for it.
# 4. A head without a body behind it is followed by an empty piece: some servers keep a head back until then. One that
#    has no body is complete with its head, whatever is written behind it.
# 5. SETTLING: the last message waits for the end of the request body, though not for long.
#
# Hazards
# - A `send` that waits for a client that takes nothing waits for ever: `abort_at_once` breaks the wait off.
# - An upstream that may go on has more at once: `write` comes from within `resume_writing`.


class AsgiResponse:
    """A `ClientResponse` by an ASGI server's `send`.

    ask: asks for the request body. read_off: see `RequestReceiver`. is_http1: its version has fields about connections.
    has_begun: the server has the head.
    """

    __slots__ = (
        "_ask",
        "_breaks_late",
        "_connection",
        "_flushed",
        "_has_body",
        "_head",
        "_held",
        "_is_asked",
        "_is_blocked",
        "_is_http1",
        "_is_live",
        "_linger",
        "_queue",
        "_read_off",
        "_send",
        "_sending",
        "_stage",
        "_wait",
        "_wake",
        "has_begun",
        "keep_alive",
        "status",
        "treatment",
    )

    raw = None

    def __init__(
        self,
        connection: ClientConnection,
        send: Send,
        *,
        ask: Callable[[], object],
        read_off: Callable[[], "asyncio.Future[None] | None"],
        is_http1: bool = True,
    ) -> None:
        self._connection = connection
        self._send = send
        self._ask = ask
        self._read_off: Callable[[], asyncio.Future[None] | None] | None = read_off
        self._is_http1 = is_http1
        self._is_asked = self._is_blocked = self._is_live = self._breaks_late = False
        self._held: Message | None = None  # a head that waits for its body
        self._head: Message | None = None
        self._has_body = True
        self._queue = WaitingPieces()
        self._sending = 0  # bytes in the server's `send`
        self._stage = OPEN
        self._wait: ServerWait | None = None
        self._wake: asyncio.Future[None] | None = None
        self._flushed: asyncio.Future[None] | None = None
        self._linger = 0.0
        self.has_begun = False
        self.treatment = ResponseTreatment()
        self.keep_alive = True
        self.status: int | None = None

    def begin(self, _: ClientConnection, treatment: ResponseTreatment) -> "AsgiResponse":
        """Take the treatment; the factory that a handler is given."""
        self.treatment = treatment
        self.keep_alive = treatment.keep_alive
        self._linger = treatment.linger
        return self

    @property
    def started(self) -> bool:
        """Whether a head has been sent."""
        return self.status is not None

    # The proxy's side.

    def send_head(
        self, status: int, reason: bytes, headers: Headers, *, length: int | None, has_body: bool, hold: bool = False
    ) -> None:
        """Send the head. length: of the body, if `headers` declare one; else the server chooses the framing."""
        del reason  # ASGI has no place for it
        self.status = status
        treatment, is_head = self.treatment, self.treatment.is_head
        fields = content_fields(status, treatment.fields(headers), length=length, has_body=has_body, is_head=is_head)
        self._has_body = has_body and not is_head
        is_stream = self._has_body and (self._breaks_late or is_of_a_kind(fields))
        has_content = self._has_body and length != 0
        if is_last(status, treatment, has_content=has_content, was_asked=self._is_asked, is_stream=is_stream):
            self.keep_alive = False
        # Hazard: Node's fetch takes each end of a response that says ``Connection: close`` for a clean one.
        keeps = self.keep_alive or is_stream
        fields = with_connection(status, fields, keep_alive=keeps, is_http1=self._is_http1)
        message = {"type": "http.response.start", "status": status, "headers": fields}
        if hold:
            self._held = message
        else:
            self._head = message
        if not self._has_body:
            self.finish()
        elif not hold:
            self._wake_up()

    def send_whole(
        self, status: int, reason: bytes, headers: Headers, body: bytes, *, length: int | None, has_body: bool
    ) -> None:
        """Send head, body and end; see `send_head`."""
        self.send_head(status, reason, headers, length=length, has_body=has_body, hold=True)
        if body:
            self.write(body)
        self.finish()

    def announce_trailer(self, name: bytes, value: Callable[[], bytes]) -> None:
        """Take note that what follows may break late; hardly any server takes a trailer from its app."""
        self._breaks_late = True

    def release_head(self) -> None:
        """Send the head, if it was held and is still here."""
        if self._held is not None:
            self._head, self._held = self._held, None
            self._wake_up()

    def send_tunnel_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Not to be called: ASGI's ``http`` has no 101, and `raw` says so."""
        raise AssertionError("a tunnel needs a raw connection")

    def send_continue(self) -> None:
        """Ask for the request body: the server does, when it is received."""
        if not self._is_asked:
            self._is_asked = True
            self._ask()

    def make_live(self) -> None:
        """Note that the response is a stream: its broken end waits until the client has read what came before it."""
        self._is_live = True

    def write(self, data: bytes) -> None:
        if self._stage is not OPEN or not self._has_body:
            return
        if self._held is not None:
            self.release_head()
        self._queue.append(data)
        if self._wake is not None:
            self._wake_up()
        if self._queue.size > _MOST_WAITING:
            self._block()

    @property
    def has_unsent(self) -> bool:
        """Whether the server has not taken everything yet."""
        return not self._is_flushed if self._stage is OPEN else self.is_under_way

    def unsent(self) -> int:
        """Bytes that the server has not taken; what it has taken and not sent, it does not say."""
        return self._queue.size + self._sending

    def acknowledged(self) -> int | None:
        return None  # only the server could know

    # Ending.

    def finish(self) -> None:
        if self._stage is OPEN:
            self.release_head()
            self._stage = FINISHING
            self._wake_up()

    def announce_end(self) -> None:
        """Say with the head that no other response follows on the connection, if it is not out yet and can say so."""
        if not self.started:
            self.treatment = replace(self.treatment, is_last=True)

    def close_behind(self) -> None:
        """Let no other request follow this one."""
        self.keep_alive = False

    def skip_linger(self) -> None:
        """Do not stay open behind a stream that breaks: the process ends."""
        self._linger = 0.0

    def abort(self) -> None:
        self.keep_alive = False
        if self._stage is OPEN:
            self.release_head()
            self._stage = BREAKING
            self._wake_up()

    async def wait_until_flushed(self, limit: float | None) -> None:
        """Wait until the server has taken everything; abort if it takes nothing for `limit` seconds."""
        unsent, loop = self.unsent(), asyncio.get_running_loop()
        while self.has_unsent and not (self._stage is BREAKING and self._is_flushed):
            self._flushed = loop.create_future()
            done, _ = await asyncio.wait({self._flushed}, timeout=limit)
            before, unsent = unsent, self.unsent()
            if not done and unsent >= before:
                self.abort_at_once()
        if self._stage is BREAKING:
            if self._is_live and self._linger:
                await asyncio.sleep(self._linger)  # a client that leaves ends it: the request is cancelled
            self.abort_at_once()

    def abort_at_once(self) -> None:
        """End the response now, and break it if the server does not have all of it."""
        self.keep_alive = False
        self._end(BROKEN)

    # The server's side.

    @property
    def is_under_way(self) -> bool:
        """Whether a client that leaves now does not get all of it."""
        return self._stage in UNENDED and self._stage is not SETTLING

    @property
    def is_complete(self) -> bool:
        """Whether the server has all of it."""
        return self._stage is OVER

    @property
    def is_broken(self) -> bool:
        """Whether the app has to raise: the client must not take it for complete."""
        return self._stage is BROKEN

    def lose(self) -> None:
        """Send nothing any more: the client has left."""
        self._end(GONE)

    async def transmit(self) -> None:
        """Hand everything to the server, until the response has ended in any way. Raises what the server raises."""
        queue, send = self._queue, self._send
        while True:
            rest: asyncio.Future[None] | None = None
            if self._head is not None:
                message, self._head = self._head, None
                self.has_begun = True
                if not queue and self._stage is OPEN:
                    queue.append(b"")  # rule 4
            elif queue or self._stage is FINISHING or self._stage is SETTLING:
                data = queue.take()
                self._sending = len(data)
                more = self._stage is OPEN or self._stage is BREAKING or bool(queue)
                if not more and self._read_off is not None:
                    rest, self._read_off = self._read_off(), None
                message = {"type": "http.response.body", "body": data, "more_body": more or rest is not None}
            elif self._stage is OPEN or self._stage is BREAKING:
                wake = self._wake = asyncio.get_running_loop().create_future()
                self._note_flushed()
                await wake
                continue
            else:
                return
            steps = send(message).__await__()  # most calls do not wait, and then need no further coroutine
            waited_for = next(steps, DONE)
            if waited_for is not DONE:
                await self._wait_for_server(steps, waited_for)
            self._sending = 0
            if not message.get("more_body", True):
                self._end(OVER)
            elif rest is not None and self._stage is FINISHING:
                await self._settle(rest)

    # Private.

    async def _wait_for_server(self, steps: Generator[Any, Any, None], waited_for: Any) -> None:
        loop = asyncio.get_running_loop()  # nothing else would abort the last call
        limit = loop.call_later(READ_OFF, self.abort_at_once) if self._stage is SETTLING else None
        self._wait = ServerWait(self._block)
        try:
            await self._wait.run(steps, waited_for)
        finally:
            self._wait = None  # it leads back here
            if limit is not None:
                limit.cancel()

    async def _settle(self, rest: "asyncio.Future[None]") -> None:
        """Rule 5."""
        wake = self._wake = asyncio.get_running_loop().create_future()
        self._stage = SETTLING
        self._note_flushed()
        await asyncio.wait((rest, wake), timeout=READ_OFF, return_when=asyncio.FIRST_COMPLETED)

    def _block(self) -> None:
        if not self._is_blocked:
            self._is_blocked = True
            flow = self._connection.flow
            if flow is not None:
                flow.pause_writing()

    @property
    def _is_flushed(self) -> bool:
        return not (self._queue or self._sending or self._head is not None)

    def _note_flushed(self) -> None:
        """The server has all there was."""
        if self._flushed is not None and not self._flushed.done():
            self._flushed.set_result(None)
        if self._is_blocked:
            self._is_blocked = False
            flow = self._connection.flow
            if flow is not None and self._stage in UNENDED:
                flow.resume_writing()

    def _end(self, stage: Stage) -> None:
        if self._stage in UNENDED:
            self._stage = stage
            self._queue.clear()
            self._head = self._held = None
            if stage is not OVER and self._wait is not None:
                self._wait.abort()
            self._note_flushed()
            self._wake_up()

    def _wake_up(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():  # the server may have cancelled the app's call
            wake.set_result(None)
