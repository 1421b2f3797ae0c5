"""How is a request sent to its upstream, and what waits for the head of the response?"""

import asyncio
from copy import copy
from enum import Enum

from sseproxy.core.errors import ConnectError, Draining, OutOfDescriptors
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import REQUEST_ID, without
from sseproxy.core.journal.passing import passed_target
from sseproxy.core.routes import Route
from sseproxy.core.stream.request import StreamRequest
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.http import HttpExchange, HttpOrigin
from sseproxy.proxy.body import new_body, request_body
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.tail import ResponseTail


class Progress(Enum):
    """What the upstream can know of a request."""

    NOT_SENT = "nothing was tried: its body is awaited, or was refused"
    SENT = "it may have reached the upstream"
    UNREACHABLE = "no connection was made, so it has not"


class Opening:
    """One request on its way along `route`, from its head to the head of the response.

    wanted: what the request asks for; its peek looks at the body. via: the name of this instance.
    headers, target: for the upstream, the target as the route gets it. progress: how far the request has come.
    """

    # Plan: made of a request, and then opened once: `open` takes the body, sends the request and returns the exchange,
    # which belongs to the caller. Where something else has to be waited for meanwhile, `open` runs in a task.
    #
    # Invariants:
    # 1. What it needs of the client's response is taken when it is made: it may outlive the client.
    # 2. A body that is all here is sent and let go. Any other needs its client until it has passed.
    # 3. An opening that has no owner any more is given to `cancel`: then no exchange is left without one.
    #
    # Hazards:
    # - an upstream that answers in the moment in which the opening is cancelled: the task then ends with an exchange,
    #   which `abort_late` aborts;
    # - a request is spent from the moment in which it may have reached the upstream. Only a connection that was never
    #   made takes that back.

    __slots__ = ("_body", "_body_length", "_method", "_origin", "_route", "headers", "progress", "target")

    def __init__(
        self,
        request: ClientRequest,
        route: Route,
        origin: HttpOrigin,
        tail: ResponseTail,
        *,
        wanted: StreamRequest,
        via: bytes,
    ) -> None:
        inbound = request.inbound
        self._route = route
        self._origin = origin
        self._method = inbound.method
        self.target = inbound.target if route.journal is None else passed_target(inbound.target)
        self._body_length = inbound.body_length
        known_as, trace = [(REQUEST_ID, tail.record.request_id.encode())], tail.record.trace
        self.headers = inbound.upstream_headers(
            route,
            request.peer,
            accepts_stream=wanted.accepts_stream,
            via=via,
            identity=request.identity,
            known_as=known_as if trace is None else known_as + trace.fields,
        )
        self._body = None
        if request.content is not None:
            ask = tail.downstream.send_continue if inbound.expects_continue else None
            self._body = new_body(request.content, route, ask=ask, peek=wanted.peek)
        self.progress = Progress.NOT_SENT

    @property
    def body_ended(self) -> asyncio.Future[None] | None:
        """Done when the last piece of the body has come, or none will. ``None``: there is no body, or it was sent."""
        return None if self._body is None else self._body.ended

    async def collect_body(self, most: int) -> bytes | None:
        """Return the whole body once it is here, before it is sent; ``None``: there is none, or more than `most` bytes.

        It goes on as ever, whatever is returned. Raises `ClientError`.
        """
        limit, length = self._route.limits.request_body, self._body_length
        if self._body is None or (length is not None and length > (most if limit is None else min(most, limit))):
            return None
        return await self._body.collect(most, within=self._route.timeouts.response)

    def again(self, last_event_id: bytes | None) -> "Opening":
        """Return the opening of the same request, which must not have a body, from behind `last_event_id`.

        Whatever position the client has named, in the query too, holds no longer. ``None``: no other does either.
        """
        opening = copy(self)
        opening.target = passed_target(self.target, None)
        named = [] if last_event_id is None else [(b"Last-Event-ID", last_event_id)]
        opening.headers = without(self.headers, {b"last-event-id"}) + named
        opening.progress = Progress.NOT_SENT
        return opening

    async def open(self) -> HttpExchange:
        """Send the request and wait for the head of its response. To be called once. Raises `SSEProxyError`."""
        route, body = self._route, None
        if self._body is not None:
            # The client has as long as the upstream would have for its answer.
            limit, within = route.limits.request_body, route.timeouts.response
            body = await request_body(self._body, self._body_length, limit=limit, within=within)
            if isinstance(body.pieces, bytes):
                self._body = None
        request = OriginRequest(self._method, route.upstream_target(self.target), self.headers, body)
        self.progress = Progress.SENT
        try:
            return await self._origin.open(request, route.timeouts)
        except (ConnectError, Draining, OutOfDescriptors):
            self.progress = Progress.UNREACHABLE
            raise
        except asyncio.CancelledError as error:
            release_frames(error)  # a task of its own may keep it
            raise


def cancel(opening: asyncio.Task[HttpExchange]) -> None:
    """Cancel an opening that has no owner any more. An exchange that it brings all the same is aborted."""
    opening.cancel()
    opening.add_done_callback(abort_late)


def abort_late(opening: asyncio.Task[HttpExchange]) -> None:
    """Abort the exchange of a task that is done, and that has no owner; an error of it has no reader."""
    if not opening.cancelled():
        try:
            opening.result().abort()
        except Exception as error:  # noqa: BLE001 - the request has ended
            release_frames(error)
