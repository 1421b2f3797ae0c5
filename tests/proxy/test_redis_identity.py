"""Whose streams of Redis does a client get, and can it get another's? (docs/configuration.md)"""

from collections.abc import Iterator

import pytest

from sseproxy.core.journal.policy import Start
from sseproxy.core.routes import AuthorizePolicy, Upstream
from tests.support.raw_upstream import RawUpstream, Visit, replies
from tests.support.redis_routes import RedisRoutes, events, get, route_from
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """One with nothing in it."""
    server.cli("FLUSHALL")
    return server


def whoami(service: RawUpstream) -> AuthorizePolicy:
    return AuthorizePolicy(Upstream("http", "127.0.0.1", service.port), take=(("user", "X-User"),))


def answer(*fields: bytes, line: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + line, *fields, b"Content-Length: 0"]) + b"\r\n\r\n"


async def by_cookie(visit: Visit) -> None:
    """A login service: the cookie is the user."""
    while True:
        request = await visit.request()
        user = (request.one(b"Cookie") or b"").removeprefix(b"login=")
        await visit.send(answer(b"X-User: " + user) if user else answer(line=b"401 Unauthorized"))


# By `authorize`.


async def test_everybody_gets_what_is_theirs_and_nothing_else(redis: RedisServer) -> None:
    async with RawUpstream.serve(by_cookie) as service:
        route = route_from(redis, stream="inbox:{auth:user} news", start=Start.OLDEST, authorize=whoami(service))
        async with (
            RedisRoutes.serve(redis, route) as on,
            on.listening(b"/a", b"Cookie: login=ann") as ann,
            on.listening(b"/a", b"Cookie: login=bob") as bob,
        ):
            await on.cli("XADD", "inbox:ann", "1-1", "data", "for ann")
            await on.cli("XADD", "inbox:bob", "1-1", "data", "for bob")
            assert await events(ann, 1) == [b"id: V.1-1.0-0\ndata: for ann"]
            assert await events(bob, 1) == [b"id: V.1-1.0-0\ndata: for bob"]
            await on.cli("XADD", "news", "2-1", "data", "for all")
            for client in (ann, bob):
                assert await events(client, 1) == [b"id: V.1-1.2-1\ndata: for all"]


async def test_who_is_not_let_in_gets_nothing(redis: RedisServer) -> None:
    async with RawUpstream.serve(by_cookie) as service:
        route = route_from(redis, channel="inbox:{auth:user}", authorize=whoami(service))
        async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
            for method in (b"GET", b"HEAD"):
                response = await client.ask(get(b"/a", method=method), to_head=method == b"HEAD")
                assert response.status == 401
            assert await on.cli("PUBSUB", "CHANNELS", "inbox*") == []


@pytest.mark.parametrize("user", [b"*", b"a[b]", b"{tag}", b"x" * 257])
async def test_a_user_that_is_no_name_is_the_fault_of_the_service(user: bytes, redis: RedisServer) -> None:
    async with RawUpstream.serve(replies(answer(b"X-User: " + user))) as service:
        route = route_from(redis, channel="inbox:{auth:user}", authorize=whoami(service))
        async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
            response = await client.ask(get(b"/a"))
            assert response.status == 503
            assert user not in response.head + response.body


@pytest.mark.parametrize("own", [b"X-User: bob", b"x-user: bob", b"X_User: bob"])
@pytest.mark.parametrize("template", ["in:{header:X-User}", "in:{header:X_User}"])
async def test_a_field_that_the_service_says_is_not_the_clients_to_say(
    template: str, own: bytes, redis: RedisServer
) -> None:
    """An upstream would not see the client's own either."""
    async with RawUpstream.serve(by_cookie) as service:
        route = route_from(redis, stream=template, start=Start.OLDEST, authorize=whoami(service))
        redis.cli("XADD", "in:bob", "1-1", "data", "for bob")
        async with RedisRoutes.serve(redis, route) as on, on.proxy.connect() as client:
            response = await client.ask(get(b"/a", b"Cookie: login=ann", own))
            assert response.status == 400
            assert b"bob" not in response.body


# By what the client says of itself (`unsafe_identity`).


@pytest.mark.parametrize(
    ("stream", "target", "fields", "key"),
    [
        ("in:{cookie:sid}", b"/a", (b'Cookie: x=y; sid="ann"',), "in:ann"),
        ("in:{query:room}", b"/a?room=a%20n", (), "in:a n"),
        ("in:{header:X-Room}:x", b"/a", (b"x-room: ann",), "in:ann:x"),
        ("{tag}:{query:a}:{query:b}", b"/a?a=1&b=2", (), "{tag}:1:2"),
    ],
)
async def test_a_name_is_made_of_the_request(
    stream: str, target: bytes, fields: tuple[bytes, ...], key: str, redis: RedisServer
) -> None:
    route = route_from(redis, stream=stream, start=Start.OLDEST)
    redis.cli("XADD", key, "1-1", "data", "mine")
    redis.cli("XADD", "in:bob", "1-1", "data", "another's")
    async with RedisRoutes.serve(redis, route) as on, on.listening(target, *fields) as client:
        assert await events(client, 1) == [b"id: 1-1\ndata: mine"]


@pytest.mark.parametrize(
    ("stream", "target", "fields"),
    [
        ("in:{cookie:sid}", b"/a", ()),
        ("in:{cookie:sid}", b"/a", (b"Cookie: sid=ann; sid=bob",)),
        ("in:{query:room}", b"/a?room=", ()),
        ("in:{query:room}", b"/a?room=1&room=2", ()),
        ("in:{query:room}", b"/a?room=%2A", ()),
        ("in:{query:room}", b"/a?room=" + b"x" * 257, ()),
        ("in:{header:X-Room}", b"/a", (b"X-Room: a", b"X-Room: b")),
        ("{query:a}:{query:b}", b"/a?a=1:2&b=3", ()),
    ],
)
async def test_a_name_that_cannot_be_made_is_refused(
    stream: str, target: bytes, fields: tuple[bytes, ...], redis: RedisServer
) -> None:
    async with RedisRoutes.serve(redis, route_from(redis, stream=stream)) as on, on.proxy.connect() as client:
        assert (await client.ask(get(target, *fields))).status == 400
        assert len(on.proxy.app.admissions) == 0
