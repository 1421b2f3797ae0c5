"""What does a client get of what its upstream has answered, by the rules of the route?"""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from sseproxy.core.errors import UpstreamBroken
from sseproxy.core.http.fields import Headers, apply_rules, with_request_id, without
from sseproxy.core.routes import Route
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.request import StreamRequest
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.early_json import EarlyJson
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.response_body import connect_body, read_kind
from sseproxy.proxy.tail import ResponseTail
from sseproxy.proxy.tunnel import run_tunnel

if TYPE_CHECKING:
    from sseproxy.runs.terms import ResponseCopy

#: RFC 9209 section 2.3.20.
_INCOMPLETE = "http_response_incomplete"


class Answering:
    """The response to one request of `route`.

    wanted: what it asks for. upstream_headers: what the upstream has got, or would have got, of it.
    """

    # Invariants:
    # 1. A stream takes its place (`ResponseTail.admit`) before its head is sent.
    # 2. The head is held until the first bytes of the body are there, if they came together.

    __slots__ = ("_ends", "_inbound", "_route", "_tail", "_upstream_headers", "_wanted")

    def __init__(
        self,
        inbound: InboundRequest,
        route: Route,
        tail: ResponseTail,
        wanted: StreamRequest,
        *,
        ends: RouteEnds,
        upstream_headers: Headers,
    ) -> None:
        self._inbound = inbound
        self._route = route
        self._tail = tail
        self._wanted = wanted
        self._ends = ends
        self._upstream_headers = upstream_headers

    async def answer(self, exchange: HttpExchange, *, but: Collection[bytes] = ()) -> None:
        """Answer with what the upstream has answered. but: fields that were meant for another client."""
        tail, head = self._tail, exchange.head
        if but:
            head = replace(head, headers=without(head.headers, but))
        tail.record.intended = head.status
        if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
            headers = apply_rules(head.headers, self._route.response_headers)
            await run_tunnel(exchange, headers, self._inbound.upgrade, self._route, tail)
            return
        kind, decoder = read_kind(head, self._route)
        plan, length = None, head.length
        if kind is None:
            fields = self.response_fields(head.headers)
        else:
            tail.admit(self._route)
            plan, length = self._wanted.plan(kind), None
            fields = self.stream_fields(kind.head(head.headers, decoded=decoder is not None))
        tail.record.status = head.status
        if kind is None and (body := exchange.take_whole()) is not None:
            tail.downstream.send_whole(head.status, head.reason, fields, body, length=length, has_body=head.has_body)
            tail.note_whole(self._route, len(body))
            return
        # Held: what the upstream has sent together goes on together.
        tail.downstream.send_head(head.status, head.reason, fields, length=length, has_body=head.has_body, hold=True)
        relay = tail.new_relay(
            self._route, kind=kind, plan=plan, end_message=None if kind is None else self.end_message()
        )
        connect_body(relay, exchange, decoder)
        tail.downstream.release_head()

    def answer_copy(self, copy: "ResponseCopy") -> None:
        """Answer with the beginning of a response that several clients wait for; break off where it goes on."""
        tail, fields = self._tail, without(copy.fields, {b"content-length"})
        tail.record.status = tail.record.intended = copy.status
        fields, body = self.response_fields(fields), copy.body
        if copy.is_whole:
            fields.append((b"Content-Length", b"%d" % len(body)))
            tail.downstream.send_whole(copy.status, copy.reason, fields, body, length=len(body), has_body=True)
            tail.note_whole(self._route, len(body))
            return
        tail.downstream.send_head(copy.status, copy.reason, fields, length=None, has_body=True)
        relay = tail.new_relay(self._route)
        relay.receive_data(body)
        relay.receive_error(UpstreamBroken("The rest of the response is not kept.", proxy_status=_INCOMPLETE))

    def promise(self, plan: StreamPlan | None = None) -> EarlyAnswer:
        """Promise a stream to a client that has waited long enough, and return what goes on with it.

        plan: left out, the one that the request asks for.
        """
        self._tail.admit(self._route)
        kind = self._wanted.promised_kind
        early = EarlyAnswer(kind, self._route, self._tail, self._final_message)
        early.promise(plan or self._wanted.plan(kind), self.end_message(), self.stream_fields)
        return early

    def promise_json(self) -> EarlyAnswer:
        """Promise JSON to a client that has waited long enough, and return what goes on with it."""
        early = EarlyJson(self._route, self._tail)
        early.promise_json(self._wanted, self.stream_fields)
        return early

    def await_stream(self) -> None:
        """Let a client that waits for a stream, and comes back by itself, be sent away by a drain."""
        plan = self._wanted.plan()
        if plan.comes_back:
            fields = self.stream_fields(self._wanted.promised_kind.promised_head())
            self._tail.await_stream(fields, takes_retry=plan.takes_retry)

    # What the route says.

    def response_fields(self, headers: Headers) -> Headers:
        """Return the fields of a response that passes as it is."""
        return self._inbound.for_caches(apply_rules(headers, self._route.response_headers), self._route)

    def stream_fields(self, headers: Headers) -> Headers:
        """Return the fields of a stream, whose head is made here."""
        return self.response_fields(with_request_id(headers, self._tail.record.request_id))

    def end_message(self) -> EndMessage | None:
        """Return what is written at a clean end, if the client is an `EventSource`."""
        if not self._wanted.is_event_source:
            return None
        has_event = self._wanted.drops_ids_without_data
        return self._ends.message(self._route, self._inbound, self._upstream_headers, id_has_event=has_event)

    # Private.

    @property
    def _final_message(self) -> "partial[EndMessage] | None":
        if not self._wanted.asks_again:
            return None
        has_event = self._wanted.drops_ids_without_data
        return partial(
            self._ends.final_message, self._route, self._inbound, self._upstream_headers, id_has_event=has_event
        )
