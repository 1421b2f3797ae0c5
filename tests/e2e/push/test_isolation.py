"""Can a client read what is for another, whatever it, or the service that knows users, says? (docs/push.md)"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.push.stage import UNKNOWN, add, cli, listening, refused, replica, response_of, until
from tests.support.raw_upstream import RawUpstream, Visit
from tests.support.redis_server import RedisServer
from tests.support.sseproxy_process import SseproxyProcess

ROUTES = """
  - match: {path: /inbox}
    authorize: {url: "WHOAMI", take: {user: X-User}, timeout: 3s}
    redis: {stream: ["inbox:{auth:user}", news], start: oldest}
  - match: {path: /one}
    authorize: {url: "WHOAMI", take: {user: X-User}, timeout: 3s}
    redis: {stream: "inbox:{auth:user}", start: oldest}
  - match: {path: /push}
    authorize: {url: "WHOAMI", take: {user: X-User}, timeout: 3s}
    redis: {channel: "user:{auth:user}"}
  - match: {path: /both}
    authorize: {url: "WHOAMI", take: {user: X-User}, timeout: 3s}
    redis: {stream: "room:{auth:user}:{query:room}", start: oldest, unsafe_identity: true}
  - match: {path: /cookie}
    redis: {stream: "in:{cookie:sid}", start: oldest, unsafe_identity: true}
  - match: {path: /query}
    redis: {stream: "in:{query:room}", start: oldest, unsafe_identity: true}
  - match: {path: /header}
    redis: {stream: "in:{header:X-Room}", start: oldest, unsafe_identity: true}
  - match: {path: /pair}
    redis: {stream: "in:{query:a}:{query:b}", start: oldest, unsafe_identity: true}
  - match: {path: /listen}
    redis: {channel: "in:{query:room}", unsafe_identity: true}
"""


@dataclass
class Service:
    """A login service that can be told what to say. users: by cookie. says: in place of what it knows."""

    users: dict[bytes, bytes] = field(default_factory=lambda: {b"login=a": b"ann", b"login=b": b"bob"})
    says: bytes | None = None
    is_slow: bool = False

    async def __call__(self, visit: Visit) -> None:
        while True:
            request = await visit.request()
            user = self.users.get(request.one(b"Cookie") or b"")
            if self.is_slow:
                await visit.wait_closed()
                return
            await visit.send(self.says if self.says is not None else UNKNOWN if user is None else response_of(user))
            if self.says is not None:
                return


@dataclass(frozen=True, slots=True)
class Stand:
    """One whose Redis holds something for both users and for all."""

    redis: RedisServer
    process: SseproxyProcess
    service: Service
    service_runs: contextlib.AsyncExitStack

    async def reads_own(self, target: bytes, login: bytes, *fields: bytes, user: str) -> None:
        """A client gets what is for `user` from now on, and nothing that is for another, before or behind it."""
        async with listening(self.process, target, login, *fields) as client:
            await add(self.redis, f"inbox:{user}", f"{user}: now")
            await until(lambda: f"{user}: now" in client.data or client.ended, "what is added")
            assert client.ended == ""
            assert {each.partition(":")[0] for each in client.data} <= {user, "all"}
            other = "bob" if user == "ann" else "ann"
            assert f"{other}:".encode() not in client.text

    async def nothing_is_read(self) -> None:
        """No subscription and no follower has been made: none of the process' connections listens to a user's name."""
        names = [name for name in await cli(self.redis, "PUBSUB", "CHANNELS", "*") if "sseproxy:" not in name]
        assert names == []


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(notifications="Kt") as server:
        yield server


@pytest.fixture
async def on(server: RedisServer, tmp_path: Path) -> AsyncIterator[Stand]:
    await cli(server, "FLUSHALL")
    for user in ("ann", "bob"):
        await add(server, f"inbox:{user}", f"{user}: 1", f"{user}: 2")
        await add(server, f"in:{user}", f"{user}: 1")
    await add(server, "news", "all: 1")
    service = Service()
    async with contextlib.AsyncExitStack() as stack:
        runs = await stack.enter_async_context(contextlib.AsyncExitStack())
        whoami = await runs.enter_async_context(RawUpstream.serve(service))
        process = await stack.enter_async_context(replica(tmp_path, server.url, whoami, ROUTES))
        yield Stand(server, process, service, runs)


async def test_the_cookie_says_whose_and_nothing_else_does(on: Stand) -> None:
    await on.reads_own(b"/inbox", b"a", user="ann")
    await on.reads_own(b"/inbox", b"b", user="bob")
    await on.reads_own(b"/inbox", b"a", b"X-User: bob", user="ann")
    await on.reads_own(b"/inbox", b"a", b"X_User: bob", b"x-user: bob", user="ann")
    await on.reads_own(b"/inbox?user=bob&auth:user=bob&X-User=bob", b"a", user="ann")
    await on.reads_own(b"/inbox", b"a", b"X-Original-URI: /inbox?user=bob", b"Authorization: Basic Ym9i", user="ann")


async def test_swapped_cookies_swap_streams_whatever_the_position(on: Stand) -> None:
    async with listening(on.process, b"/inbox", b"a") as ann, listening(on.process, b"/inbox", b"b") as bob:
        for client, user in ((ann, "ann"), (bob, "bob")):
            await until(lambda client=client: len(client.data) == 3, "what is kept")  # type: ignore[misc]
            assert sorted(client.data) == sorted([f"{user}: 1", f"{user}: 2", "all: 1"])
        positions = ann.position, bob.position
    for position in positions:
        await on.reads_own(b"/inbox", b"a", b"Last-Event-ID: " + position, user="ann")
        await on.reads_own(b"/inbox", b"b", b"Last-Event-ID: " + position, user="bob")


async def test_a_position_says_where_and_never_whose(on: Stand) -> None:
    """Of others, of other routes, guessed and forged; in the field, in the query, and in both."""
    async with listening(on.process, b"/one", b"a") as ann:
        await until(lambda: len(ann.data) == 2, "what is kept")
        of_ann = ann.position
    forged = [
        of_ann,
        b"V." + of_ann + b"." + of_ann,
        b"V." + b".".join([of_ann] * 3),
        b"V.0-0.0-0",
        b"0-0",
        b"18446744073709551615-18446744073709551615",
        b"18446744073709551616-0",
        b"oldest",
        b"$",
        b"inbox:ann",
        b"inbox:ann " + of_ann,
        b"V.inbox:ann.news",
        b"(" + of_ann,
        b"-",
        b"+",
        b"*",
        b"\xff\xfe",
        b"9" * 600,
    ]
    for position in forged:
        asked = quote(position).encode()
        await on.reads_own(b"/one", b"b", b"Last-Event-ID: " + position, user="bob")
        await on.reads_own(b"/one?last-event-id=" + asked, b"b", user="bob")
        await on.reads_own(b"/inbox?lastEventId=" + asked, b"b", b"Last-Event-ID: " + position, user="bob")
    await on.reads_own(b"/one?last_event_id=" + of_ann + b"%0d%0aXRANGE%20inbox:ann%20-%20+", b"b", user="bob")


#: Answers to `authorize`, and what the client gets.
ANSWERS = [
    (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nlog in", 401),
    (b"HTTP/1.1 403 Forbidden\r\nX-User: ann\r\nContent-Length: 3\r\n\r\nno!", 403),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 200 OK\r\nX-User: ann\r\nX-User: bob\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 200 OK\r\nX-User: ann\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 200 OK\r\nX-User: \r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 302 Found\r\nX-User: ann\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 500 Oops\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 9\r\n\r\nhalf", 503),
    (b"HTTP/1.1 200 OK\r\nX-User: an", 503),
    (b"", 503),
    (response_of(b"*"), 503),
    (response_of(b"an?"), 503),
    (response_of(b"a[n]n"), 503),
    (response_of(b"{ann}"), 503),
    (response_of(b"a" * 257), 503),
    (response_of(b"ann\x00"), 503),
    (b"HTTP/1.1 200 OK\r\nX-User: ann\r\n bob\r\nContent-Length: 0\r\n\r\n", 503),
]


async def test_what_is_no_clear_yes_is_a_no(on: Stand) -> None:
    for says, status in ANSWERS:
        on.service.says = says
        for target in (b"/inbox", b"/push"):
            response = await refused(on.process, target, b"Cookie: login=a", b"Last-Event-ID: oldest")
            assert response.status == status, says
            assert b"ann" not in response.body, says
    await on.nothing_is_read()


async def test_a_service_that_is_slow_or_away_lets_no_one_in(on: Stand) -> None:
    on.service.is_slow = True
    assert (await refused(on.process, b"/inbox", b"Cookie: login=a")).status == 503
    await on.nothing_is_read()
    on.service.is_slow = False
    await on.reads_own(b"/inbox", b"a", user="ann")
    await on.service_runs.aclose()
    assert (await refused(on.process, b"/push", b"Cookie: login=a")).status == 503
    assert await cli(on.redis, "PUBSUB", "CHANNELS", "user:*") == []


async def test_a_service_that_changes_its_mind_is_followed_at_the_next_connect(on: Stand) -> None:
    async with listening(on.process, b"/inbox", b"a") as first:
        await until(lambda: len(first.data) == 3, "what is kept")
        position = b"Last-Event-ID: " + first.position
    on.service.users[b"login=a"] = b"bob"
    await on.reads_own(b"/inbox", b"a", position, user="bob")
    del on.service.users[b"login=a"]
    assert (await refused(on.process, b"/inbox", b"Cookie: login=a", position)).status == 401


#: What no name may hold; some of it can stand in no field.
WORDS = (b"*", b"?", b"an?", b"[a]", b"{ann}", b"ann}", b"a" * 257, b"")
CONTROLS = (b"\x00", b"ann\x00", b"ann\r\nbob", b"ann\n", b"\t", b"\x7f")


async def test_what_a_client_says_of_itself_is_a_plain_name_or_refused(on: Stand) -> None:
    for word in WORDS + CONTROLS:
        asked = quote(word).encode()
        for target in (b"/query?room=" + asked, b"/listen?room=" + asked, b"/pair?a=" + asked + b"&b=1"):
            assert (await refused(on.process, target)).status == 400, target
        assert (await refused(on.process, b"/both?room=" + asked, b"Cookie: login=a")).status == 400, word
    for word in WORDS:
        assert (await refused(on.process, b"/header", b"X-Room: " + word)).status == 400, word
        assert (await refused(on.process, b"/cookie", b"Cookie: sid=" + word)).status == 400, word
    for control in (b"ann\x00", b"ann\x01", b"ann\r", b"\x7f"):
        assert (await refused(on.process, b"/header", b"X-Room: " + control)).status == 400, control
        assert (await refused(on.process, b"/cookie", b"Cookie: sid=" + control)).status == 400, control
    await on.nothing_is_read()


async def test_several_values_of_one_name_are_refused(on: Stand) -> None:
    for target, fields in (
        (b"/query?room=ann&room=bob", ()),
        (b"/query?room=ann&%72oom=ann", ()),
        (b"/query?a=ann", ()),
        (b"/cookie", (b"Cookie: sid=ann; sid=bob",)),
        (b"/cookie", (b"Cookie: sid=ann", b"Cookie: sid=bob")),
        (b"/cookie", (b"Cookie: SID=ann",)),
        (b"/header", (b"X-Room: ann", b"x-room: bob")),
        (b"/header", (b"X_Room: ann",)),
        (b"/pair?a=1:2&b=3", ()),
        (b"/pair?a=1%3A2&b=3", ()),
        (b"/pair?a=1&b=2:3", ()),
    ):
        assert (await refused(on.process, target, *fields)).status == 400, (target, fields)
    assert (await refused(on.process, b"/both?room=1:bob", b"Cookie: login=a")).status == 400
    await on.nothing_is_read()


async def test_a_value_is_decoded_once(on: Stand) -> None:
    for key, target in (
        ("in:%2A", b"/query?room=%252A"),
        ("in:%62ob", b"/query?room=%2562ob"),
        ("in:$bob", b"/query?room=$bob"),
        ("in:bob:x", b"/query?room=bob:x"),
        ("in:bob/../ann", b"/query?room=bob/../ann"),
    ):
        await add(on.redis, key, "this one")
        async with listening(on.process, target) as client:
            await client.hears("this one")
