"""How much memory does a run take that is kept, and one that waits?

Counted by the interpreter in this process, with real runs and no client.
"""

import asyncio
import gc
import tracemalloc
from collections.abc import Mapping
from typing import Final

from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.rules import Again, Detach, JournalPolicy, Keep, Part, PartKind, ResumePath
from sseproxy.core.journal.run import RunHead
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.plan import StreamKind
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.runs.budget import RunBudget
from sseproxy.runs.desk import Desk
from sseproxy.runs.findings import Ask
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Belonging
from sseproxy.stores.journal import Outcome
from sseproxy.stores.journal_memory import MemoryJournalStore

#: Runs of each kind, the tokens of an answer, and the bytes of each of them.
RUNS: Final = 200
TOKENS: Final = 1000
TOKEN: Final = 205


def _policy(kind: StreamKind) -> JournalPolicy:
    key = (Part(PartKind.RUN),) if kind is StreamKind.ANSWER else (Part(PartKind.URL),)
    return JournalPolicy(kind, key, (), Again.NEW, Start.OLDEST, Detach.END, Keep(), ResumePath("/r/"))


async def new_run(desk: Desk, kind: StreamKind, number: int) -> LiveRun:
    scope, login, owner = (b"%b of the run %d" % (what, number) for what in (b"scope", b"login", b"owner"))
    run = await desk.create(Ask(Belonging("bench", _policy(kind), LimitPolicy(), scope, login, owner)))
    assert run is not None
    fields = [(bytes(bytearray(name)), b"value %d" % number) for name in (b"Content-Type", b"Cache-Control", b"Via")]
    run.state.opened(RunHead(200, b"OK", fields))
    return run


def _send(desk: Desk, run: LiveRun, number: int) -> None:
    def stored(_: Outcome) -> None:
        run.fanout.publish_block(block)

    text = b"data: %0*d\n\n" % (TOKEN - 8, number)
    for block in run.state.take(Cut(1, text)):
        desk.store.append(run.name, run.state.token, block, stored, now=desk.loop.time())


async def _weighed(kind: StreamKind, tokens: int, *, is_over: bool) -> float:
    """Return the bytes that one run takes."""
    desk = Desk(MemoryJournalStore(), RunBudget(1 << 30))
    await new_run(desk, kind, 0)  # what a process has once for all
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run = None
        for number in range(1, RUNS + 1):
            run = await new_run(desk, kind, number)
            for token in range(tokens):
                _send(desk, run, token)
            if is_over:
                run.end(CloseReason.UPSTREAM_END, is_clean=True)
                await asyncio.sleep(0)
        del run
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / RUNS
    finally:
        tracemalloc.stop()
        await desk.close()


async def weighed() -> Mapping[str, float]:
    """Return the memory of a kept answer as a multiple of its text, and that of runs without events in bytes."""
    kept = await _weighed(StreamKind.ANSWER, TOKENS, is_over=True)
    return {
        "kept": kept / (TOKENS * TOKEN),
        "answer": await _weighed(StreamKind.ANSWER, 0, is_over=False),
        "feed": await _weighed(StreamKind.FEED, 0, is_over=False),
    }
