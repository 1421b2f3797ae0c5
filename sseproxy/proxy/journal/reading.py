"""What does one client of a run get, from the head to the end? (docs/journal.md)"""

import asyncio
from functools import partial
from http import HTTPStatus

from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.run import RunEnd, RunState
from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.observer import JournalReading
from sseproxy.engine.relay import Relay
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.refused import answer_refused, position_gone, tell_refused
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.refusal import first_of
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Complete, Gone, How, Join
from sseproxy.runs.joining import join as join_run
from sseproxy.runs.live_run import Attendance, LiveRun


class Reading:
    """The response of one client of a run."""

    # Plan: `serve` waits until the run has a head, as long as `before_response` lets it, and then sends that head and
    # connects a reader with the relay. A run that is refused answers its client with what the upstream has said.
    #
    # Invariants:
    # 1. The attendance of the run is the tail's, so it ends with the response, however that ends.
    # 2. A client that takes no ids hears of no gap: it is refused before the head, and broken off behind it.
    # 3. The idle timeout, and how long an answer may take, are the producer's. All else is this client's own.
    #
    # Hazard: an `EventSource` comes back behind each end. So one that comes back to a run which has ended badly gets
    # the position of the end, with the error or by itself, and a clean end: the next time it is answered 204. So does
    # one whose run has ended well behind events without ids of their own: it would come back for these for ever.

    __slots__ = ("_client", "_desk")

    def __init__(self, client: RunClient, desk: Desk) -> None:
        self._client = client
        self._desk = desk

    async def serve(self, join: Join, attendance: Attendance, *, opener: RunUpstream | None = None) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it.

        attendance: of the run, which is this client's. opener: what asks the upstream, if the request has opened the
        run: then the client gets the whole head.
        """
        run, client = join.run, self._client
        client.tail.exchange = attendance
        if join.missing is not None and not client.takes_ids:
            raise position_gone()
        client.tail.admit(client.route)
        early = await self._wait(run, opener)
        if early is None and run.state.head is None:
            await answer_refused(run, client, is_first=opener is not None)
        elif early is None:
            relay = client.send_head(run, None if opener is None else opener.first_fields)
            self._connect(relay, join)
            client.tail.downstream.release_head()
        elif early.relay.ended.done():
            return
        elif run.state.head is None:
            await tell_refused(run, client, early)
        else:
            client.tail.respond(attendance)
            client.tail.record.intended = run.state.head.status
            early.receive_stream()
            self._connect(early.relay, join)

    def answer_without(self, finding: Complete | Gone) -> None:
        """Answer a client for which nothing is left (J8). Raises `PositionGone`."""
        client = self._client
        if isinstance(finding, Gone):
            raise position_gone()
        end = finding.run.state.end
        if end is not None and not end.is_clean and not client.wanted.is_browser:
            raise position_gone()
        if client.wanted.is_browser or finding.run.state.head is None:  # it was stopped before it had one
            client.tail.answer_with_nothing(HTTPStatus.NO_CONTENT)
        else:
            client.tail.admit(client.route)
            relay = client.send_head(finding.run, None)
            client.tail.downstream.release_head()
            relay.receive_eof()

    # Private.

    async def _wait(self, run: LiveRun, opener: RunUpstream | None) -> EarlyAnswer | None:
        """Wait for the head of a run. Return what was promised to the client, if it had to be answered before."""
        client = self._client
        if not run.opened.done():
            if client.wanted.reconnects:
                client.answering.await_stream()
            if opener is not None:
                await first_of(run.opened, opener.body_ended)
            wait = client.route.heartbeat.before_response if client.wanted.declares else None
            await first_of(run.opened, within=wait)
        if run.opened.done():
            return None
        early = client.answering.promise(client.plan())
        await first_of(run.opened, early.relay.ended)
        return early

    def _connect(self, relay: Relay, join: Join) -> None:
        run, client = join.run, self._client
        takes_ids = client.takes_ids
        flavour = Flavour(has_ids=takes_ids, prefix=run.state.prefix, gap=client.policy.gap)
        is_last_time = join.how is How.RESUMED and client.wanted.is_browser
        # A stream may go on for hours: nothing of the request goes along.
        reader, place = join_run(
            relay,
            join,
            flavour,
            named=client.position or b"",
            has_primer=takes_ids and client.wanted.is_browser and not run.state.is_named,
            on_end=partial(_end, relay, run.state, flavour, is_last_time=is_last_time),
            counts=self._desk.stats.gaps,
        )
        self._desk.note_reader(run, join)
        client.tail.note_journal(
            JournalReading(reader, join.how is How.RESUMED, join.how, place, join.mark, run.number)
        )
        relay.connect(reader)


def _end(relay: Relay, state: RunState, flavour: Flavour, *, is_last_time: bool) -> None:
    """The client has all of a run that has ended."""
    session = relay.transfer
    assert state.end is not None
    assert isinstance(session, StreamSession)
    lacks_id = state.is_named and state.window.top != state.place_of(state.last_own_id or b"")
    if state.end.is_clean and not (is_last_time and flavour.has_ids and lacks_id):
        relay.receive_eof()
        return
    position = state.position(state.end.mark) if flavour.has_ids else b""
    relay.apply(partial(_end_badly, session, state.end, position, is_last_time=is_last_time))


def _end_badly(session: StreamSession, end: RunEnd, position: bytes, *, is_last_time: bool) -> None:
    now = asyncio.get_running_loop().time()
    session.name_end(position)
    if is_last_time:
        session.receive_past_end(end.reason, now=now)
    else:
        session.receive_error(end.reason, now=now)
