"""What becomes of a response that is promised as a stream before the upstream has answered?

See ``before_response`` in docs/configuration.md.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from sseproxy.core.errors import ClientError, OriginError, SSEProxyError
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Headers, is_json
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import MediaKind
from sseproxy.core.stream.late_refusal import FinalMessage, LateRefusal, late_refusal
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer
from sseproxy.origins.codings import can_decode, decoder_for
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.refusal import first_of, read_refusal, refused_here
from sseproxy.proxy.response_body import connect_body, read_kind
from sseproxy.proxy.tail import ResponseTail


class EarlyAnswer:
    """A stream of `kind` that a client is promised before the upstream of `route` has answered.

    final_message: of a client that asks again by itself; ``None`` for any other client. See `late_refusal`.
    relay: of the promised stream, from `promise` on.
    """

    # Plan: `promise` sends the head and starts the relay, whose session sends heartbeats. `follow` waits until the
    # exchange is open or the relay has ended. Then the upstream's stream or JSON goes on in the relay (`join`), and
    # anything else becomes an error event (`refuse`, `fail`). A caller may also take these steps itself.
    #
    # Invariants:
    # 1. The client has a 200 and never gets another status: what the upstream answered is in the log, and in the event.
    # 2. The relay ends every promised stream, also if the upstream never answers.
    #
    # Hazard: an `EventSource` comes back after each error. A status that it would get again stops it (`late_refusal`).

    __slots__ = ("_final_message", "_kind", "_route", "_tail", "relay")

    def __init__(self, kind: MediaKind, route: Route, tail: ResponseTail, final_message: FinalMessage | None) -> None:
        self._kind = kind
        self._route = route
        self._tail = tail
        self._final_message = final_message

    def promise(self, plan: StreamPlan, end_message: EndMessage | None, fields: Callable[[Headers], Headers]) -> None:
        """Send the head, and heartbeats from now on. fields: what the route makes of the head's."""
        record, kind = self._tail.record, self._kind
        self._tail.downstream.send_head(200, b"OK", fields(kind.promised_head()), length=None, has_body=True)
        record.status = 200
        self.relay = self._tail.new_relay(self._route, kind=kind, plan=plan, end_message=end_message, responded=False)
        self.relay.stats.last_upstream_at = record.started_at  # the silence has begun with the request

    async def follow(self, opening: asyncio.Task[HttpExchange]) -> None:
        """Wait for the upstream's answer or the end of the stream; go on with the former."""
        await first_of(opening, self.relay.ended)
        if self.relay.ended.done():
            return
        try:
            exchange = await opening
            self._tail.respond(exchange)
        except SSEProxyError as error:
            self.fail(error)
            release_frames(error)
        else:
            await self.join(exchange)

    async def join(self, exchange: HttpExchange) -> None:
        """Go on with the upstream's stream or its JSON, or tell the client what it is instead."""
        head = exchange.head
        self._tail.record.intended = head.status
        kind, decoder = read_kind(head, self._route)
        if is_success(head.status) and kind is self._kind:
            self.receive_stream()
        elif is_success(head.status) and head.has_body and is_json(head.headers) and can_decode(head.headers):
            self.receive_json()
            decoder = decoder_for(head.headers)
        else:
            self.refuse(await read_refusal(exchange, self.relay.ended))
            return
        connect_body(self.relay, exchange, decoder)

    def receive_json(self) -> None:
        """Take note that JSON comes in place of the promised stream. The caller connects its body with the relay."""
        status = self._tail.record.intended or 200
        self._session.receive_json(status=status, now=asyncio.get_running_loop().time())
        self.relay.rearm()

    def receive_stream(self) -> None:
        """Take note that the promised stream is there. The caller connects its body with the relay."""
        self._session.receive_response(now=asyncio.get_running_loop().time())
        self.relay.rearm()

    def refuse(self, error: StreamError) -> None:
        """Tell the client what the upstream has answered in place of the stream, and end the relay."""
        self._end(late_refusal(error, self._final_message), CloseReason.UPSTREAM_END)

    def fail(self, error: SSEProxyError) -> None:
        """End the relay with the error for which there is no answer of the upstream."""
        self._tail.record.refuse(error)
        if isinstance(error, OriginError):
            self.relay.stop(error.reason)
        else:
            is_by_client = isinstance(error, ClientError)
            self._end(refused_here(error), CloseReason.CLIENT_ERROR if is_by_client else CloseReason.CONNECT_ERROR)

    # Private.

    @property
    def _session(self) -> StreamTransfer:
        session = self.relay.transfer
        assert isinstance(session, StreamTransfer)
        return session

    def _end(self, refusal: LateRefusal, reason: CloseReason) -> None:
        if self.relay.ended.done():
            return
        now = asyncio.get_running_loop().time()
        self._session.receive_refusal(refusal.error, reason, end_message=refusal.end_message, now=now)
        self.relay.rearm()


def is_success(status: int) -> bool:
    """True for an answer that is, as a whole, what was asked for."""
    return 200 <= status < 300 and status != HTTPStatus.PARTIAL_CONTENT
