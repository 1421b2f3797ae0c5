"""Does any event of a run reach a login that does not own it, whatever clients try?

Fifty logins use the same keys, and each of them tries the ids, the names and the URLs of all others. Each event carries
the login that its request had at the upstream.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator

import pytest

from tests.support.http1_reader import Message
from tests.support.run_stand import EVENT_SOURCE, TAKES_IDS, Call, RunStand, Tab, at, id_of
from tests.support.settled import eventually

LOGINS = [b"login%02d" % number for number in range(50)]
KEYS = [b"chat", b"7"]

LOGIN = "login: 'cookie:s'"
URLS = "resume: {path: '/a/{key}/stream'}, stop: {path: '/a/{key}/stop'}"
ROUTES = (
    f"name: a, match: {{path: /a}}, journal: {{kind: answer, key: 'query:c', {LOGIN}, {URLS}}}",
    f"name: b, match: {{path: /b}}, journal: {{kind: answer, {LOGIN}}}",
    f"name: f, match: {{path: /f}}, journal: {{kind: feed, {LOGIN}}}",
)

#: Names that no run has, by their length.
UNKNOWN = {22: b"AAAAAAAAAAAAAAAAAAAAAA", 11: b"AAAAAAAAAAA"}


def cookie(login: bytes) -> bytes:
    return b"Cookie: s=" + login


class Service:
    """The upstream: it answers each request with a stream, whose events say which login has asked for it."""

    def __init__(self, on: RunStand) -> None:
        self._on = on
        self._open: list[tuple[Call, bytes]] = []

    async def serve(self) -> None:
        """Answer all requests."""
        while True:
            call = await self._on.call(len(self._open))
            found = re.findall(rb"s=(\w*)", call.request.one(b"Cookie") or b"")
            owner = b"+".join(found) or b"none"
            self._open.append((call, owner))
            await call.begin(first=b"data: %b begins\n\n" % owner)

    async def tick(self) -> None:
        """Send an event to each client."""
        for call, owner in self._open:
            await call.send(b"data: %b goes on\n\n" % owner)

    @property
    def left(self) -> list[bytes]:
        """Whose requests are over."""
        return [owner for call, owner in self._open if call.is_left]


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[RunStand, Service]]:
    async with RunStand.serve(*ROUTES, defaults="heartbeat: {interval: off}, limits: {detached_per_client: off}") as on:
        service = Service(on)
        task = asyncio.create_task(service.serve())
        try:
            yield on, service
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def owners(blocks: list[bytes]) -> set[bytes]:
    """Whose events these are."""
    return {
        found for block in blocks for found in re.findall(rb"^data: (\S+) (?:begins|goes on)$", block, re.MULTILINE)
    }


async def open_all(on: RunStand) -> dict[bytes, list[tuple[Tab, bytes]]]:
    """Let each login open a run of each kind. Return the clients of each, with a position in their run."""
    mine: dict[bytes, list[tuple[Tab, bytes]]] = {}
    for login in LOGINS:
        lines = [*(b"POST /a?c=" + key for key in KEYS), b"POST /b", b"GET /f"]
        tabs = [
            await on.read(line, cookie(login), *TAKES_IDS, body=None if line[:1] == b"G" else b"{}") for line in lines
        ]
        mine[login] = []
        for tab in tabs:
            event = await tab.event()
            assert owners([event]) == {login}
            mine[login].append((tab, id_of(event) or b""))
    return mine


async def what_comes(on: RunStand, service: Service, line: bytes, *fields: bytes) -> tuple[Message, list[bytes]]:
    """The head of a response, and, of a stream, the blocks that come up to an event that is sent now."""
    tab = await on.send(line, *fields, body=b"{}" if line.startswith(b"POST") else None)
    head = await tab.head()
    blocks: list[bytes] = []
    if head.one(b"Transfer-Encoding") is not None:
        await service.tick()
        while not blocks or not blocks[-1].endswith(b"goes on"):
            blocks.append(await tab.event())
    await tab.leave()
    return head, blocks


async def test_every_client_gets_the_events_of_its_own_login_alone() -> None:
    chance = random.Random(14)
    async with served() as (on, service):
        mine = await open_all(on)
        for login in LOGINS:
            other = chance.choice([each for each in LOGINS if each != login])
            stolen = [position for _, position in mine[other]]
            for line in (b"POST /a?c=" + KEYS[0], b"POST /b", b"GET /f"):
                position = chance.choice(stolen)
                fields = chance.choice([TAKES_IDS, EVENT_SOURCE, ()])
                head, blocks = await what_comes(on, service, line, cookie(login), at(position), *fields)
                assert owners(blocks) <= {login}
                assert head.status in (200, 410)
            for target in (b"/a/%b/stream" % KEYS[1], b"/_runs/b/" + stolen[2].partition(b".")[0]):
                head, blocks = await what_comes(on, service, b"GET " + target, cookie(login))
                assert owners(blocks) <= {login}
                assert head.status in (200, 404)


@pytest.mark.parametrize("fields", [(), (b"Cookie: s=",), (b"Cookie: t=login00",), (b"Cookie: s=login00; s=login01",)])
async def test_a_request_without_one_login_gets_the_events_of_none(fields: tuple[bytes, ...]) -> None:
    async with served() as (on, service):
        mine = await open_all(on)
        positions = [position for tabs in list(mine.values())[:3] for _, position in tabs]
        for position in positions:
            for line in (b"POST /a?c=" + KEYS[0], b"POST /b"):
                _, blocks = await what_comes(on, service, line, *fields, at(position))
                assert owners(blocks) <= {b"none", b"login00+login01"}
            assert (await on.ask(b"GET /f", *fields, at(position))).status == 400
            assert (await on.ask(b"GET /_runs/b/" + position.partition(b".")[0], *fields)).status == 404
        for key in KEYS:
            assert (await on.ask(b"GET /a/%b/stream" % key, *fields)).status == 204


async def test_no_client_stops_the_run_of_another_login() -> None:
    async with served() as (on, service):
        mine = await open_all(on)
        for login, other in zip(LOGINS, LOGINS[1:] + LOGINS[:1], strict=True):
            name = mine[other][2][1].partition(b".")[0]
            for fields in ((cookie(login),), ()):
                assert (await on.ask(b"DELETE /_runs/b/" + name, *fields)).status == 204
        assert service.left == []
        assert (
            await on.ask(b"DELETE /_runs/b/" + mine[LOGINS[0]][2][1].partition(b".")[0], cookie(LOGINS[0]))
        ).status == 204
        assert (await on.ask(b"POST /a/%b/stop" % KEYS[0], cookie(LOGINS[1]))).status == 204
        await eventually(lambda: sorted(service.left) == [LOGINS[0], LOGINS[1]])


def plain(head: Message, blocks: list[bytes], position: bytes) -> tuple[bytes, list[bytes]]:
    """A response without dates, and without what differs between two runs or two positions."""
    name = position.partition(b".")[0]
    marked = [re.sub(rb"(?m)^id: \S+$", b"id: ID", block.replace(name, b"NAME")) for block in blocks]
    return re.sub(rb"(/_runs/\w+/)[\w-]+", rb"\1NAME", head.undated), marked


async def test_a_run_of_another_login_is_answered_as_one_that_does_not_exist() -> None:
    """Byte for byte, but for ids and dates."""
    async with served() as (on, service):
        mine = await open_all(on)
        me, other = LOGINS[3], LOGINS[4]
        for number, line in enumerate((b"POST /a?c=" + KEYS[0], b"POST /a?c=" + KEYS[1], b"POST /b", b"GET /f")):
            position = mine[other][number][1]
            name, _, mark = position.partition(b".")
            unknown = UNKNOWN[len(name)] + b"." + mark
            for fields in (TAKES_IDS, EVENT_SOURCE, ()):
                foreign = await what_comes(on, service, line, cookie(me), at(position), *fields)
                none = await what_comes(on, service, line, cookie(me), at(unknown), *fields)
                blocks = len(min(foreign[1], none[1], key=len))
                assert plain(foreign[0], foreign[1][:blocks], position) == plain(none[0], none[1][:blocks], unknown)
            for method in (b"GET", b"HEAD", b"DELETE"):
                targets = (b"/_runs/b/" + name, b"/_runs/b/" + UNKNOWN[len(name)])
                found, absent = [await on.ask(method + b" " + target, cookie(me)) for target in targets]
                assert (found.undated, found.body) == (absent.undated, absent.body)


async def test_names_cannot_be_guessed_from_others() -> None:
    async with served() as (on, _):
        mine = await open_all(on)
        names = {position.partition(b".")[0] for tabs in mine.values() for _, position in tabs}
        assert len(names) == 4 * len(LOGINS)
        assert {len(name) for name in names} == {22, 11}
        assert len({name[:4] for name in names}) > 3.9 * len(LOGINS)
