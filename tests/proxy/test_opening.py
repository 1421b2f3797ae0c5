"""Does a request reach its upstream without its client, and does nothing of it stay without an owner?"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from sseproxy.core.errors import BadRequest, ConnectError, RequestTooLarge
from sseproxy.core.http.fields import Peer
from sseproxy.core.journal.rules import JournalPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.admissions import Admissions
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.observer import AccessRecord
from sseproxy.http1.content import RequestContent
from sseproxy.http1.requests import ParsedRequest
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.inbound import ClientRequest, read_request
from sseproxy.proxy.journal.upstream import RunUpstream
from sseproxy.proxy.opening import Opening, Progress, cancel
from sseproxy.proxy.tail import ResponseTail
from tests.support.journal_policies import answer, feed
from tests.support.patience import LIMIT
from tests.support.raw_upstream import RawUpstream, Visit, replies
from tests.support.settled import eventually
from tests.support.unreachable import Unreachable

PEER = Peer("192.0.2.1", "http", False)
HOST = (b"Host", b"a.test")
CHUNKED = (b"Transfer-Encoding", b"chunked")


class Asked:
    """A client's response, of which an opening needs no more than this."""

    def __init__(self) -> None:
        self.times = 0

    def send_continue(self) -> None:
        self.times += 1


@dataclasses.dataclass
class Stand:
    """An upstream, and what leads there."""

    upstream: RawUpstream
    origin: HttpOrigin
    downstream: Asked = dataclasses.field(default_factory=Asked)

    def opening(
        self,
        *fields: tuple[bytes, bytes],
        method: str = "POST",
        target: str = "/a",
        content: RequestContent | bytes | None = None,
        journal: JournalPolicy | None = None,
        limits: LimitPolicy = LimitPolicy(),
        timeouts: TimeoutPolicy = TimeoutPolicy(),
    ) -> Opening:
        inbound = read_request(ParsedRequest(method, target, "1.1", [HOST, *fields], upgrades=False))
        route = Route("r", PLACE, journal=journal, limits=limits, timeouts=timeouts)
        record = AccessRecord(PEER.address, method, target, 0.0, "id-1")
        tail = ResponseTail(cast(Any, None), cast(Any, self.downstream), record, LiveStreams(), Admissions())
        request = ClientRequest(inbound, content, PEER, PEER.address)
        return Opening(request, route, self.origin, tail, wanted=inbound.stream_request(route), via=b"x")


PLACE = Upstream("http", "127.0.0.1", 9000)


@contextlib.asynccontextmanager
async def stand(script: Any = None) -> AsyncIterator[Stand]:
    async with RawUpstream.serve(script or replies()) as upstream:
        origin = HttpOrigin(dataclasses.replace(PLACE, port=upstream.port))
        yield Stand(upstream, origin)
        await origin.close()


def content_of(*pieces: bytes, is_complete: bool = True) -> RequestContent:
    content = RequestContent(lambda _: None)
    for piece in pieces:
        content.feed(piece)
    if is_complete:
        content.end()
    return content


# A request that is sent.


async def test_it_is_sent_once_it_is_opened() -> None:
    async with stand() as on:
        opening = on.opening(method="GET")
        before = opening.progress
        assert opening.body_ended is None
        exchange = await opening.open()
        assert exchange.head.status == 200
        assert (before, opening.progress) == (Progress.NOT_SENT, Progress.SENT)
        [request] = on.upstream.requests
        assert request.first_line == b"GET /a HTTP/1.1"
        assert request.one(b"X-Request-Id") == b"id-1"


async def test_an_upstream_that_is_away_has_heard_nothing() -> None:
    with Unreachable() as away:
        port = int(away.refusing_url.rpartition(":")[2])
        origin = HttpOrigin(dataclasses.replace(PLACE, port=port))
        opening = Stand(cast(Any, None), origin).opening(method="GET", timeouts=TimeoutPolicy(connect_retry=None))
        with pytest.raises(ConnectError):
            await opening.open()
        assert opening.progress is Progress.UNREACHABLE


async def test_what_is_refused_before_it_is_sent() -> None:
    async with stand() as on:
        opening = on.opening(
            (b"Content-Length", b"6"), content=content_of(b"123456"), limits=LimitPolicy(request_body=5)
        )
        with pytest.raises(RequestTooLarge):
            await opening.open()
        assert opening.progress is Progress.NOT_SENT
        assert on.upstream.visits == []


async def test_a_body_that_was_sent_is_let_go() -> None:
    async with stand() as on:
        opening = on.opening((b"Content-Length", b"5"), content=content_of(b"hello"))
        assert opening.body_ended is not None
        await opening.open()
        assert opening.body_ended is None
        assert on.upstream.requests[0].body == b"hello"


async def test_an_exchange_without_an_owner_is_aborted() -> None:
    """The upstream answers in the moment in which the opening is cancelled: the task is done, and was never awaited."""
    async with stand(replies(b"HTTP/1.1 200 OK\r\n\r\n")) as on:
        task = asyncio.create_task(on.opening(method="GET").open())
        await asyncio.wait({task}, timeout=LIMIT)
        cancel(task)
        assert not task.cancelled()
        await (await on.upstream.visit()).wait_closed()


async def test_an_opening_that_is_cancelled_ends_its_request() -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()
        await visit.closed.wait()

    async with stand(silent) as on:
        task = asyncio.create_task(on.opening(method="GET").open())
        visit = await on.upstream.visit()
        await visit.wait_received(b"\r\n\r\n")
        cancel(task)
        await visit.wait_closed()
        assert task.cancelled()


async def test_a_run_that_ends_as_its_upstream_answers_leaves_no_exchange() -> None:
    async with stand(replies(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")) as on:
        opening = on.opening(method="GET", journal=feed())
        task = asyncio.create_task(opening.open())
        task.add_done_callback(lambda _: bringing.cancel())  # before the run hears of it
        bringing = asyncio.create_task(RunUpstream(opening, Route("r", PLACE)).opened_by(task))
        await asyncio.wait({bringing}, timeout=LIMIT)
        assert bringing.cancelled()
        assert not task.cancelled()
        await (await on.upstream.visit()).wait_closed()


# A body that is looked at before it is sent.


@pytest.mark.parametrize("framing", [(b"Content-Length", b"10"), CHUNKED])
async def test_a_body_is_collected_and_goes_on(framing: tuple[bytes, bytes]) -> None:
    async with stand() as on:
        content = content_of(b"01234", is_complete=False)
        opening = on.opening(framing, (b"Expect", b"100-continue"), content=content)
        collecting = asyncio.create_task(opening.collect_body(10))
        await eventually(lambda: on.downstream.times == 1)
        content.feed(b"56789")
        await asyncio.sleep(0)
        assert not collecting.done()
        content.end()
        assert await collecting == b"0123456789"
        assert on.upstream.visits == []
        await opening.open()
        assert on.upstream.requests[0].body == b"0123456789"
        assert on.downstream.times == 1


async def test_a_larger_body_goes_on_as_it_comes() -> None:
    async with stand() as on:
        content = content_of(b"01234", is_complete=False)
        opening = on.opening(CHUNKED, content=content)
        collecting = asyncio.create_task(opening.collect_body(7))
        content.feed(b"56789")
        assert await collecting is None
        opened = asyncio.create_task(opening.open())
        await (await on.upstream.visit()).wait_received(b"56789\r\n")
        content.feed(b"rest")
        content.end()
        await opened
        assert on.upstream.requests[0].body == b"0123456789rest"


async def test_a_larger_body_that_is_all_here_goes_on_whole() -> None:
    async with stand() as on:
        content = content_of(b"01234", is_complete=False)
        opening = on.opening((b"Content-Length", b"10"), content=content)
        assert await opening.collect_body(4) is None  # by its length: nothing was read
        content.feed(b"56789")
        content.end()
        await opening.open()
        assert on.upstream.requests[0].body == b"0123456789"


@pytest.mark.parametrize("size", [0, 7, 8])
async def test_the_largest_body_that_is_collected(size: int) -> None:
    async with stand() as on:
        body = bytes(size)
        for content in (body, content_of(*([body] if body else []))):
            opening = on.opening(CHUNKED, content=content)
            assert await opening.collect_body(7) == (body if size <= 7 else None)
            await opening.open()
            assert on.upstream.requests[-1].body == body


async def test_no_body_is_none() -> None:
    async with stand() as on:
        assert await on.opening(method="GET").collect_body(7) is None


async def test_a_body_that_is_refused_is_not_asked_for() -> None:
    async with stand() as on:
        content = content_of(is_complete=False)
        opening = on.opening((b"Content-Length", b"6"), content=content, limits=LimitPolicy(request_body=5))
        async with asyncio.timeout(LIMIT):
            assert await opening.collect_body(10) is None
        with pytest.raises(RequestTooLarge):
            await opening.open()
        chunked = on.opening(CHUNKED, content=content_of(b"123456"), limits=LimitPolicy(request_body=5))
        with pytest.raises(RequestTooLarge):
            await chunked.collect_body(10)


async def test_a_body_that_stops_coming() -> None:
    async with stand() as on:
        content = content_of(b"0", is_complete=False)
        opening = on.opening(CHUNKED, content=content, timeouts=TimeoutPolicy(response=0.01))
        with pytest.raises(BadRequest, match="in time"):
            await opening.collect_body(10)
        broken = on.opening(CHUNKED, content=(content := content_of(b"0", is_complete=False)))
        content.fail(BadRequest("It is malformed."))
        with pytest.raises(BadRequest, match="malformed"):
            await broken.collect_body(10)


# A route with a journal.


async def test_what_the_upstream_of_a_feed_gets() -> None:
    async with stand() as on:
        fields = [(b"Authorization", b"x"), (b"Cookie", b"a=1; s=2"), (b"Last-Event-ID", b"AAAAAAAAAAA.1-2")]
        target = "/a?b=1&last-event-id=oldest"
        opening = on.opening(*fields, method="GET", target=target, journal=feed(login="cookie:s"))
        await opening.open()
        [request] = on.upstream.requests
        assert request.first_line == b"GET /a?b=1 HTTP/1.1"
        assert request.one(b"Cookie") == b"s=2"
        assert request.one(b"Authorization") is None
        assert request.one(b"Last-Event-ID") is None


async def test_what_the_upstream_of_an_answer_gets() -> None:
    async with stand() as on:
        fields = [(b"Authorization", b"x"), (b"Cookie", b"a=1; s=2"), (b"Last-Event-ID", b"57")]
        await on.opening(*fields, target="/a?last-event-id=57", journal=answer()).open()
        [request] = on.upstream.requests
        assert request.first_line == b"POST /a?last-event-id=57 HTTP/1.1"
        assert [request.one(name) for name, _ in fields] == [value for _, value in fields]


async def test_a_feed_goes_on_behind_an_event_of_its_own() -> None:
    async with stand() as on:
        fields = [(b"last-event-id", b"57"), (b"X-A", b"1")]
        opening = on.opening(*fields, method="GET", target="/a?b=1&lastEventId=57", journal=feed())
        await opening.open()
        await opening.again(b"60").open()
        first, second = on.upstream.requests
        assert first.first_line == b"GET /a?b=1&lastEventId=57 HTTP/1.1"
        assert first.one(b"Last-Event-ID") == b"57"
        assert second.first_line == b"GET /a?b=1 HTTP/1.1"
        assert second.one(b"Last-Event-ID") == b"60"
        assert second.one(b"X-A") == b"1"
