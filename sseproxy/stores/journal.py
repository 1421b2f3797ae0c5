"""What does the proxy need of a place that keeps runs?"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.run import RunEnd
from sseproxy.core.journal.window import Entry, Window


class Outcome(Enum):
    """What became of an entry, or of an end."""

    STORED = "stored"  # it is there, once; also said of one that is repeated
    FENCED = "fenced"  # it is not: another writer has the run, the run has ended, or an entry before it is missing
    GONE = "gone"  # it is not: the store does not know the run
    AWAY = "away"  # it may be or not: the store does not answer in time


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What a store has to know of a run.

    scope: the digest that names its stream; `point` is asked about it. is_answer: it is never claimed.
    age: seconds. A store that outlives this process forgets a run by itself, so long after its end or its last sign
    of life; one in this process leaves that to `forget`.
    """

    scope: bytes
    is_answer: bool
    age: float


class Follower(Protocol):
    """What hears of a run that another writes. Each call may `unfollow`."""

    def grow(self) -> None:
        """The window has something new, or several things."""

    def finish(self, end: RunEnd) -> None:
        """The run has ended; the window has everything before. Nothing is called after it but `forget`."""

    def forget(self) -> None:
        """The store no longer knows the run. The last call."""


class JournalStore(Protocol):
    """Runs by name, and the newest run of each stream.

    A run has one writer at a time, which holds the run's *token*: a number that only grows. `create` begins with 1,
    `claim` and `close` raise it. What is written with an older one is refused from that moment on, for ever, however
    late it arrives; so no lock is needed, and a process that was paused does no harm.

    `create` and `follow` return a window: what this process sees of the run. Only the store appends to it, what it has
    accepted, and in its order; the caller trims it.
    """

    # The rules that each store keeps; `tests/stores/journal_contract.py` checks them.
    #
    # 1. An entry is accepted if its token is the run's and the entry before it is the newest. Sequence numbers go on
    #    over tokens: (1, 57) is followed by (2, 58).
    # 2. What is accepted is in the window before `done` is called, and `done` before a follower is.
    # 3. An accepted entry reaches each window once, in the order of its numbers. To repeat an append is harmless: what
    #    has only numbers that its token has written is stored already.
    # 4. The first end counts. Nothing is accepted behind it.
    # 5. `done` is called exactly once for each append, and in the order of the appends.
    # 6. A run that was forgotten is as one that never was, and so is a pointer to it.
    #
    # Hazards: an append that arrives after a takeover, and is older than it; an entry of the new token whose number
    # the old writer has used; an answer to an append that is lost on its way, so that the writer repeats it; two
    # processes that make the newest run of one stream at the same moment.

    async def find(self, scope: bytes) -> bytes | None:
        """Return the newest run of a stream; ``None`` if no run is kept."""

    async def point(self, scope: bytes, run: bytes, expected: bytes | None) -> bytes | None:
        """Make `run`, which is kept, the newest run of its stream if `expected` is so far. Return which one is then."""

    async def create(self, run: bytes, terms: RunTerms) -> Window:
        """Keep a new run, with the token 1, in a window that begins at (1, 0).

        Raises `ValueError` if there is a run of that name, and `Unavailable` if the store is away or full.
        """

    def append(self, run: bytes, token: int, entry: Entry, done: Callable[[Outcome], None], *, now: float) -> None:
        """Append `entry`, whose mark has this token and the number behind the newest; for a block, its first event.

        done: hears what has become of it, before the call returns or later; it may call back. now: seconds.
        """

    def lend(self, run: bytes, token: int, loose: Loose) -> None:
        """Let the writer of that token add events by `loose`, too, where no verb has to wait for another process.

        It becomes the `Window.loose` of the run's window, until another writer has the run, it ends, is followed or
        forgotten; then it is closed. A store that must be asked for each entry does nothing.
        """

    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        """End a run, and raise its token. The mark of `end` has this token and the number behind the newest."""

    async def claim(self, run: bytes, expected: int) -> int | None:
        """Raise the token of a feed, and return the new one; ``None`` if it was not `expected`, or the run has ended.

        Sequence numbers go on where the writer before had come to.
        """

    async def follow(self, run: bytes, follower: Follower) -> Window | None:
        """Return the window of a run, and call `follower` for all that comes; ``None`` if the run is not kept.

        Of a run that has ended `follower` hears so before this returns. The caller must call `unfollow`.
        """

    def unfollow(self, run: bytes, follower: Follower) -> None:
        """Call `follower` no more. One that does not follow changes nothing."""

    def forget(self, run: bytes) -> None:
        """Drop a run, in whatever state, and the pointer to it."""

    async def shut(self) -> None:
        """Release everything; the last call."""
