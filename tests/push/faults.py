"""What is done to Redis and to the network before it while the soak runs?"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

from tests.push.history import Fault
from tests.push.stand import PushStand

#: Seconds after which a half-open subscription must have been found and dialled anew: silence, and two probes.
_HALF_OPEN = 20.0

#: What is done, for `longest` seconds at most; returns for how much longer its effects may be felt.
Deed = Callable[[PushStand, random.Random, float], Awaitable[float]]


async def _kill(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.redis.kill()
    await asyncio.sleep(dice.uniform(0.0, 3.0))
    await asyncio.to_thread(stand.redis.restart)
    return 0.0


async def _freeze(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.redis.freeze()
    try:
        await asyncio.sleep(dice.choice((0.5, 3.0, 6.0, longest)))
    finally:
        stand.redis.thaw()
    return 0.0


async def _cut(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.network.cut()
    await asyncio.sleep(dice.uniform(0.0, 4.0))
    stand.network.heal()
    return 0.0


async def _break(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.network.break_all()
    return 0.0


async def _drop(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.network.drop()
    await asyncio.sleep(dice.uniform(0.5, min(7.0, longest)))
    stand.network.heal()
    return 0.0


async def _forget(stand: PushStand, dice: random.Random, longest: float) -> float:
    stand.network.forget()
    return _HALF_OPEN


async def _end_subscriptions(stand: PushStand, dice: random.Random, longest: float) -> float:
    await asyncio.to_thread(stand.redis.cli, "CLIENT", "KILL", "TYPE", "pubsub")
    return 0.0


DEEDS: dict[str, Deed] = {
    "killed": _kill,
    "frozen": _freeze,
    "cut": _cut,
    "connections broken": _break,
    "dropped": _drop,
    "half open": _forget,
    "subscriptions ended": _end_subscriptions,
}


class Faults:
    """One deed after another, with a while between. It logs when all was not well."""

    def __init__(self, stand: PushStand, seed: int, longest: float) -> None:
        self.log: list[Fault] = []
        self.done: list[str] = []
        self._stand, self._dice, self._longest = stand, random.Random(seed), longest

    async def run(self, pause: tuple[float, float], until: asyncio.Event) -> None:
        """Go on until `until` is set, and finish what is begun. pause: seconds, from and to."""
        bag: list[str] = []
        while not until.is_set():
            # A slow network is no fault: all must go on as it does.
            self._stand.network.delay(self._dice.choice((0.0, 0.0, 0.2)))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), self._dice.uniform(*pause))
                break
            bag = bag or self._dice.sample(list(DEEDS), len(DEEDS))
            await self._do(bag.pop())

    async def _do(self, name: str) -> None:
        begun = time.monotonic()
        longer = await DEEDS[name](self._stand, self._dice, self._longest)
        self.log.append(Fault(begun, time.monotonic() + longer))
        self.done.append(name)
