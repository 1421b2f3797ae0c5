"""What does an event cost for each of many readers of one window?

    python -m benchmarks.fanout

One pass over 2,000 live readers, the fastest of several, in µs for each reader; beside it what the relay alone takes
where events do not go past it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.steps import EVENT, null_relay
from sseproxy.core.flow import Bypass, EventSink
from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.window import STREAM, Block, Window
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.reader import Reader

READERS = 2000
_RUNS = 30


class _NullSink:
    """Takes everything at no cost."""

    def receive_data(self, data: bytes) -> None: ...

    def receive_events(self, data: bytes, events: int, now: float) -> None: ...

    _bypass: Bypass | None = None

    def open_bypass(self, bypass: Bypass, tally: object) -> "_NullSink":
        self._bypass = bypass
        return self

    def close_bypass(self) -> None:
        if self._bypass is not None:
            self._bypass.end_bypass()

    def write(self, data: bytes) -> None: ...

    def receive_eof(self) -> None: ...

    def receive_error(self, error: Exception) -> None: ...


def _fastest(call: Callable[[], None]) -> float:
    """In µs, for each reader."""
    best = float("inf")
    for _ in range(_RUNS):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best / READERS * 1e6


async def _passing(sinks: list[EventSink], flavour: Flavour, streams: int = 1) -> float:
    loop = asyncio.get_running_loop()
    catching_up = CatchingUp(loop)
    policy = replace(STREAM, readers=READERS)
    fanouts = [Fanout(Window(), loop, policy, catching_up) for _ in range(streams)]
    for sink in sinks:
        reader = Reader(sink, flavour, loop)
        for place in [reader.place(fanout) for fanout in fanouts]:
            place.begin((0, 0))
    for _ in range(READERS):  # a turn of the loop for more than one reader
        await asyncio.sleep(0)
    window = fanouts[0].window

    def publish() -> None:
        window.append(Block((0, window.top[1] + 1), 1, EVENT), now=0.0)
        fanouts[0].publish()

    return _fastest(publish)


async def main() -> None:
    nothing: list[EventSink] = [_NullSink() for _ in range(READERS)]
    print(f"{await _passing(nothing, Flavour()):8.2f}  fan-out alone")
    print(
        f"{await _passing(nothing, Flavour(), streams=2):8.2f}  of two streams, whose ids are written for each reader"
    )
    for name, flavour, text in (("with ids", Flavour(), b"id: 0-1\n" + EVENT), ("without", PLAIN, EVENT)):
        relays: list[EventSink] = [null_relay() for _ in range(READERS)]
        print(f"{await _passing(relays, flavour):8.2f}  fan-out and relay, {name}")

        def relay_alone(relays: list[EventSink] = relays, text: bytes = text) -> None:
            for relay in relays:
                relay.receive_data(text)

        print(f"{_fastest(relay_alone):8.2f}  relay alone, {name}")


if __name__ == "__main__":
    asyncio.run(main())
