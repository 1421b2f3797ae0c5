"""What does one client of a run get, from the head to the end? (docs/journal.md)"""

import asyncio
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from sseproxy.core.errors import PositionGone, SSEProxyError, UpstreamBroken
from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.rules import Ids
from sseproxy.core.journal.run import RunEnd
from sseproxy.core.routes import Route
from sseproxy.core.stream.clients import find_client
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import EVENT_STREAM
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.request import StreamRequest
from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.observer import JournalReading
from sseproxy.engine.relay import Relay
from sseproxy.origins.exchange import HttpExchange
from sseproxy.proxy.answering import Answering
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.inbound import InboundRequest
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.refusal import first_of
from sseproxy.proxy.tail import ResponseTail
from sseproxy.runs.desk import Complete, Desk, How, Join
from sseproxy.runs.live_run import Attendance, LiveRun
from sseproxy.runs.terms import Refusal

_LOCATION = b"Content-Location"


class Reading:
    """The response of one client of a run.

    position: what the client has named. key: that of the run, where its URL has one.
    """

    # Plan: `serve` waits until the run has a head, as long as `before_response` lets it, and then sends that head and
    # connects a reader with the relay. A run that is refused answers its client with what the upstream has said.
    #
    # Invariants:
    # 1. The attendance of the run is the tail's, so it ends with the response, however that ends.
    # 2. A client that takes no ids hears of no gap: it is refused before the head, and broken off behind it.
    # 3. The idle timeout, and how long an answer may take, are the producer's. All else is this client's own.
    #
    # Hazard: an `EventSource` comes back behind each end. So one that comes back to a run which has ended badly gets
    # the position of the end, with the error or by itself, and a clean end: the next time it is answered 204.

    __slots__ = ("_answering", "_desk", "_inbound", "_key", "_position", "_route", "_tail", "_wanted")

    def __init__(
        self,
        inbound: InboundRequest,
        route: Route,
        tail: ResponseTail,
        wanted: StreamRequest,
        answering: Answering,
        *,
        desk: Desk,
        position: bytes | None,
        key: bytes | None = None,
    ) -> None:
        self._inbound = inbound
        self._route = route
        self._tail = tail
        self._wanted = wanted
        self._answering = answering
        self._desk = desk
        self._position = position
        self._key = key

    @property
    def takes_ids(self) -> bool:
        """True if the client gets the positions of events as their ids, and hears of gaps (J5)."""
        assert self._route.journal is not None
        ids, client = self._route.journal.ids, find_client(self._inbound.client_fields)
        if ids is not Ids.AUTO or (client is not None and not client.takes_ids):
            return ids is Ids.ALWAYS
        return self._position is not None or self._wanted.accepts_only_streams

    async def serve(self, join: Join, attendance: Attendance, *, opener: RunUpstream | None = None) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it.

        attendance: of the run, which is this client's. opener: what asks the upstream, if the request has opened the
        run: then the client gets the whole head.
        """
        run, tail = join.run, self._tail
        tail.exchange = attendance
        if join.missing is not None and not self.takes_ids:
            raise PositionGone("What the request names, or the beginning of it, is no longer kept.")
        tail.admit(self._route)
        early = None
        if not run.opened.done():
            early = await self._wait(run)
        if early is not None and early.relay.ended.done():
            return
        if run.state.head is None:
            await self._refuse(run, early)
            return
        if early is None:
            relay = self._send_head(run, None if opener is None else opener.first_fields)
        else:
            early.receive_stream()
            relay = early.relay
        self._connect(relay, join)
        tail.downstream.release_head()

    def answer_complete(self, complete: Complete) -> None:
        """Answer a client that lacks nothing of a run which has ended (J8). Raises `PositionGone`."""
        run = complete.run
        if self._wanted.is_browser:
            self._tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
        elif run.state.end is not None and not run.state.end.is_clean:
            raise PositionGone("The run has ended, and the request names its end.")
        else:
            self._tail.admit(self._route)
            relay = self._send_head(run, None)
            self._tail.downstream.release_head()
            relay.receive_eof()

    # Private.

    async def _wait(self, run: LiveRun) -> EarlyAnswer | None:
        """Wait for the head of a run. Return what was promised to the client, if it had to be answered before."""
        wait = self._route.heartbeat.before_response
        if not self._wanted.declares:
            wait = None
        await first_of(run.opened, within=wait)
        if run.opened.done():
            return None
        early = self._answering.promise(self._plan())
        await first_of(run.opened, early.relay.ended)
        return early

    def _plan(self) -> StreamPlan:
        plan = self._wanted.plan()
        duration = None if plan.is_answer else plan.timeouts.max_duration
        return replace(plan, timeouts=replace(plan.timeouts, idle=None, max_duration=duration))

    def _send_head(self, run: LiveRun, first_fields: Headers | None) -> Relay:
        head, tail = run.state.head, self._tail
        assert head is not None
        fields = self._answering.stream_fields(head.fields if first_fields is None else first_fields)
        assert self._route.journal is not None
        resume = self._route.journal.resume
        value = self._key if resume.is_by_key else run.name
        if value is not None:
            fields = [*fields, (_LOCATION, resume.url(value))]
        tail.record.status = tail.record.intended = head.status
        tail.downstream.send_head(head.status, head.reason, fields, length=None, has_body=True, hold=True)
        message = self._answering.end_message()
        return tail.new_relay(self._route, kind=EVENT_STREAM, plan=self._plan(), end_message=message)

    def _connect(self, relay: Relay, join: Join) -> None:
        run = join.run
        assert self._route.journal is not None
        takes_ids = self.takes_ids
        flavour = Flavour(has_ids=takes_ids, prefix=run.state.prefix, gap=self._route.journal.gap)
        has_primer = takes_ids and self._wanted.is_browser and not run.state.is_named
        reader, place = run.join(
            relay,
            join.mark,
            join.missing,
            flavour,
            named=self._position or b"",
            has_primer=has_primer,
            on_end=partial(self._end, relay, run, join.how),
        )
        self._desk.note_reader(run, join)
        self._tail.note_journal(JournalReading(reader, join.how is How.RESUMED, join.how, place, join.mark))
        relay.connect(reader)

    def _end(self, relay: Relay, run: LiveRun, how: How) -> None:
        """The client has all of a run that has ended."""
        end, session = run.state.end, relay.transfer
        assert end is not None
        assert isinstance(session, StreamSession)
        if end.is_clean:
            relay.receive_eof()
            return
        position = run.state.position(end.mark) if self.takes_ids else b""
        is_last_time = how is How.RESUMED and self._wanted.is_browser
        relay.apply(partial(_end_badly, session, end, position, is_last_time))

    async def _refuse(self, run: LiveRun, early: EarlyAnswer | None) -> None:
        """Answer with what the upstream has answered in place of a stream."""
        refusal, tail = run.take_refused(), self._tail
        if isinstance(refusal, HttpExchange):
            if tail.exchange is not None:
                tail.exchange.abort()
            tail.exchange = refusal
        if early is not None:
            if isinstance(refusal, HttpExchange):
                tail.respond(refusal)
            await _refuse_late(early, refusal, run)
        elif isinstance(refusal, HttpExchange):
            await self._answering.answer(refusal)
        elif isinstance(refusal, Refusal):
            self._answering.answer_copy(refusal)
        elif isinstance(refusal, SSEProxyError):
            raise refusal
        elif run.state.end is not None and run.state.end.is_clean:
            tail.answer_with_nothing(HTTPStatus.NO_CONTENT)  # it was stopped
        else:
            raise UpstreamBroken("The run has ended before it had begun.", proxy_status="http_response_incomplete")


async def _refuse_late(
    early: EarlyAnswer, refusal: HttpExchange | Refusal | SSEProxyError | None, run: LiveRun
) -> None:
    """The same to a client that was promised a stream."""
    if isinstance(refusal, HttpExchange):
        await early.join(refusal)
    elif isinstance(refusal, Refusal):
        early.refuse(_as_error(refusal))
    elif isinstance(refusal, SSEProxyError):
        early.fail(refusal)
    else:
        early.relay.stop(run.end_reason)


def _end_badly(session: StreamSession, end: RunEnd, position: bytes, is_last_time: bool) -> None:
    now = asyncio.get_running_loop().time()
    session.name_end(position)
    if is_last_time:
        session.receive_past_end(end.reason, now=now)
    else:
        session.receive_error(end.reason, now=now)


def _as_error(refusal: Refusal) -> StreamError:
    return StreamError(
        type="upstream_response",
        status=refusal.status,
        detail=f"The upstream answered {refusal.status} {refusal.reason.decode('latin-1')}".rstrip() + ".",
        body=refusal.body,
    )
