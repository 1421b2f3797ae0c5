"""What becomes of a response that was promised as an event stream before the upstream answered? (contract S8)"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from sseproxy.core.errors import ClientError, OriginError, SSEProxyError
from sseproxy.core.http.fields import is_json
from sseproxy.core.limits import REFUSAL_TIME
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import EVENT_STREAM
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.access import AccessRecord
from sseproxy.engine.relay import Relay
from sseproxy.origins.codings import can_decode, decoder_for
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.refusal import read_refusal
from sseproxy.proxy.response_body import let_flow, read_kind

#: Statuses that a client gets again if it comes back.
_FINAL = frozenset((204, 401, 403, 404, 410))


@dataclass(frozen=True, slots=True, eq=False)
class EarlyAnswer:
    """A promised stream, which `relay` keeps alive.

    farewell: makes the block that stops a client which reconnects by itself; ``None`` for any other client.
    """

    route: Route
    relay: Relay
    record: AccessRecord
    farewell: Callable[[], EndMessage] | None

    def fail(self, error: SSEProxyError) -> None:
        """There is no response, because of `error`."""
        self.record.intended, self.record.error = error.status, str(error)
        if isinstance(error, OriginError):
            self.relay.stop(error.reason)
        elif isinstance(error, ClientError):
            self._tell(StreamError("request_error", error.status, error.detail), CloseReason.CLIENT_ERROR)
        else:
            self._tell(StreamError("unavailable", error.status, error.detail), CloseReason.CONNECT_ERROR)

    async def join(self, exchange: HttpExchange) -> None:
        """The upstream has answered: go on with its stream or its JSON, or tell the client what it is instead."""
        head, session = exchange.head, self._session
        self.record.intended = head.status
        kind, decoder = read_kind(head, self.route)
        is_whole = 200 <= head.status < 300 and head.status != HTTPStatus.PARTIAL_CONTENT
        now = asyncio.get_running_loop().time()
        if is_whole and kind is EVENT_STREAM:
            session.receive_response(now=now)
        elif is_whole and head.has_body and is_json(head.headers) and can_decode(head.headers):
            session.receive_json(now=now)
            decoder = decoder_for(head.headers)
        else:
            error = await read_refusal(exchange, self.relay.ended, within=REFUSAL_TIME)
            self._tell(error, farewell=self.farewell() if self.farewell and head.status in _FINAL else None)
            return
        self.relay.rearm()
        let_flow(self.relay, exchange, decoder)

    @property
    def _session(self) -> StreamSession:
        session = self.relay.transfer
        assert isinstance(session, StreamSession)
        return session

    def _tell(
        self,
        error: StreamError,
        reason: CloseReason = CloseReason.UPSTREAM_END,
        *,
        farewell: EndMessage | None = None,
    ) -> None:
        if self.relay.ended.done():
            return
        told = None if farewell is not None and error.status == HTTPStatus.NO_CONTENT else error
        self._session.receive_refusal(told, reason, end_message=farewell, now=asyncio.get_running_loop().time())
        self.relay.rearm()
