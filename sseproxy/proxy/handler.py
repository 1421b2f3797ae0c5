"""How is one request served, from its head to the line in the access log?"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from typing import TypeVar

from sseproxy.core.errors import InternalError, SSEProxyError
from sseproxy.core.frames import release_frames
from sseproxy.engine.observer import AccessRecord, Observers
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.logs import LOGGER
from sseproxy.proxy.port import ClientConnection, ClientResponse
from sseproxy.proxy.resolve import Refuse
from sseproxy.proxy.routing import Routing
from sseproxy.proxy.tail import ANSWER_TIME, ResponseTail

_log = logging.getLogger(LOGGER)

_Work = Coroutine[None, None, None]

Connection = TypeVar("Connection", bound=ClientConnection)


class Persistence(Enum):
    """Do connections outlive a response? (RFC 9112 section 9.3)"""

    KEPT = "each connection is for one request after the other"
    LAST = "the same, but each response that can say so ends its connection"
    ENDING = "each response ends its connection"


#: Makes the response to a request that came on a connection of this kind.
NewResponse = Callable[[Connection, ResponseTreatment], ClientResponse]


class RequestHandler:
    """Serves the requests of all clients of a process, whichever door they come in by.

    routing: for the next request; may be replaced at any time. new_tail: makes the tail of a response.
    linger: see `ResponseTreatment`. observers: hear of each request that has been answered. persistence: of
    connections, for the next request. request_ids: for requests that bring none.
    """

    # Plan: resolve, then do. `handle` hands the resolution to a coroutine, and keeps the tail only: what a request
    # brought along is gone while its stream runs. So the locals that lead to it are deleted, here and in each
    # coroutine on the way.
    #
    # Every error ends in `_serve`, and as a call of the tail: that of a request, as a response or the end of one; the
    # cancelling, by the client or from inside; and any other, which is a defect.

    def __init__(
        self,
        routing: Routing,
        new_tail: Callable[[ClientConnection, ClientResponse, AccessRecord], ResponseTail],
        *,
        linger: float,
        observers: Observers,
        request_ids: Iterator[str],
    ) -> None:
        self.under_way: set[ResponseTail] = set()
        self.persistence = Persistence.KEPT
        self.routing = routing
        self._new_tail = new_tail
        self._linger = linger
        self._observers = observers
        self._request_ids = request_ids
        self._when_idle: asyncio.Event | None = None
        self._time = asyncio.get_running_loop().time

    async def handle(
        self, new_response: NewResponse[Connection], request: ParsedRequest, connection: Connection
    ) -> ClientResponse:
        """Serve one request. It is cancelled when the client has gone."""
        peer, request_id = connection.client_address or "unix", next(self._request_ids)
        record = AccessRecord(peer, request.method, request.target, self._time(), request_id, scheme=connection.scheme)
        if self._observers.follow_requests:
            self._observers.notify(lambda observer: observer.asked(record, request.headers))
        treatment = ResponseTreatment(
            is_11=request.version == "1.1",
            is_head=request.method == "HEAD",
            keep_alive=request.keeps_alive and self.persistence is not Persistence.ENDING,
            is_last=self.persistence is Persistence.LAST,
            linger=self._linger,
        )
        routing = self.routing
        try:
            resolution = routing.resolve(request, connection, treatment, record)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the client waiting
            resolution = Refuse(treatment, None, _defect(error, record))
        request.headers = []  # a stream may go on for hours
        if resolution.route is not None:
            record.route, record.upstream = resolution.route.name, resolution.route.leads_to
        downstream = new_response(connection, resolution.treatment)
        work = routing.begin(resolution, tail := self._new_tail(connection, downstream, record))
        del resolution, routing  # a reload may come while a stream goes on
        try:
            if work is not None:
                await self._serve(work, tail)
            if downstream.has_unsent:
                await downstream.wait_until_flushed(ANSWER_TIME)
        finally:
            record.ended_at = record.ended_at or self._time()
            self._observers.notify(lambda observer: observer.answered(record))
        return downstream

    def refuse(self, new_response: NewResponse[Connection], error: SSEProxyError, connection: Connection) -> None:
        """Answer a request that could not even be read, or a connection that is one too many."""
        peer, request_id = connection.client_address or "unix", next(self._request_ids)
        record = AccessRecord(peer, "-", "-", self._time(), request_id)
        self._new_tail(connection, new_response(connection, ResponseTreatment()), record).refuse(error)
        record.ended_at = record.started_at
        self._observers.notify(lambda observer: observer.answered(record))

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way."""
        while self.under_way:
            self._when_idle = asyncio.Event()
            await self._when_idle.wait()

    # Private.

    async def _serve(self, work: _Work, tail: ResponseTail) -> None:
        self.under_way.add(tail)
        try:
            await work
        except SSEProxyError as error:
            tail.refuse(error)
            release_frames(error)
        except asyncio.CancelledError as error:
            if not tail.end_cancelled():
                raise
            release_frames(error)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the client waiting
            await tail.fail(_defect(error, tail.record))
        finally:
            self.under_way.discard(tail)
            if not self.under_way and self._when_idle is not None:
                self._when_idle.set()
            tail.close()


def _defect(error: Exception, record: AccessRecord) -> InternalError:
    """Log a defect of sseproxy, and return the error that the client gets."""
    _log.exception("unexpected error while serving %s", record.path)
    release_frames(error)
    return InternalError("An internal error occurred.", cause=repr(error))
