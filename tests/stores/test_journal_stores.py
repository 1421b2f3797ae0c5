"""Does every store of runs do what its port promises, and would the contract's cases notice if one did not?"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf

import pytest

from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.window import Window
from sseproxy.stores.journal import JournalStore, Outcome
from sseproxy.stores.journal_memory import MemoryJournalStore
from tests.stores.journal_contract import ANSWER, FEED, JournalContract, Listener, Stand, block, end_at
from tests.stores.journal_model import ModelJournalStore


@asynccontextmanager
async def one_process(store: JournalStore) -> AsyncGenerator[Stand, None]:
    yield Stand(store, store, limit=0)
    await store.shut()


class TestModel(JournalContract):
    """The model itself."""

    def opening(self) -> AbstractAsyncContextManager[Stand]:
        return one_process(ModelJournalStore())


class TestMemory(JournalContract):
    """The store in this process."""

    def opening(self) -> AbstractAsyncContextManager[Stand]:
        return one_process(MemoryJournalStore())


# What holds in one process beside the contract.


async def test_memory_answers_before_it_returns() -> None:
    store = MemoryJournalStore()
    await store.create(b"1", FEED)
    heard: list[Outcome] = []
    store.append(b"1", 1, block((1, 1)), heard.append, now=0.0)
    store.append(b"1", 2, block((1, 1)), heard.append, now=0.0)
    store.append(b"2", 1, block((1, 1)), heard.append, now=0.0)
    assert heard == [Outcome.STORED, Outcome.FENCED, Outcome.GONE]


async def test_a_follower_may_leave_when_it_is_called() -> None:
    store = MemoryJournalStore()
    await store.create(b"1", FEED)
    last = Listener()

    class Leaving(Listener):
        def grow(self) -> None:
            super().grow()
            store.unfollow(b"1", self)

    first = Leaving()
    for follower in (first, last):
        follower.window = await store.follow(b"1", follower)
    for seq in range(1, 4):
        store.append(b"1", 1, block((1, seq)), lambda _: None, now=0.0)
    assert (len(first.heard), len(last.heard)) == (1, 3)


async def test_a_run_of_a_process_before_goes_on() -> None:
    store = MemoryJournalStore()
    window = Window((1, 5))
    window.append(block((1, 6)), now=0.0)
    assert store.restore(b"1", FEED, window, token=2) is window
    heard: list[Outcome] = []
    store.append(b"1", 1, block((1, 7)), heard.append, now=0.0)
    assert await store.claim(b"1", 2) == 3
    store.append(b"1", 3, block((3, 7)), heard.append, now=0.0)
    assert heard == [Outcome.FENCED, Outcome.STORED]
    end = end_at((1, 1))
    store.restore(b"2", ANSWER, Window((1, 0)), token=2, end=end)
    listener = Listener()
    await store.follow(b"2", listener)
    assert listener.heard == [end]


@pytest.mark.parametrize("verb", ["close", "claim", "follow", "forget"])
async def test_what_was_lent_is_taken_back(verb: str) -> None:
    """Whatever makes another writer, or another reader, ends what is loose; and all of it is in the window."""
    store, loose = MemoryJournalStore(), Loose()
    window = await store.create(b"1", FEED)
    store.lend(b"1", 1, loose)
    assert window.loose is loose
    loose.open((1, 0), until=inf)
    assert loose.add(b"data: 1\n\n", 1, 0.0)
    if verb == "close":
        assert await store.close(b"1", 1, end_at((1, 2))) is Outcome.STORED
    elif verb == "claim":
        assert await store.claim(b"1", 1) == 2
    elif verb == "follow":
        await store.follow(b"1", Listener())
    else:
        store.forget(b"1")
    assert not loose.is_open
    assert window.loose is None
    assert window.top == (1, 1)
    store.lend(b"1", 1, loose)
    assert window.loose is None


async def test_what_is_appended_follows_what_was_loose() -> None:
    store, loose, heard = MemoryJournalStore(), Loose(), list[Outcome]()
    window = await store.create(b"1", ANSWER)
    store.lend(b"1", 1, loose)
    loose.open((1, 0), until=inf)
    loose.add(b"data: 1\n\n", 1, 0.0)
    store.append(b"1", 1, block((1, 1)), heard.append, now=0.0)
    store.append(b"1", 1, block((1, 2)), heard.append, now=0.0)
    assert heard == [Outcome.STORED, Outcome.STORED]
    assert window.top == (1, 2)
    assert [entry.last for entry in window.after((1, 0)) or ()] == [(1, 1), (1, 2)]


async def test_nothing_is_left_of_forgotten_runs() -> None:
    store = MemoryJournalStore()
    for number in range(100):
        run = b"%d" % number
        await store.create(run, FEED)
        await store.point(b"scope", run, await store.find(b"scope"))
    await store.shut()
    assert len(store) == 0
    assert await store.find(b"scope") is None
