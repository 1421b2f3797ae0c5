"""Does each user get exactly what was published for it, while users, Redis and the network come and go?

    python -m tests.push.soak --messages 200000 --seed 7

Two replicas, one Redis behind a bad network, 50 users with a stream and a channel each. The checker has the last word.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.push.checker import Allowance, check
from tests.push.faults import Faults
from tests.push.history import Gap, Got, History, Kind
from tests.push.publishers import Name, Publisher, number_in
from tests.push.stand import PushStand, push_stand
from tests.push.users import Reading, User

_ALLOWANCE = Allowance(settle=2.0, recovery=5.0, latency=15.0)
_PUBLISHERS = 8
_FINISH = 90.0
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """rate: messages a second, of all. pause: seconds between two faults. longest: seconds that one may last."""

    messages: int
    seed: int
    users: int = 50
    rate: float = 1000.0
    pause: tuple[float, float] = (8.0, 20.0)
    longest: float = 15.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was wrong, in words, and what it was about. owed: messages of channels that had to come, and were judged."""

    wrong: list[str]
    owed: int
    summary: str


async def soak(plan: Plan) -> Outcome:
    """Run it to its end, and judge it."""
    async with push_stand() as stand:
        publishers, users = _publishers(plan, stand), _users(plan, stand)
        faults, over = Faults(stand, plan.seed, plan.longest), asyncio.Event()
        reading = [asyncio.create_task(user.run(over)) for user in users.values()]
        breaking = asyncio.create_task(faults.run(plan.pause, over))
        began = time.monotonic()
        try:
            await asyncio.gather(*(publisher.run() for publisher in publishers))
        finally:
            over.set()
        await asyncio.gather(breaking, *reading)
        stand.network.heal()
        published = [message for publisher in publishers for message in publisher.published]
        last = {message.name: message.n for message in published}
        await asyncio.gather(*(user.finish(last, _FINISH) for user in users.values()))
    lineages = {name: user.lineage for name, user in users.items()}
    trims = [trim for publisher in publishers for trim in publisher.trimmed]
    history = History(published, lineages, trims, faults.log, number_in)
    troubles = [trouble for user in users.values() for trouble in user.troubles]
    summary = f"{len(published)} messages in {time.monotonic() - began:.0f} s, {_counted(history)}; {faults.done}"
    return Outcome([*troubles, *check(history, _ALLOWANCE)], _owed(history), summary)


def _publishers(plan: Plan, stand: PushStand) -> list[Publisher]:
    """Three quarters of the messages are for one user's stream, two in a hundred are for all."""
    to_all, to_one = max(plan.messages // 100, 1), plan.messages // (4 * plan.users)
    names = [Name("news", Kind.STREAM, to_all), Name("broadcast", Kind.CHANNEL, to_all)]
    for number in range(plan.users):
        names += [Name(f"inbox:u{number}", Kind.STREAM, 3 * to_one), Name(f"user:u{number}", Kind.CHANNEL, to_one)]
    shares = [names[number::_PUBLISHERS] for number in range(_PUBLISHERS)]
    rates = [plan.rate * sum(name.messages for name in share) / plan.messages for share in shares]
    return [
        Publisher(stand.redis.url, share, rate, plan.seed * 1000 + number)
        for number, (share, rate) in enumerate(zip(shares, rates, strict=True))
    ]


def _users(plan: Plan, stand: PushStand) -> Mapping[str, User]:
    users = {}
    for number in range(plan.users):
        name, seed = f"u{number}", plan.seed * 10_000 + number
        path, news = ("/both", ["news"]) if number % 2 else ("/inbox", [])
        inbox = Reading(Kind.STREAM, path, f"user={name}", frozenset([f"inbox:{name}", *news]))
        push = Reading(Kind.CHANNEL, "/push", f"user={name}", frozenset([f"user:{name}", "broadcast"]))
        users[f"{name} stream"] = User(inbox, stand.ports, seed)
        users[f"{name} channel"] = User(push, stand.ports, -seed - 1)
    return users


def _owed(history: History) -> int:
    """Count what would have been missed, had no message of a channel come."""
    deaf = {
        name: replace(lineage, events=[event for event in lineage.events if not isinstance(event, Got)])
        for name, lineage in history.lineages.items()
        if lineage.kind is Kind.CHANNEL
    }
    return len(check(replace(history, lineages=deaf), _ALLOWANCE))


def _counted(history: History) -> str:
    events = [event for lineage in history.lineages.values() for event in lineage.events]
    got, gaps = (sum(isinstance(event, kind) for event in events) for kind in (Got, Gap))
    return f"{got} deliveries, {gaps} gaps, {len(history.trims)} trims"


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--messages", type=int, default=200_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--rate", type=float, default=1000.0, help="messages a second")
    options = arguments.parse_args()
    outcome = asyncio.run(soak(Plan(options.messages, options.seed, rate=options.rate)))
    print(f"seed {options.seed}: {outcome.summary}")
    for wrong in outcome.wrong[:_SHOWN]:
        print(f"  {wrong}")
    print(f"{len(outcome.wrong)} faults; {outcome.owed} messages of channels had to come")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
