"""Who publishes in the soak, at random rates, and trims?

Each name has one publisher, so that its messages have one order. Publishers talk to Redis itself and wait for it as
long as it takes, so that it is sure what was published: what was sent to a Redis that died is written again to a
stream, under the same id, which Redis refuses if it has it; it is not sent again to a channel.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.push.history import Kind, Published, Trimmed
from tests.push.message import written

_MOST_AT_ONCE = 20
_AGAIN = 0.05
_ATTEMPTS = 1200
_LOST = (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError, OSError)


@dataclass(frozen=True, slots=True)
class Name:
    """A stream or a channel, and how many messages it is given."""

    name: str
    kind: Kind
    messages: int


class Publisher:
    """Publishes to its names in turn, `rate` messages a second on average. It logs what it did."""

    def __init__(self, url: str, names: Sequence[Name], rate: float, seed: int) -> None:
        self.published: list[Published] = []
        self.trimmed: list[Trimmed] = []
        self._url, self._rate, self._dice = url, rate, random.Random(seed)
        self._left = {name: name.messages for name in names}

    async def run(self) -> None:
        """To the last message of all names."""
        due = time.monotonic()
        # No timeout: what was sent to a Redis that is frozen must not be sent again before it thaws.
        patient = redis.asyncio.Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), socket_timeout=None)
        async with patient as client:
            while left := [name for name, count in self._left.items() if count]:
                name = self._dice.choice(left)
                count = min(self._dice.randint(1, _MOST_AT_ONCE), self._left[name])
                await self._publish(client, name, count)
                if name.kind is Kind.STREAM and self._dice.random() < 0.06:
                    await self._trim(client, name)
                # Of a Redis that was away the messages come late, not in a flood behind it.
                due = max(due, time.monotonic() - 1) + self._dice.expovariate(self._rate / count)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _publish(self, client: redis.asyncio.Redis, name: Name, count: int) -> None:
        first = name.messages - self._left[name] + 1
        texts = {n: written(name.name, n, self._dice) for n in range(first, first + count)}
        begun = time.monotonic()
        for _ in range(_ATTEMPTS):
            if await self._sent(client, name, texts) or name.kind is Kind.CHANNEL:
                break
            await asyncio.sleep(_AGAIN)
        else:
            raise AssertionError("Redis did not come back")
        done = time.monotonic()
        self.published += [Published(name.name, n, begun, done) for n in texts]
        self._left[name] -= count

    async def _sent(self, client: redis.asyncio.Redis, name: Name, texts: dict[int, str]) -> bool:
        """Return False if Redis died meanwhile."""
        pipeline = client.pipeline(transaction=False)
        for n, text in texts.items():
            if name.kind is Kind.STREAM:
                pipeline.execute_command("XADD", name.name, entry_id(n), "data", text)
            else:
                pipeline.execute_command("PUBLISH", name.name, text)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except _LOST:
            return False
        if any(isinstance(answer, _LOST) for answer in answers):
            return False
        refused = [
            answer for answer in answers if isinstance(answer, Exception) and "equal or smaller" not in str(answer)
        ]
        assert not refused, refused
        return True

    async def _trim(self, client: redis.asyncio.Redis, name: Name) -> None:
        published = name.messages - self._left[name]
        kept = max(1, published - self._dice.choice((0, 5, 50, 300)))
        begun = time.monotonic()
        for _ in range(_ATTEMPTS):
            try:
                await client.xtrim(name.name, minid=entry_id(kept), approximate=False)
                break
            except _LOST:
                await asyncio.sleep(_AGAIN)
        else:
            raise AssertionError("Redis did not come back")
        self.trimmed.append(Trimmed(name.name, kept, begun, time.monotonic()))


def entry_id(n: int) -> str:
    """Return the id of the message `n`: three in each millisecond."""
    return f"{n // 3 + 1}-{n % 3}"


def number_in(position: str, name: str) -> int | None:
    """Return the number of the last message of `name` that a client at `position` has."""
    marks = position.removeprefix("V.").split(".")
    index = 0 if name.startswith("inbox:") else 1
    major, _, minor = marks[index].partition("-") if index < len(marks) else ("", "", "")
    if not major.isdecimal() or not minor.isdecimal():
        return None
    return max((int(major) - 1) * 3 + min(int(minor), 2), 0)
