"""Do clients of a journal get what was sent, while the network, the service and sseproxy itself come and go?

    python -m tests.soak.soak --events 1000000 --seed 7

A service, sseproxy and the clients are processes of their own. Each writes down what happens, on one clock, and the
checker has the last word.
"""

import argparse
import asyncio
import contextlib
import random
import resource
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.sim.history import Event, Measured, read
from tests.soak import nemeses
from tests.soak.checker import check
from tests.soak.log import now
from tests.soak.stand import MEMORY, ROOT, Stand, soak_stand
from tests.support.patience import LIMIT

_SHOWN = 40
_MIB = 2**20

#: Bytes that a process may grow by from one third of its life to the next.
_GROWTH = 24 * _MIB


@dataclass(frozen=True, slots=True)
class Plan:
    """events: that clients are to get. rate: a second, of each feed. pause: seconds between two deeds.

    quiet: seconds before the first one. deeds: how many there are to be at least.
    """

    events: int
    seed: int
    readers: int = 120
    askers: int = 40
    rate: float = 25.0
    pause: tuple[float, float] = (8.0, 25.0)
    quiet: float = 0.0
    deeds: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was wrong, in words, and how much there was. counts: of what is in the history."""

    wrong: list[str]
    counts: Counter[str]
    summary: str


async def soak(plan: Plan) -> Outcome:
    """Run it to its end, and judge it."""
    began = now()
    async with soak_stand(plan.rate) as stand:
        over, before = asyncio.Event(), await stand.measure()
        deeds: list[str] = []
        dice = random.Random(plan.seed)
        breaking = asyncio.create_task(nemeses.run(stand, dice, plan.pause, over, quiet=plan.quiet, done=deeds))
        try:
            await _run_clients(plan, stand, over, breaking, deeds)
        finally:
            over.set()
        await breaking
        # What was left half open ends now: until then nothing tells the proxy that such a client has gone.
        for network in (stand.front, stand.back):
            network.break_all()
        figures = await _at_rest(stand, before)
        elapsed, history = now() - began, _history(stand.folder)
    wrong = [*stand.troubles, *_grown(stand.samples), *check(history)]
    if figures["sockets"] > before["sockets"] or figures["sseproxy_streams_open"]:
        wrong.append(
            f"I10 {figures['sockets']:.0f} sockets and {figures['sseproxy_streams_open']:.0f} streams are left"
        )
    kept = max(event.bytes for event in history if isinstance(event, Measured))
    if kept > MEMORY:
        wrong.append(f"I10 {kept} bytes are kept")
    counts = Counter(type(event).__name__.lower() for event in history)
    most = max(resident for _, resident in stand.samples) / _MIB
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = (
        f"{counts['got']} events in {elapsed:.0f} s to {counts['requested']} requests, {counts['asked']} upstream, "
        f"{counts['gap']} gaps, {counts['stopped']} stops; {most:.0f} MiB at most; "
        f"{figures['sockets']:.0f} sockets left, as there were {before['sockets']:.0f}; "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU; {dict(Counter(deeds))}"
    )
    return Outcome(wrong, counts, summary)


async def _run_clients(
    plan: Plan,
    stand: Stand,
    over: asyncio.Event,
    breaking: "asyncio.Task[None]",
    deeds: list[str],
) -> None:
    numbers = (plan.seed, plan.readers, plan.askers, stand.front.port, stand.port)
    command = ("-m", "tests.soak.clients", str(stand.folder / "clients.log"), *map(str, numbers))
    clients = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert clients.stdout is not None
    assert clients.stdin is not None
    try:
        while line := await clients.stdout.readline():
            if len(stand.samples) % 10 == 0:
                print(f"{int(line)} events", file=sys.stderr, flush=True)
            if int(line) >= plan.events and len(deeds) >= plan.deeds and not over.is_set():
                over.set()
                await breaking
                clients.stdin.write(b"\n")
            if stand.proxy.is_alive:
                with contextlib.suppress(OSError, AssertionError):  # it may be just about to end
                    await stand.measure()
        if await clients.wait():
            stand.troubles.append(f"the clients ended with {clients.returncode}")
    finally:
        if clients.returncode is None:
            clients.kill()


async def _at_rest(stand: Stand, before: dict[str, float]) -> dict[str, float]:
    """Wait until no client and no upstream is there any more; return the figures of then, whether it came or not."""
    figures: dict[str, float] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            while (figures := await stand.measure())["sockets"] > before["sockets"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)
    return figures


def _grown(samples: list[tuple[int, int]]) -> list[str]:
    """Compare the last third of the life of a process with the one before, if it was long enough."""
    wrong = []
    for pid in dict.fromkeys(pid for pid, _ in samples):
        own = [resident for each, resident in samples if each == pid]
        third = len(own) // 3
        if third > 10 and max(own[-third:]) > max(own[third : 2 * third]) + _GROWTH:
            wrong.append(f"I10 process {pid} grows: {[round(size / _MIB) for size in own[::third]]} MiB")
    return wrong


def _history(folder: Path) -> list[Event]:
    """Return what all processes wrote, in the order of time."""
    lines = [line for path in sorted(folder.glob("*.log")) for line in path.read_text().splitlines()]
    return sorted(read(lines), key=lambda event: event.at)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--readers", type=int, default=120)
    arguments.add_argument("--askers", type=int, default=40)
    arguments.add_argument("--rate", type=float, default=25.0, help="events a second of each feed")
    options = arguments.parse_args()
    plan = Plan(options.events, options.seed, options.readers, options.askers, options.rate)
    outcome = asyncio.run(soak(plan))
    print(f"seed {options.seed}: {outcome.summary}")
    for wrong in outcome.wrong[:_SHOWN]:
        print(f"  {wrong}")
    print(f"{len(outcome.wrong)} faults")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
