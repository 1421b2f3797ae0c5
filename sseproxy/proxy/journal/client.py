"""Who reads a run, and how does it want to be answered?"""

from dataclasses import dataclass, replace

from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.rules import Ids, JournalPolicy
from sseproxy.core.routes import Route
from sseproxy.core.stream.clients import find_client
from sseproxy.core.stream.kinds import EVENT_STREAM
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.request import StreamRequest
from sseproxy.engine.relay import Relay
from sseproxy.proxy.answering import Answering
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.journal.identify import position_of
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.live_run import LiveRun

_LOCATION = b"Content-Location"


@dataclass(frozen=True, slots=True)
class RunClient:
    """One client of a run of `route`, and its response.

    wanted: what it asks for. answering: how its response is made. position: what it has named. key: that of the run,
    where its URL has one.
    """

    inbound: InboundRequest
    route: Route
    tail: ResponseTail
    wanted: StreamRequest
    answering: Answering
    position: bytes | None
    key: bytes | None = None

    @classmethod
    def of(
        cls,
        inbound: InboundRequest,
        route: Route,
        tail: ResponseTail,
        *,
        wanted: StreamRequest,
        ends: RouteEnds,
        upstream_headers: Headers,
        key: bytes | None,
    ) -> "RunClient":
        """Return the client that sends a request. upstream_headers, ends: see `Answering`."""
        answering = Answering(inbound, route, tail, wanted, ends=ends, upstream_headers=upstream_headers)
        return cls(inbound, route, tail, wanted, answering, position_of(inbound), key)

    @property
    def policy(self) -> JournalPolicy:
        assert self.route.journal is not None
        return self.route.journal

    @property
    def takes_ids(self) -> bool:
        """True if the client gets the positions of events as their ids, and hears of gaps (J5)."""
        ids, client = self.policy.ids, find_client(self.inbound.client_fields)
        if ids is not Ids.AUTO or (client is not None and not client.takes_ids):
            return ids is Ids.ALWAYS
        return self.position is not None or self.wanted.accepts_only_streams

    def plan(self) -> StreamPlan:
        """Decide how the client's stream is treated. Silence, and how long an answer takes, are the producer's."""
        plan = self.wanted.plan()
        duration = None if plan.is_answer else plan.timeouts.max_duration
        return replace(plan, timeouts=replace(plan.timeouts, idle=None, max_duration=duration))

    def send_head(self, run: LiveRun, first_fields: Headers | None) -> Relay:
        """Send the head of `run`, or hold it until `release_head`, and return the relay of the stream.

        first_fields: of the head, for the client whose request has opened the run.
        """
        head, tail = run.state.head, self.tail
        assert head is not None
        fields = self.answering.stream_fields(head.fields if first_fields is None else first_fields)
        resume = self.policy.resume
        value = self.key if resume.is_by_key else run.name
        if value is not None:
            fields = [*fields, (_LOCATION, resume.url(value))]
        tail.record.status = tail.record.intended = head.status
        tail.downstream.send_head(head.status, head.reason, fields, length=None, has_body=True, hold=True)
        message = self.answering.end_message()
        return tail.new_relay(self.route, kind=EVENT_STREAM, plan=self.plan(), end_message=message)
