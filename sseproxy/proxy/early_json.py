"""What becomes of JSON that is promised before the upstream has answered?

See ``heartbeat.json`` in docs/configuration.md.
"""

import asyncio
from collections.abc import Callable

from sseproxy.core.http.fields import PSEUDONYM, Headers, is_json, media_type
from sseproxy.core.routes import Route
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.json_answer import JSON_ANSWER, may_be_the_answer
from sseproxy.core.stream.kinds import is_of_a_kind
from sseproxy.core.stream.late_refusal import LateRefusal
from sseproxy.core.stream.request import StreamRequest
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.origins.codings import can_decode, decoder_for
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.early import EarlyAnswer, is_success
from sseproxy.proxy.refusal import read_refusal, refused_there
from sseproxy.proxy.response_body import connect_body
from sseproxy.proxy.tail import ResponseTail


class EarlyJson(EarlyAnswer):
    """A JSON answer that a client is promised before the upstream of `route` has answered; see `JsonAnswer`."""

    # What the upstream answers, and what the client gets behind the white space:
    #
    #   JSON, a success or a failure (4xx, 5xx)   that body, decoded
    #   a success without a body (204)            null
    #   anything else, or no answer               the error object of the dialect
    #
    # Hazards: a 206, whose JSON is a part of something, and a redirect, which the client cannot follow any more: error
    # objects, whatever their bodies are. A stream, whose beginning says nothing and whose end may never come.

    __slots__ = ()

    def __init__(self, route: Route, tail: ResponseTail) -> None:
        super().__init__(JSON_ANSWER, route, tail, None)

    def promise_json(self, wanted: StreamRequest, fields: Callable[[Headers], Headers]) -> None:
        """Send the head, and white space from now on. wanted: what the request asks for. fields: see `promise`."""
        self._tail.downstream.announce_trailer(b"Proxy-Status", self.proxy_status)
        self.promise(wanted.plan(JSON_ANSWER), None, fields)

    async def join(self, exchange: HttpExchange) -> None:
        """Go on with the upstream's JSON, or tell the client what it is instead."""
        head, record = exchange.head, self._tail.record
        record.intended = head.status
        is_empty = not head.has_body or head.length == 0
        if is_success(head.status) and is_empty:
            exchange.abort()
            self._end(LateRefusal(None), CloseReason.UPSTREAM_END)
            return
        if may_be_the_answer(head.status) and not is_empty and is_json(head.headers) and can_decode(head.headers):
            self.receive_json()
            connect_body(self.relay, exchange, decoder_for(head.headers))
            return
        if is_success(head.status):
            media = media_type(head.headers) or b"no media type"
            record.error = f"the client was promised JSON, and the upstream answered with {media.decode()}"
        if is_of_a_kind(head.headers):
            exchange.abort()
            self.refuse(refused_there(head.status, head.reason, head.headers, b""))
        else:
            self.refuse(await read_refusal(exchange, self.relay.ended))

    async def follow(self, opening: asyncio.Task[HttpExchange]) -> None:
        await super().follow(opening)
        self._note_status()

    def proxy_status(self) -> bytes:
        """Return what the trailer says: the status that the client would have got (RFC 9209 section 2.1.5)."""
        self._note_status()
        record = self._tail.record
        return PSEUDONYM + b"; received-status=%d" % (record.intended or 200)

    def _note_status(self) -> None:
        """Note the status of an end that came before the upstream has answered, whether or not a trailer says so."""
        record, reason = self._tail.record, self.relay.close_reason
        if record.intended is None and reason is not None and not row(reason).is_by_client:
            record.intended = row(reason).status
