"""Who reads in the soak? Dashboards and chats that come and go, join, stop, freeze, and come back.

    python -m tests.soak.clients LOG SEED READERS ASKERS FRONT PROXY

It writes how many events have come, each second, and ends some seconds after a line on stdin.
FRONT: the port of the bad network. PROXY: that of the proxy.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from tests.soak.connection import Ask, Connection, Tally, stay
from tests.soak.log import Log, now
from tests.soak.wire import path

_EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
_FETCH = {"Accept": "text/event-stream"}
_PLAIN = {"Accept": "*/*"}

FEEDS = ("feed-0", "feed-1", "named-0", "named-1", "fat-0")
_LOGINS = ("ann", "bob", "cid", "dan")
_AGAIN = 0.2

#: Seconds in which all that is under way comes to its end, once no client comes any more.
_FINISH = 45.0


@dataclass
class Clients:
    """All clients of this process. is_over: none comes any more."""

    tally: Tally
    dice: random.Random
    ports: tuple[int, int]
    is_over: bool = False
    answers: int = 0

    @property
    def port(self) -> int:
        """Of three connections one goes through the bad network."""
        return self.ports[self.dice.randrange(3) > 0]

    async def dashboard(self) -> None:
        """An `EventSource` at a feed, for ever: it is left, comes back, and at times with an older position."""
        source, position, earlier = self.dice.choice(FEEDS[:4]), "", [""]
        while not self.is_over:
            at = position if self.dice.random() < 0.8 else self.dice.choice(earlier)
            name = "" if not at or self.dice.random() < 0.8 else f"?last-event-id={at}"
            connection = await self._read(Ask("GET", f"{path(source)}{name}", _EVENT_SOURCE, position=at))
            position = connection.position
            earlier = [*earlier[-3:], position]
            await asyncio.sleep(_AGAIN)

    async def latecomer(self) -> None:
        """A client that asks for all that is kept, or for what comes from now on, and perhaps takes no ids."""
        while not self.is_over:
            source = self.dice.choice(FEEDS)
            oldest = "oldest" if self.dice.random() < 0.6 else ""
            target = path(source) + ("?last-event-id=oldest" if oldest else "")
            fields = self.dice.choice((_FETCH, _PLAIN)) if not oldest else _FETCH
            await self._read(Ask("GET", target, fields, position=oldest))
            await asyncio.sleep(self.dice.random())

    async def stranger(self) -> None:
        """A client with a position that no run has."""
        while not self.is_over:
            source = self.dice.choice(("feed-0", "feed-1"))
            position = self.dice.choice(("AAAAAAAAAAAAAAAAAAAAAA.1-1", "AAAAAAAAAAAAAAAAAAAAAQ.3-77"))
            await self._read(Ask("GET", path(source), _EVENT_SOURCE, position=position))
            await asyncio.sleep(4 * self.dice.random())

    async def sleeper(self) -> None:
        """A reader of large events, which freezes now and then: for a while, or until it is broken off."""
        position = ""
        while not self.is_over:
            ask = Ask("GET", path("fat-0"), _EVENT_SOURCE, position=position, buffer=4096)
            connection = Connection(self.tally, ask)
            reading = asyncio.ensure_future(stay(connection, self.ports[1], self.dice.uniform(10, 40)))
            while not reading.done() and not self.is_over:
                await asyncio.wait([reading], timeout=self.dice.uniform(1, 5))
                if not reading.done():
                    await connection.pause(self.dice.choice((1.0, 3.0, 4.0, 9.0)))
            await self._ended(reading)
            position = connection.position
            await asyncio.sleep(_AGAIN)

    async def asker(self) -> None:
        """A page that asks, loses its connection, and comes back until it has all."""
        while not self.is_over:
            how = self.dice.choice((self._fetch, self._event_source, self._plain))
            await how(*self._answer())
            await asyncio.sleep(self.dice.random())

    async def chat(self, name: str) -> None:
        """A conversation, with a second tab, a stop button, questions that replace others, and a stranger."""
        while not self.is_over:
            login = self.dice.choice(_LOGINS)
            source, said = self._answer(name)
            asking = asyncio.ensure_future(self._ask_until_whole("/api/chat", source, said, login))
            await asyncio.sleep(self.dice.uniform(0.1, 1.0))
            tabs = [asyncio.ensure_future(self._tab(name, each)) for each in (login, self.dice.choice(_LOGINS))]
            if self.dice.random() < 0.3:
                await self._stop(name, source, login)
            if self.dice.random() < 0.7:
                await asyncio.wait([asking])
            for tab in tabs:
                await self._ended(tab)
            if asking.done() or self.dice.random() < 0.5:
                await self._ended(asking)
            else:
                asking.cancel()  # its page asks something else
                await asyncio.wait([asking])

    def _answer(self, name: str = "") -> tuple[str, dict[str, object]]:
        self.answers += 1
        source = f"answer-{self.answers}-{self.dice.randrange(10**6)}"
        said: dict[str, object] = {"source": source, "id": name, "stream": True, "think": self.dice.choice((0, 0, 0.5))}
        said |= {"events": self.dice.randrange(5, 120), "rate": self.dice.choice((20, 60, 200))}
        return source, said | {"end": self.dice.choices(("clean", "broken"), (6, 1))[0]}

    async def _fetch(self, source: str, said: dict[str, object]) -> None:
        await self._ask_until_whole("/ask", source, said, "")

    async def _ask_until_whole(self, target: str, source: str, said: dict[str, object], login: str) -> None:
        """POST again with the last position until all has come, or it is gone."""
        position, fields = "", {**_FETCH, **({"Cookie": f"session={login}"} if login else {})}
        while True:
            body = json.dumps(said)
            ask = Ask("POST", target, fields, body, source, login, position)
            connection = await self._read(ask, 3.0)
            if connection.is_whole or connection.has_failed or not connection.position:
                return
            position = connection.position
            if connection.url and self.dice.random() < 0.3 and not login:
                # Its page is loaded again, and begins at the beginning.
                again = Ask("GET", connection.url, _FETCH, source=source)
                position = (await self._read(again, 3.0)).position or position
            await asyncio.sleep(_AGAIN)

    async def _event_source(self, source: str, said: dict[str, object]) -> None:
        """It comes back behind each end, until 204 is the answer."""
        position, query = "", "&".join(f"{name}={value}" for name, value in said.items())
        for _ in range(40):
            connection = await self._read(
                Ask("GET", f"/ask?{query}", _EVENT_SOURCE, source=source, position=position), 4.0
            )
            if connection.status not in (0, 200) or not connection.position:
                return
            position = connection.position
            await asyncio.sleep(_AGAIN)

    async def _plain(self, source: str, said: dict[str, object]) -> None:
        """It takes no ids, and comes back by the URL of the run."""
        connection = await self._read(Ask("POST", "/ask", _PLAIN, json.dumps(said), source), 2.0)
        url = connection.url
        while url and not connection.is_whole and connection.status not in (404, 410):
            await asyncio.sleep(_AGAIN)
            connection = await self._read(Ask("GET", url, _PLAIN, source=source), 20.0)
            if connection.last and not connection.is_whole and self.dice.random() < 0.5:
                return

    async def _tab(self, name: str, login: str) -> None:
        fields = {**_FETCH, "Cookie": f"session={login}"}
        await self._read(Ask("GET", f"/api/chat/{name}/stream", fields, login=login), 5.0)

    async def _stop(self, name: str, source: str, login: str) -> None:
        """Stop what is the newest answer of a conversation; only this page asks in it."""
        target, fields = f"/api/chat/{name}/stream", {"Cookie": f"session={login}"}
        connection, sent = Connection(self.tally, Ask("DELETE", target, fields, login=login)), now()
        await stay(connection, self.ports[1], 10.0)
        if connection.status:
            self.tally.log.note("stopped", at=sent, source=source, login=login, status=connection.status)

    async def _read(self, ask: Ask, longest: float = 25.0) -> Connection:
        """Make one request, and leave at some time."""
        connection = Connection(self.tally, ask)
        seconds = self.dice.expovariate(1 / self.dice.choice((longest / 10, longest, longest * 4)))
        await stay(connection, self.port, _FINISH if self.is_over else seconds)
        return connection

    async def _ended(self, task: "asyncio.Future[None]") -> None:
        await asyncio.wait([task])
        task.result()


async def main(file: Path, seed: int, readers: int, askers: int, ports: tuple[int, int]) -> None:
    clients = Clients(Tally(Log(file)), random.Random(seed), ports)
    share: list[tuple[int, Callable[[], Coroutine[None, None, None]]]] = [
        (readers, clients.dashboard),
        (2, clients.stranger),
        (max(readers // 8, 2), clients.latecomer),
        (4, clients.sleeper),
    ]
    reading = {asyncio.create_task(client()) for number, client in share for _ in range(number)}
    asking = {asyncio.create_task(clients.asker()) for _ in range(askers)}
    asking |= {asyncio.create_task(clients.chat(f"c{number}")) for number in range(max(askers // 2, 1))}
    over = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    while not over.done():
        print(clients.tally.events, flush=True)
        done, _ = await asyncio.wait([over, *reading, *asking], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {over}:
            task.result()
    clients.is_over = True
    await asyncio.wait(asking, timeout=_FINISH)
    for task in reading | asking:
        task.cancel()
    for result in await asyncio.gather(*reading, *asking, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    print(clients.tally.events, flush=True)


if __name__ == "__main__":
    log, *numbers = sys.argv[1:]
    given, many, few, front, proxy = map(int, numbers)
    asyncio.run(main(Path(log), given, many, few, (front, proxy)))
