"""What does an event of a journalled answer cost when each belongs to another stream, so that none is in the caches?

    python -m benchmarks.cold [--streams 200 2000] [--rounds 40]

A process that serves many streams meets each of them seldom: what it touches has left the processor's caches, and an
event costs as much as the memory that it touches. A loop over one stream (`steps`) does not show that. Here the bytes
of an upstream go to a null transport, one event to each stream in a random order, kinds in turns. In µs of CPU, the
median of the rounds; the ratio and the difference are those of the same round.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from benchmarks.journal_memory import new_run
from benchmarks.steps import HEAD, NullDownstream, NullTransport, Relayed
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.stream.plan import StreamKind, StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.relay import Relay
from sseproxy.http1.client import UpstreamConnection
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Join
from sseproxy.runs.joining import join
from sseproxy.runs.live_run import FIRST_MARK, LiveRun
from sseproxy.runs.terms import Opened
from sseproxy.stores.journal_memory import MemoryJournalStore

_CHUNK: Final = b"80\r\ndata: " + b"%0120d" + b"\n\n\r\n"

#: Written before each pass: more than a core's own caches hold, so that they hold nothing else.
_SWEPT: Final = bytearray(4 * 1024 * 1024)

#: What the upstream of one stream sends is given to it.
Stream = Callable[[bytes], None]


class _Source:
    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


def _upstream(relay: Relay) -> Stream:
    connection = UpstreamConnection(asyncio.get_running_loop())
    connection.connection_made(cast(asyncio.Transport, NullTransport()))
    connection.expect_response(Relayed(), to_head=False)
    connection.data_received(HEAD)
    connection.flow_into(relay.receive_data)
    return connection.data_received


def _client(plan: StreamPlan) -> Relay:
    relay = Relay(StreamSession(plan, now=time.monotonic()), NullDownstream())
    relay.start()
    return relay


def relayed(_: int) -> Stream:
    """A stream without a journal."""
    relay = _client(StreamPlan())
    relay.connect(_Source())
    return _upstream(relay)


async def kept(desk: Desk, number: int, *, has_ids: bool, is_read: bool = True) -> Stream:
    """An answer that is kept, with one reader or with none."""
    run = await new_run(desk, StreamKind.ANSWER, number)
    found: list[Stream] = []
    opened = Opened(cast(Any, None), run.state.head, lambda relay: found.append(_upstream(relay)), cast(Any, None))
    run.attend()
    run.adopt(StreamPlan(is_answer=True), opened, cast(Any, None))
    if is_read:
        _read(run, has_ids=has_ids)
    return found[0]


async def shared(desk: Desk, count: int, *, has_ids: bool) -> Stream:
    """One feed with so many readers."""
    run = await new_run(desk, StreamKind.FEED, count)
    found: list[Stream] = []
    opened = Opened(cast(Any, None), run.state.head, lambda relay: found.append(_upstream(relay)), cast(Any, None))
    for _ in range(count):
        run.attend()
        _read(run, has_ids=has_ids)
    run.adopt(StreamPlan(), opened, cast(Any, None))
    return found[0]


def _read(run: LiveRun, *, has_ids: bool) -> None:
    relay = _client(StreamPlan(is_answer=True))
    flavour = Flavour(has_ids=has_ids, prefix=run.state.prefix)
    where = Join(run, FIRST_MARK)
    reader, _ = join(relay, where, flavour, named=b"", has_primer=False, on_end=lambda: None, counts=Counter())
    relay.connect(reader)


def spent(streams: Sequence[Stream], number: int) -> float:
    """Send one event to each stream. Return the µs of CPU for one."""
    chunk = _CHUNK % number
    _SWEPT[:] = bytes(len(_SWEPT))
    began = time.process_time()
    for stream in streams:
        stream(chunk)
    return (time.process_time() - began) / len(streams) * 1e6


async def measured(count: int, rounds: int, names: Sequence[str]) -> Mapping[str, list[float]]:
    """Return the µs of an event in each round, for each kind."""
    desk = Desk(MemoryJournalStore(), RunBudget(1 << 32))
    kinds: dict[str, list[Stream]] = {"relay": [relayed(number) for number in range(count)]}
    if "answer" in names:
        kinds["answer"] = [await kept(desk, number, has_ids=False) for number in range(count)]
    if "answer-ids" in names:
        kinds["answer-ids"] = [await kept(desk, count + number, has_ids=True) for number in range(count)]
    if "unread" in names:
        kinds["unread"] = [await kept(desk, 2 * count + number, has_ids=True, is_read=False) for number in range(count)]
    feeds = {"feed": await shared(desk, count, has_ids=False), "feed-ids": await shared(desk, count, has_ids=True)}
    for _ in range(3 * count):  # turns in which readers become live
        await asyncio.sleep(0)
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds):
        order = list(kinds)
        random.shuffle(order)
        for name in order:
            await asyncio.sleep(0)
            random.shuffle(kinds[name])
            found[name].append(spent(kinds[name], number))
        for name, feed in feeds.items():
            found.setdefault(name, []).append(await _passed(feed, number, count))
    await desk.close()
    return found


async def _passed(feed: Stream, number: int, readers: int) -> float:
    """Send one event to all readers of a feed, and return the µs of CPU for one: a pass has several turns."""
    began = time.process_time()
    feed(_CHUNK % number)
    for _ in range(readers // 256 + 2):
        await asyncio.sleep(0)
    return (time.process_time() - began) / readers * 1e6


def main() -> None:
    """Print a table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--streams", type=int, nargs="*", default=[200, 2000])
    arguments.add_argument("--rounds", type=int, default=150)
    arguments.add_argument("--names", nargs="*", default=["answer", "answer-ids"])
    options = arguments.parse_args()
    for count in options.streams:
        found = asyncio.run(measured(count, options.rounds, options.names))
        relay = found["relay"][10:]
        for name, each in found.items():
            pairs = list(zip(each[10:], relay, strict=True))
            more = statistics.median(one - other for one, other in pairs)
            ratio = statistics.median(one / other for one, other in pairs)
            print(f"{count:5} {name:12} {statistics.median(each[10:]):6.2f}  + {more:5.2f}  x {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
