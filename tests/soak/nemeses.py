"""What is done to the network, the service and the proxy while the soak runs?"""

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable

from tests.soak.log import now
from tests.soak.stand import Stand
from tests.support.nemesis import Nemesis

#: Seconds after which all must be well once a fault is over: a client hears nothing for 6 s, an upstream is asked again
#: within some seconds.
RECOVERY = 10.0

Deed = Callable[[Stand, random.Random], Awaitable[None]]


def _network(stand: Stand, dice: random.Random) -> Nemesis:
    return dice.choice((stand.front, stand.back))


async def _drop(stand: Stand, dice: random.Random) -> None:
    network = _network(stand, dice)
    network.drop()
    await asyncio.sleep(dice.uniform(0.2, 3.0))
    network.heal()


async def _cut(stand: Stand, dice: random.Random) -> None:
    network = _network(stand, dice)
    network.cut()
    await asyncio.sleep(dice.uniform(0.0, 2.0))
    network.heal()


async def _break(stand: Stand, dice: random.Random) -> None:
    _network(stand, dice).break_all()


async def _forget(stand: Stand, dice: random.Random) -> None:
    _network(stand, dice).forget()


async def _kill(stand: Stand, dice: random.Random) -> None:
    await stand.kill_upstream()
    await asyncio.sleep(dice.uniform(0.0, 2.0))
    await stand.start_upstream()


async def _restart(stand: Stand, dice: random.Random) -> None:
    await stand.stop_proxy()
    await stand.start_proxy()


async def _reload(stand: Stand, dice: random.Random) -> None:
    stand.proxy.send_signal(signal.SIGHUP)


DEEDS: dict[str, Deed] = {
    "dropped": _drop,
    "cut": _cut,
    "broken": _break,
    "half open": _forget,
    "service killed": _kill,
    "restarted": _restart,
    "reloaded": _reload,
}


async def run(
    stand: Stand,
    dice: random.Random,
    pause: tuple[float, float],
    until: asyncio.Event,
    *,
    quiet: float,
    done: list[str],
) -> None:
    """Do one deed after another until `until` is set, and note them in `done`.

    pause: seconds between, from and to. quiet: seconds before the first one.
    """
    bag: list[str] = []
    while not until.is_set():
        # A slow network is no fault: all must go on as it does.
        for network in (stand.front, stand.back):
            network.delay(dice.choice((0.0, 0.0, 0.1)))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), quiet + dice.uniform(*pause))
            break
        quiet = 0.0
        bag = bag or dice.sample(list(DEEDS), len(DEEDS))
        name, began = bag.pop(), now()
        await DEEDS[name](stand, dice)
        if name != "reloaded":
            stand.log.note("fault", at=began, done=now() + RECOVERY)
        done.append(name)
    stand.front.heal()
    stand.back.heal()
