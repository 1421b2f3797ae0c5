"""What do whole processes that push from Redis run on, and what does one of their clients see?"""

import asyncio
import contextlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.raw_upstream import RawUpstream, Visit
from tests.support.redis_routes import EVENT_SOURCE, get
from tests.support.redis_server import RedisServer
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import Event, EventStreamParser

#: An inbox that is kept, and news for all; and the same without history.
ROUTES = """
  - match: {path: /inbox}
    authorize: {url: "WHOAMI", take: {user: X-User}}
    redis: {stream: ["inbox:{auth:user}", news], start: oldest}
  - match: {path: /push}
    authorize: {url: "WHOAMI", take: {user: X-User}}
    redis: {channel: ["user:{auth:user}", broadcast]}
"""

READY = (200, {"status": "ready", "away": []})
AWAY = (503, {"status": "away", "away": ["redis"]})

_CONFIG = """
server: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0"}}
store: {{url: "{url}", timeout: 1s}}
defaults: {{heartbeat: {{interval: 200ms}}}}
routes:
{routes}
"""


@contextlib.asynccontextmanager
async def replica(
    folder: Path, url: str, whoami: RawUpstream, routes: str = ROUTES, *, may_report: bool = False
) -> AsyncIterator[SseproxyProcess]:
    """Start a process, and end it, without holding the loop. may_report: it is killed, or writes tracebacks.

    url: of its Redis. routes: ``WHOAMI`` in them is the URL of `whoami`.
    """
    routes = routes.replace("WHOAMI", f"http://127.0.0.1:{whoami.port}/whoami").strip("\n")
    config = folder / "sseproxy.yaml"
    config.write_text(_CONFIG.format(url=url, routes=routes))
    process = await asyncio.to_thread(SseproxyProcess("-c", str(config), may_report=may_report).__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.__exit__, *sys.exc_info())


async def ready(process: SseproxyProcess) -> tuple[int, Any]:
    """Return what ``/readyz`` says."""
    return await asyncio.to_thread(_ready, process.urls[1] + "/readyz")


def _ready(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def response_of(user: bytes) -> bytes:
    """What the service says of a client that it knows."""
    return b"HTTP/1.1 200 OK\r\nX-User: " + user + b"\r\nContent-Length: 0\r\n\r\n"


UNKNOWN = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


async def by_cookie(visit: Visit) -> None:
    """A login service: the cookie `login` is the user."""
    while True:
        cookie = (await visit.request()).one(b"Cookie") or b""
        user = cookie.removeprefix(b"login=")
        await visit.send(response_of(user) if user else UNKNOWN)


class Listener:
    """One client of a stream, which reads until it ends.

    beats: heartbeats so far. ended: how it ended, if it did; a client whom nothing reaches for 20 s is `silent`.
    """

    def __init__(self, peer: AsyncPeer, head: Message) -> None:
        self.head = head
        self.beats = 0
        self.ended = ""
        self.text = b""
        self._parser = EventStreamParser()
        self._peer = peer

    @property
    def data(self) -> list[str]:
        """The data of its messages."""
        return [event.data for event in self._parser.events if event.type != "gap"]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """What it heard is missing."""
        return [json.loads(event.data) for event in self._parser.events if event.type == "gap"]

    @property
    def events(self) -> list[Event]:
        return self._parser.events

    @property
    def position(self) -> bytes:
        """What its `EventSource` would come back with."""
        ids = [line for line in self.text.splitlines() if line.startswith(b"id: ")]
        return ids[-1].removeprefix(b"id: ") if ids else b""

    async def listen(self) -> None:
        try:
            while data := await self._peer.chunk():
                self.text += data
                self.beats += data.count(b": heartbeat")
                self._parser.feed(data)
            self.ended = "clean"
        except TimeoutError:
            self.ended = "silent"
        except (EOFError, ConnectionError):
            self.ended = "broken"

    async def hears(self, *data: str, limit: float = LIMIT) -> None:
        """Until it has heard exactly `data`, since it came, in that order. AssertionError: it is otherwise."""
        wanted = list(data)
        with contextlib.suppress(AssertionError):  # the next one says more
            await until(lambda: self.data == wanted or self.ended, "what is wanted", limit)
        assert (self.data, self.ended) == (wanted, "")

    async def stays(self, beats: int = 3) -> None:
        """Until it has had that many more heartbeats. AssertionError: it ended, or is silent."""
        enough = self.beats + beats
        await until(lambda: self.beats >= enough or self.ended, "heartbeats")
        assert self.ended == ""


@contextlib.asynccontextmanager
async def listening(
    process: SseproxyProcess, target: bytes, login: bytes = b"", *fields: bytes
) -> AsyncIterator[Listener]:
    """A browser's `EventSource` that has got its head. login: its cookie."""
    cookie = (b"Cookie: login=" + login,) if login else ()
    async with AsyncPeer.connect(port_of(process)) as peer:
        await peer.send(get(target, *EVENT_SOURCE, *cookie, *fields))
        head = await peer.head()
        assert head.status == 200, head.head
        listener = Listener(peer, head)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def refused(process: SseproxyProcess, target: bytes, *fields: bytes) -> Message:
    """Return what a client gets in place of a stream."""
    async with AsyncPeer.connect(port_of(process)) as peer:
        await peer.send(get(target, *EVENT_SOURCE, *fields))
        response = await peer.response()
        assert response.status != 200
        return response


def port_of(process: SseproxyProcess) -> int:
    return urlsplit(process.url).port or 0


async def until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait for it. AssertionError: not within `limit` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not condition():
        assert loop.time() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(0.005)


async def until_ready(process: SseproxyProcess, state: tuple[int, Any]) -> None:
    """Wait until ``/readyz`` says so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LIMIT
    while (said := await ready(process)) != state:
        assert loop.time() < end, f"/readyz says {said}"
        await asyncio.sleep(0.02)


async def cli(redis: RedisServer, *command: str | float) -> Any:
    """Return Redis' answer to one command."""
    return await asyncio.to_thread(redis.cli, *command)


async def add(redis: RedisServer, key: str, *data: str) -> None:
    """Add an entry for each of `data` to a stream."""
    for each in data:
        await cli(redis, "XADD", key, "*", "data", each)


async def publish(redis: RedisServer, channel: str, message: str, *, processes: int = 1) -> None:
    """Publish once all `processes` listen: a message that comes earlier is lost."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LIMIT
    while (await cli(redis, "PUBSUB", "NUMSUB", channel))[1] < processes:
        assert loop.time() < end, f"{channel} is not listened to"
        await asyncio.sleep(0.01)
    await cli(redis, "PUBLISH", channel, message)
