"""Which store does a URL name, and what opens it?"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sseproxy.core.store import REDIS_SCHEMES, StorePolicy
from sseproxy.stores.base import TicketStore
from sseproxy.timers import Clock

if TYPE_CHECKING:
    from sseproxy.stores.journal import JournalStore


def in_memory(policy: StorePolicy, clock: Clock) -> TicketStore:
    """Return a store in this process."""
    from sseproxy.stores.memory import MemoryTicketStore  # noqa: PLC0415 - a process imports the store that it has

    return MemoryTicketStore(clock, most_bytes=policy.memory)


#: What opens a store, by the scheme of its URL. Of a Redis the messages are read (`proxy/backing/redis_stores`);
#: tickets are kept in memory, since a ticket is opened in the process that made it.
_OPENERS: Mapping[str, Callable[[StorePolicy, Clock], TicketStore]] = {
    "": in_memory,
    **dict.fromkeys(REDIS_SCHEMES, in_memory),
}


def open_store(policy: StorePolicy, clock: Clock) -> TicketStore:
    """Return the store of all tickets. The caller must call its `close` later.

    clock: for the times at which tickets expire; the event loop, or a test's. Raises `KeyError` for a URL whose scheme
    is none of `core.store.SCHEMES`: the configuration lets no other through.
    """
    return _OPENERS[policy.scheme](policy, clock)


def runs_in_memory() -> "JournalStore":
    """Return a store of runs in this process."""
    from sseproxy.stores.journal_memory import MemoryJournalStore  # noqa: PLC0415 - a process imports its own store

    return MemoryJournalStore()


#: What opens the store of runs, by the scheme of its URL. With a Redis, too, runs are in the memory of their process.
_JOURNAL_OPENERS: "Mapping[str, Callable[[], JournalStore]]" = {
    "": runs_in_memory,
    **dict.fromkeys(REDIS_SCHEMES, runs_in_memory),
}


def open_journal(policy: StorePolicy) -> "JournalStore":
    """Return the store of all runs. The caller must call its `shut` later.

    Raises `KeyError` as `open_store` does.
    """
    return _JOURNAL_OPENERS[policy.scheme]()
