"""Where are runs kept if this process is the only one?"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.run import RunEnd
from sseproxy.core.journal.window import Break, Entry, Window
from sseproxy.stores.journal import Follower, Outcome, RunTerms

_STORED = Outcome.STORED  # the name of a member is looked up in two dictionaries


@dataclass(eq=False, slots=True)
class _Kept:
    """A run. since: the sequence number up to which older tokens have written."""

    terms: RunTerms
    window: Window
    token: int = 1
    since: int = 0
    end: RunEnd | None = None
    followers: list[Follower] = field(default_factory=list)


class MemoryJournalStore:
    """A `JournalStore` in this process: the windows are the store, and no verb waits."""

    def __init__(self) -> None:
        self._runs: dict[bytes, _Kept] = {}
        self._newest: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """Return how many runs are kept."""
        return len(self._runs)

    async def find(self, scope: bytes) -> bytes | None:
        return self._newest.get(scope)

    async def point(self, scope: bytes, run: bytes, expected: bytes | None) -> bytes | None:
        newest = self._newest.get(scope)
        if newest == expected and run in self._runs:
            self._newest[scope] = newest = run
        return newest

    async def create(self, run: bytes, terms: RunTerms) -> Window:
        return self.restore(run, terms, Window((1, 0)))

    def restore(
        self,
        run: bytes,
        terms: RunTerms,
        window: Window,
        *,
        token: int = 1,
        end: RunEnd | None = None,
        is_newest: bool = False,
    ) -> Window:
        """Keep a run as it was in a process before: its window, its token, its end. Return the window.

        is_newest: the key of its stream led to it.

        Raises `ValueError` if there is a run of that name.
        """
        if run in self._runs:
            raise ValueError("There is a run of that name.")
        self._runs[run] = _Kept(terms, window, token, window.top[1], end)
        if is_newest:
            self._newest[terms.scope] = run
        return window

    def append(self, run: bytes, token: int, entry: Entry, done: Callable[[Outcome], None], *, now: float) -> None:
        kept = self._runs.get(run)
        if kept is None:
            done(Outcome.GONE)
            return
        window, (major, last) = kept.window, entry.last
        top, before = window.top[1], last - entry.count
        if token != kept.token or major != token or kept.end is not None:
            done(Outcome.FENCED)
        elif before == top:
            if isinstance(entry, Break):
                window.break_in(entry.last, entry.missing, now=now)
            else:
                window.append(entry, now=now)
            done(_STORED)
            if kept.followers:
                for follower in kept.followers[:]:
                    follower.grow()
        else:
            is_repeated = kept.since <= before and last <= top
            done(Outcome.STORED if is_repeated else Outcome.FENCED)

    def lend(self, run: bytes, token: int, loose: Loose) -> None:
        kept = self._runs.get(run)
        if kept is not None and token == kept.token and kept.end is None and not kept.followers:
            kept.window.loose = loose

    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        kept = self._runs.get(run)
        if kept is None:
            return Outcome.GONE
        if kept.end is not None:
            return Outcome.STORED if kept.end == end else Outcome.FENCED
        if token != kept.token or end.mark != (token, kept.window.top[1] + 1):
            return Outcome.FENCED
        kept.window.tighten()
        kept.token, kept.since, kept.end = token + 1, kept.window.top[1], end
        for follower in kept.followers[:]:
            follower.finish(end)
        return Outcome.STORED

    async def claim(self, run: bytes, expected: int) -> int | None:
        kept = self._runs.get(run)
        if kept is None or kept.token != expected or kept.end is not None or kept.terms.is_answer:
            return None
        kept.window.tighten()
        kept.token, kept.since = expected + 1, kept.window.top[1]
        return kept.token

    async def follow(self, run: bytes, follower: Follower) -> Window | None:
        kept = self._runs.get(run)
        if kept is None:
            return None
        kept.window.tighten()
        kept.followers.append(follower)
        if kept.end is not None:
            follower.finish(kept.end)
        return kept.window

    def unfollow(self, run: bytes, follower: Follower) -> None:
        kept = self._runs.get(run)
        if kept is not None and follower in kept.followers:
            kept.followers.remove(follower)

    def forget(self, run: bytes) -> None:
        kept = self._runs.pop(run, None)
        if kept is None:
            return
        kept.window.tighten()
        if self._newest.get(kept.terms.scope) == run:
            del self._newest[kept.terms.scope]
        followers, kept.followers = kept.followers, []
        for follower in followers:
            follower.forget()

    async def shut(self) -> None:
        for run in list(self._runs):
            self.forget(run)
