"""A hundred users reload their page twenty times within one answer: is each answer whole, and paid once?

One of them has a real Chromium; the others do what it does, byte by byte.
"""

import asyncio
import contextlib
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.e2e.journal.service import Call
from tests.e2e.journal.stand import Stand, stand
from tests.support.async_peer import AsyncPeer
from tests.support.browser import chromium, wait_for
from tests.support.whatwg import EventStreamParser

USERS, RELOADS = 100, 20

_PAGE = """<!doctype html><link rel=icon href="data:,"><script>
const heard = [];
const source = new EventSource("/api/chat/browser/stream");
source.onmessage = ({ data }) => heard.push(data);
source.onerror = () => { if (source.readyState === EventSource.CLOSED) heard.push("closed"); };
</script>"""


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as on:
        on.service.pages["/page"] = _PAGE
        yield on


class User:
    """Who asks once, and then reads the answer anew again and again."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._port = port

    async def live(self, round_: asyncio.Barrier) -> None:
        """Ask; reload in each round, with the whole answer so far each time; read it to its end."""
        body = json.dumps({"id": self._name, "messages": []}).encode()
        await self._read(self._request(b"POST /api/chat", b"Content-Length: %d" % len(body)) + body, 1)
        for number in range(1, RELOADS + 1):
            await round_.wait()
            target = f"GET /api/chat/{self._name}/stream".encode()
            await self._read(self._request(target), number + 1, round_ if number == RELOADS else None)

    def _request(self, line: bytes, *fields: bytes) -> bytes:
        cookie = f"Cookie: session={self._name}".encode()
        return b"\r\n".join((line + b" HTTP/1.1", b"Host: localhost", cookie, *fields, b"", b""))

    async def _read(self, request: bytes, number: int, last: asyncio.Barrier | None = None) -> None:
        """Read until so many parts have come: those of this user's answer, each once and in order; and then leave.

        last: a round after which the answer has ended, and is read to its end.
        """
        parser = EventStreamParser()
        async with AsyncPeer.connect(self._port) as peer:
            await peer.send(request)
            assert (await peer.head()).status == 200
            while len(parser.events) < number:
                parser.feed(await peer.chunk())
            if last is not None:
                await last.wait()
                while data := await peer.chunk():
                    parser.feed(data)
        assert [event.data for event in parser.events] == parts(self._name, number)


def parts(name: str, number: int) -> list[str]:
    return [f"{name} {part}" for part in range(number)]


async def browse(driver: Chrome, round_: asyncio.Barrier) -> None:
    """The same in the browser, which has asked already."""
    for number in range(1, RELOADS + 1):
        await round_.wait()
        await asyncio.to_thread(driver.refresh)
        wanted = parts("browser", number + 1)
        await asyncio.to_thread(wait_for, driver, lambda _, wanted=wanted: heard(driver)[: len(wanted)] == wanted)
    await round_.wait()
    await asyncio.to_thread(wait_for, driver, lambda _: heard(driver)[-1] == "closed")
    assert heard(driver) == [*parts("browser", RELOADS + 1), "closed"]


async def abort_with(round_: asyncio.Barrier, work: Coroutine[object, object, None]) -> None:
    """Do `work`; if it fails, let no other wait for it."""
    try:
        await work
    except BaseException:
        await round_.abort()
        raise


def heard(driver: Chrome) -> list[str]:
    found: list[str] = driver.execute_script("return heard")
    return found


def enter(driver: Chrome, on: Stand) -> None:
    """Log in, and ask; the page does not read the answer to its POST."""
    driver.get(f"{on.url}/page")
    driver.add_cookie({"name": "session", "value": "browser"})
    asks = "fetch('/api/chat', {method: 'POST', body: JSON.stringify({id: 'browser', messages: []})})"
    driver.execute_script(f"{asks}.then((got) => got.body.cancel())")


async def test_a_hundred_users_reload_twenty_times_within_one_answer(on: Stand) -> None:
    round_ = asyncio.Barrier(USERS + 2)
    with chromium() as driver:
        await asyncio.to_thread(enter, driver, on)
        users = [User(f"user{number}", on.port).live(round_) for number in range(USERS)]
        working = asyncio.gather(*(abort_with(round_, work) for work in [*users, browse(driver, round_)]))
        await asyncio.to_thread(on.service.wait_until, lambda: len(on.service.calls) == USERS + 1)
        calls: dict[str, Call] = {json.loads(call.body)["id"]: call for call in on.service.calls}
        for call in calls.values():
            call.begin()
        with contextlib.suppress(asyncio.BrokenBarrierError):  # `working` says why
            for number in range(RELOADS + 1):
                if number > 0:
                    await round_.wait()
                for name, call in calls.items():
                    call.say(f"{name} {number}")
            await round_.wait()
            for call in calls.values():
                call.finish()
        await working
    assert len(on.service.calls) == len(calls) == USERS + 1
    assert [name for name, call in calls.items() if call.left_at is not None] == []
