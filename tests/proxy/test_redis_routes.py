"""What does a client get of a route that leads to Redis? (docs/configuration.md, "Redis in place of an upstream")"""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, Reopen, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.journal.policy import Format, Start
from sseproxy.core.limits import KIB, LimitPolicy
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.engine.observer import AccessRecord, Observer
from sseproxy.logs import ACCESS_LOGGER
from tests.support.patience import LIMIT
from tests.support.redis_routes import EVENT_SOURCE, RedisRoutes, events, get, route_from
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """One with nothing in it."""
    server.cli("FLUSHALL")
    return server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head waits until Redis has answered, however busy the machine is."""
    monkeypatch.setattr("sseproxy.proxy.subscribe.PATIENCE", LIMIT)


class Records(Observer):
    """What is logged of each request."""

    def __init__(self) -> None:
        self.all: list[dict[str, object]] = []

    def answered(self, record: AccessRecord) -> None:
        self.all.append(record.fields())


def ids(found: list[bytes]) -> list[bytes]:
    return [line.removeprefix(b"id: ") for event in found for line in event.split(b"\n") if line.startswith(b"id: ")]


# Push.


async def test_a_message_of_a_channel_reaches_every_client(redis: RedisServer) -> None:
    async with (
        RedisRoutes.serve(redis, route_from(redis, channel="news")) as on,
        on.listening(b"/a") as first,
        on.listening(b"/a", *EVENT_SOURCE) as second,
    ):
        await on.publish("news", "hello\nworld")
        for client in (first, second):
            assert await events(client, 1) == [b"data: hello\ndata: world"]
        assert await on.cli("PUBSUB", "NUMSUB", "news") == ["news", 1]


async def test_an_entry_of_a_stream_reaches_every_client_with_its_position(redis: RedisServer) -> None:
    async with (
        RedisRoutes.serve(redis, route_from(redis, stream="news", start=Start.OLDEST)) as on,
        on.listening(b"/a") as first,
        on.listening(b"/a") as second,
    ):
        await on.cli("XADD", "news", "7-1", "data", "hello")
        for client in (first, second):
            assert await events(client, 1) == [b"id: 7-1\ndata: hello"]


@pytest.mark.usefixtures("patient")
async def test_a_client_begins_where_the_route_says(redis: RedisServer) -> None:
    redis.cli("XADD", "news", "7-1", "data", "old")
    latest = route_from(redis, stream="news", path="/latest")
    oldest = route_from(redis, stream="news", path="/oldest", start=Start.OLDEST)
    async with (
        RedisRoutes.serve(redis, latest, oldest) as on,
        on.listening(b"/oldest") as second,
        on.listening(b"/latest", *EVENT_SOURCE) as first,
    ):
        assert ids(await events(second, 1)) == [b"7-1"]
        assert await first.chunk() == b"id: 7-1\n\n"  # so that it can resume before its first event
        await on.cli("XADD", "news", "8-1", "data", "new")
        assert await events(first, 1) == await events(second, 1) == [b"id: 8-1\ndata: new"]


@pytest.mark.usefixtures("patient")
async def test_who_has_the_head_misses_nothing(redis: RedisServer) -> None:
    """Also on a channel: a page may let a message be published as soon as its stream is open."""
    async with RedisRoutes.serve(redis, route_from(redis, channel="news")) as on, on.listening(b"/a") as client:
        assert await on.cli("PUBLISH", "news", "at once") == 1
        assert await events(client, 1) == [b"data: at once"]


async def test_who_is_let_in_before_redis_can_be_read_hears_of_a_gap(redis: RedisServer) -> None:
    """Where its stream begins is not known: what was published since cannot be told from what was before."""
    route = route_from(redis, stream="news")
    async with RedisRoutes.serve(redis, route) as on:
        await eventually(lambda: on.stores.readiness(is_draining=False).away == [])
        redis.freeze()
        try:
            async with on.listening(b"/a", *EVENT_SOURCE) as client, on.listening(b"/a?last-event-id=0-0") as known:
                publishing = asyncio.create_task(on.cli("XADD", "news", "7-1", "data", "meanwhile"))
                redis.thaw()
                await publishing
                (gap,) = await events(client, 1)
                data = json.loads(gap.partition(b"data: ")[2])
                assert data == {"reason": "store", "from": None, "lost": None}
                await on.cli("XADD", "news", "8-1", "data", "later")
                seen = await events(client, 1)
                if seen[0] == b"id: 7-1\ndata: meanwhile":  # Redis was read before it had that
                    seen = seen[1:] or await events(client, 1)
                assert seen == [b"id: 8-1\ndata: later"]
                assert ids(await events(known, 2)) == [b"7-1", b"8-1"]  # its position says where it begins
        finally:
            redis.thaw()


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/a", (b"Last-Event-ID: 7-1",)),
        (b"/a?last-event-id=7-1", ()),
        (b"/a?x=y&lastEventId=7%2D1", ()),
        (b"/a?last_event_id=9-9", (b"Last-Event-ID: 7-1",)),
    ],
)
async def test_a_client_that_names_its_position_goes_on_there(
    target: bytes, fields: tuple[bytes, ...], redis: RedisServer
) -> None:
    for number in (1, 2, 3):
        redis.cli("XADD", "news", f"7-{number}", "data", str(number))
    route = route_from(redis, stream="news")
    async with RedisRoutes.serve(redis, route) as on, on.listening(target, *fields) as client:
        assert ids(await events(client, 2)) == [b"7-2", b"7-3"]


async def test_several_streams_have_one_position(redis: RedisServer) -> None:
    redis.cli("XADD", "one", "5-1", "data", "1")
    redis.cli("XADD", "two", "6-1", "data", "2")
    route = route_from(redis, stream="one two", start=Start.OLDEST)
    async with RedisRoutes.serve(redis, route) as on:
        async with on.listening(b"/a") as client:
            found = ids(await events(client, 2))
        assert found[-1] == b"V.5-1.6-1"
        await on.cli("XADD", "one", "5-2", "data", "3")
        async with on.listening(b"/a", b"Last-Event-ID: " + found[-1]) as client:
            assert await events(client, 1) == [b"id: V.5-2.6-1\ndata: 3"]


async def test_a_position_of_another_stream_is_told(redis: RedisServer) -> None:
    redis.cli("XADD", "news", "7-1", "data", "1")
    async with (
        RedisRoutes.serve(redis, route_from(redis, stream="news")) as on,
        on.listening(b"/a?last-event-id=999-1") as client,
    ):
        gap, event = await events(client, 2)
        assert b"event: gap" in gap
        assert json.loads(gap.partition(b"data: ")[2]) == {"reason": "unknown", "from": "999-1", "lost": None}
        assert event == b"id: 7-1\ndata: 1"


async def test_formats(redis: RedisServer) -> None:
    routes = [
        route_from(redis, channel="c", path="/json", format=Format.JSON),
        route_from(redis, channel="f", path="/flask", format=Format.FLASK_SSE),
    ]
    async with (
        RedisRoutes.serve(redis, *routes) as on,
        on.listening(b"/json") as first,
        on.listening(b"/flask") as second,
    ):
        await on.publish("c", '{"data": {"a": 1}, "event": "x", "retry": 5}')
        assert await events(first, 1) == [b'event: x\ndata: {"a":1}\nretry: 5']
        await on.publish("f", '{"data": {"a": 1}, "type": "x"}')
        assert await events(second, 1) == [b'event: x\ndata: {"a": 1}']


async def test_an_event_that_is_too_large_is_skipped(redis: RedisServer) -> None:
    route = route_from(redis, channel="news", limits=LimitPolicy(event=100))
    async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a") as client:
        await on.publish("news", "x" * 200)
        await on.publish("news", "small")
        assert await events(client, 1) == [b"data: small"]


# The head, and methods.


async def test_the_head_is_that_of_a_stream_that_nothing_keeps(redis: RedisServer) -> None:
    rules = HeaderRules((("X-Own", "1"),), ("X-Accel-Buffering",))
    async with (
        RedisRoutes.serve(redis, route_from(redis, channel="news", response_headers=rules)) as on,
        on.proxy.connect() as client,
    ):
        await client.send(get(b"/a"))
        head = await client.head()
        assert head.status == 200
        assert head.one(b"Content-Type") == b"text/event-stream"
        assert head.one(b"Cache-Control") == b"no-store, no-cache, no-transform"
        assert (head.one(b"X-Own"), head.one(b"X-Accel-Buffering")) == (b"1", None)


async def test_a_head_is_all_that_a_head_request_gets(redis: RedisServer) -> None:
    route = route_from(redis, channel="news", limits=LimitPolicy(streams=1))
    async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a"), on.proxy.connect() as client:
        for _ in range(2):
            response = await client.ask(get(b"/a", method=b"HEAD"), to_head=True)
            assert (response.status, response.one(b"Content-Type")) == (200, b"text/event-stream")


@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"OPTIONS"])
async def test_what_is_not_reading_is_refused(method: bytes, redis: RedisServer) -> None:
    tickets = TicketPolicy()
    async with RedisRoutes.serve(redis, route_from(redis, channel="news", tickets=tickets)) as on:
        for target in (b"/a", b"/_tickets/a"):
            async with on.proxy.connect() as client:
                response = await client.ask(get(target, b"Content-Length: 0", method=method))
                assert (response.status, response.one(b"Allow")) == (405, b"GET, HEAD")


async def test_a_body_that_comes_with_a_get_is_dropped(redis: RedisServer) -> None:
    async with (
        RedisRoutes.serve(redis, route_from(redis, channel="news")) as on,
        on.listening(b"/a", b"Content-Length: 300000") as client,
    ):
        await client.send(b"x" * 300_000)
        await on.publish("news", "1")
        assert await events(client, 1) == [b"data: 1"]


# What holds for every stream.


async def test_there_is_a_limit_to_streams(redis: RedisServer) -> None:
    route = route_from(redis, channel="news", limits=LimitPolicy(streams_per_client=1))
    async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as late:
        async with on.listening(b"/a"):
            response = await late.ask(get(b"/a"))
            assert (response.status, response.one(b"Retry-After")) == (503, b"5")
        await eventually(lambda: len(on.proxy.app.admissions) == 0)
        async with on.listening(b"/a"):
            pass


async def test_heartbeats_go_out_while_redis_is_silent(redis: RedisServer) -> None:
    route = route_from(redis, channel="news", heartbeat=HeartbeatPolicy(interval=0.05))
    async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a") as client:
        for _ in range(3):
            assert await client.chunk() == b": heartbeat\n\n"
        await on.publish("news", "1")
        assert await events(client, 1) == [b"data: 1"]


async def test_pages_of_other_origins_are_told(redis: RedisServer) -> None:
    cors = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
    route = route_from(redis, channel="news", cors=cors)
    async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
        origin = b"Origin: https://app.test"
        asked = await client.ask(get(b"/a", origin, b"Access-Control-Request-Method: GET", method=b"OPTIONS"))
        assert asked.status == 204
        await client.send(get(b"/a", origin, *EVENT_SOURCE))
        head = await client.head()
        assert head.one(b"Access-Control-Allow-Origin") == b"https://app.test"


async def test_a_drain_sends_an_event_source_away_and_it_resumes_elsewhere(redis: RedisServer) -> None:
    route = route_from(redis, stream="news", start=Start.OLDEST)
    redis.cli("XADD", "news", "1-1", "data", "1")
    async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a", *EVENT_SOURCE) as client:
        (last,) = ids(await events(client, 1))
        on.proxy.app.drain(timeout=5.0, spread=0.0)
        said = b"".join([await client.chunk(), await client.chunk()])
        assert said.startswith(b"retry: ")  # and then a clean end
    redis.cli("XADD", "news", "1-2", "data", "2")
    async with (
        RedisRoutes.serve(redis, route) as other,
        other.listening(b"/a", *EVENT_SOURCE, b"Last-Event-ID: " + last) as client,
    ):
        assert ids(await events(client, 1)) == [b"1-2"]


@pytest.mark.parametrize("reopen", Reopen)
@pytest.mark.parametrize(("query", "fields"), [(b"", (b"Last-Event-ID: 1-1",)), (b"&last-event-id=1-1", ())])
async def test_a_ticket_opens_a_stream_of_redis(
    reopen: Reopen, query: bytes, fields: tuple[bytes, ...], redis: RedisServer
) -> None:
    """The names are those of the request that was kept, the position that of the client which reads."""
    for number in (1, 2):
        redis.cli("XADD", "in:ann", f"1-{number}", "data", str(number))
    route = route_from(redis, stream="in:{query:room}", tickets=TicketPolicy(reopen=reopen), start=Start.OLDEST)
    async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
        kept = await client.ask(get(b"/_tickets/a?room=ann&last-event-id=0-0"))
        assert kept.status == 201
        ticket = kept.one(b"Location") or b""
        async with on.listening(ticket + b"?room=bob" + query, *EVENT_SOURCE, *fields) as reader:
            assert ids(await events(reader, 1)) == [b"1-2"]
        await eventually(lambda: on.proxy.app.tickets.open_tickets == 0)
        async with on.proxy.connect() as again:
            await again.send(get(ticket, *EVENT_SOURCE))
            assert (await again.head()).status == (200 if reopen is Reopen.ALWAYS else 204)


async def test_a_response_that_a_cookie_names_is_private(redis: RedisServer) -> None:
    route = route_from(redis, channel="news", auth=CookieAuth("sid"))
    async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
        await client.send(get(b"/a", b"Cookie: sid=1"))
        assert b"cookie" in ((await client.head()).one(b"Vary") or b"").lower()


async def test_the_log_says_how_a_client_began(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    redis.cli("XADD", "news", "7-1", "data", "1")
    routes = [
        route_from(redis, stream="news", start=Start.OLDEST),
        route_from(redis, channel="news", path="/channel"),
    ]
    records = Records()
    with caplog.at_level(logging.INFO, ACCESS_LOGGER):
        async with RedisRoutes.serve(redis, *routes) as on:
            on.proxy.app.streams.observers.add(records)
            for number, target in enumerate([b"/a", b"/a?last-event-id=0-0", b"/a?last-event-id=999-1"]):
                async with on.listening(target) as client:
                    await events(client, 1)
                await eventually(lambda number=number: len(records.all) == number + 1)  # type: ignore[misc]
            async with on.listening(b"/channel"):
                pass
            await eventually(lambda: len(records.all) == 4)
    assert [record.get("journal") for record in records.all] == ["new", "resumed", "gap", None]
    assert {record["reason"] for record in records.all} == {"client_gone"}
    assert [record["route"] for record in records.all] == ["a", "a", "a", "channel"]
    assert "journal=resumed" in caplog.text


async def test_a_client_that_leaves_is_forgotten(redis: RedisServer) -> None:
    route = route_from(redis, channel="news")
    async with RedisRoutes.serve(redis, route) as on:
        async with on.listening(b"/a"):
            await eventually(lambda: redis.cli("PUBSUB", "NUMSUB", "news") == ["news", 1])
        await eventually(lambda: redis.cli("PUBSUB", "NUMSUB", "news") == ["news", 0])


async def test_a_client_of_a_channel_that_falls_behind_is_broken_off(redis: RedisServer) -> None:
    records = Records()
    async with RedisRoutes.serve(redis, route_from(redis, channel="news"), send_buffer=16 * KIB) as on:
        on.proxy.app.streams.observers.add(records)
        async with on.listening(b"/a") as quick, on.listening(b"/a") as slow:
            slow.shrink_receive_buffer(16 * KIB)
            slow.pause()
            for number in range(100):
                await on.publish("news", f"{number}:{'x' * 60_000}")
                assert (await events(quick, 1))[0].startswith(b"data: %d:" % number)
            await eventually(lambda: [record["reason"] for record in records.all] == ["behind"])
            slow.resume()
            assert not (await slow.rest()).endswith(b"0\r\n\r\n")


# Redis is away.


async def test_a_redis_that_comes_late_serves_those_who_wait(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as redis:
        redis.kill()
        route = route_from(redis, stream="news", start=Start.OLDEST, heartbeat=HeartbeatPolicy(interval=0.05))
        async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a", *EVENT_SOURCE) as client:
            assert await client.chunk() == b": heartbeat\n\n"
            assert on.stores.readiness(is_draining=False).away == ["redis"]
            redis.restart()
            await on.cli("XADD", "news", "1-1", "data", "1")
            assert ids(await events(client, 1)) == [b"1-1"]
            await eventually(lambda: on.stores.readiness(is_draining=False).away == [])
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_clients_stay_while_redis_is_away_and_miss_nothing() -> None:
    with RedisServer() as redis:
        route = route_from(redis, stream="news", start=Start.OLDEST, heartbeat=HeartbeatPolicy(interval=0.05))
        async with RedisRoutes.serve(redis, route) as on, on.listening(b"/a") as client:
            await on.cli("XADD", "news", "1-1", "data", "1")
            assert ids(await events(client, 1)) == [b"1-1"]
            redis.kill()
            await eventually(lambda: on.stores.readiness(is_draining=False).away == ["redis"])
            async with on.listening(b"/a?last-event-id=1-1") as late:
                redis.restart()
                await on.cli("XADD", "news", "1-2", "data", "2")
                assert ids(await events(client, 1)) == ids(await events(late, 1)) == [b"1-2"]


# Several routes.


async def test_routes_to_upstreams_and_to_redis_live_side_by_side(redis: RedisServer) -> None:
    elsewhere = Route("web", Upstream("http", "127.0.0.1", 1), Match(path="/web"))
    async with (
        RedisRoutes.serve(redis, route_from(redis, channel="news"), elsewhere) as on,
        on.listening(b"/a") as client,
        on.proxy.connect() as other,
    ):
        assert (await other.ask(get(b"/web"))).status == 502
        await on.publish("news", "1")
        assert await events(client, 1) == [b"data: 1"]
