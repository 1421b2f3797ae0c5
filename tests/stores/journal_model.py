"""A store of runs as a list of all that was ever accepted, with control entries, as in a Redis stream."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.run import RunEnd
from sseproxy.core.journal.window import Break, Entry, Window
from sseproxy.stores.journal import Follower, Outcome, RunTerms


@dataclass
class ModelRun:
    """log: the mark of each entry, with the number of its events, or with what else it is."""

    terms: RunTerms
    log: list[tuple[Mark, int | str | RunEnd]] = field(default_factory=lambda: [((1, 0), "created")])
    window: Window = field(default_factory=lambda: Window((1, 0)))
    followers: list[Follower] = field(default_factory=list)

    @property
    def top(self) -> Mark:
        return self.log[-1][0]

    def add(self, mark: Mark, before: Mark, what: int | str | RunEnd) -> Outcome:
        """Accept what is next. What is behind the beginning of its token, and not behind the top, is repeated."""
        if isinstance(self.log[-1][1], RunEnd):
            return Outcome.STORED if self.log[-1] == (mark, what) else Outcome.FENCED
        if self.top == before:
            self.log.append((mark, what))
            return Outcome.STORED
        first = next(known for known, _ in self.log if known[0] == self.top[0])
        return Outcome.STORED if first <= before and mark <= self.top else Outcome.FENCED


class ModelJournalStore:
    """Slow, and short enough to be read."""

    def __init__(self) -> None:
        self.runs: dict[bytes, ModelRun] = {}
        self.newest: dict[bytes, bytes] = {}

    def token(self, run: bytes) -> int:
        return self.runs[run].top[0] if run in self.runs else 1

    async def find(self, scope: bytes) -> bytes | None:
        return self.newest.get(scope)

    async def point(self, scope: bytes, run: bytes, expected: bytes | None) -> bytes | None:
        if self.newest.get(scope) == expected and run in self.runs:
            self.newest[scope] = run
        return self.newest.get(scope)

    async def create(self, run: bytes, terms: RunTerms) -> Window:
        if run in self.runs:
            raise ValueError("There is a run of that name.")
        self.runs[run] = ModelRun(terms)
        return self.runs[run].window

    def append(self, run: bytes, token: int, entry: Entry, done: Callable[[Outcome], None], *, now: float) -> None:
        if run not in self.runs:
            return done(Outcome.GONE)
        kept, (major, last) = self.runs[run], entry.last
        size = len(kept.log)
        outcome = kept.add(entry.last, (token, last - entry.count), entry.count) if major == token else Outcome.FENCED
        if len(kept.log) > size:
            if isinstance(entry, Break):
                kept.window.break_in(entry.last, entry.missing, now=now)
            else:
                kept.window.append(entry, now=now)
        done(outcome)
        for follower in kept.followers[:] if len(kept.log) > size else ():
            follower.grow()
        return None

    def lend(self, run: bytes, token: int, loose: Loose) -> None:
        pass

    async def close(self, run: bytes, token: int, end: RunEnd) -> Outcome:
        if run not in self.runs:
            return Outcome.GONE
        kept, (major, seq) = self.runs[run], end.mark
        size = len(kept.log)
        outcome = kept.add((token + 1, seq), (token, seq - 1), end) if major == token else Outcome.FENCED
        for follower in kept.followers[:] if len(kept.log) > size else ():
            follower.finish(end)
        return outcome

    async def claim(self, run: bytes, expected: int) -> int | None:
        kept = self.runs.get(run)
        if kept is None or kept.terms.is_answer or kept.top[0] != expected or isinstance(kept.log[-1][1], RunEnd):
            return None
        kept.log.append(((expected + 1, kept.top[1]), "claimed"))
        return expected + 1

    async def follow(self, run: bytes, follower: Follower) -> Window | None:
        if run not in self.runs:
            return None
        kept = self.runs[run]
        kept.followers.append(follower)
        if isinstance(kept.log[-1][1], RunEnd):
            follower.finish(kept.log[-1][1])
        return kept.window

    def unfollow(self, run: bytes, follower: Follower) -> None:
        if run in self.runs and follower in self.runs[run].followers:
            self.runs[run].followers.remove(follower)

    def forget(self, run: bytes) -> None:
        kept = self.runs.pop(run, None)
        self.newest = {scope: newest for scope, newest in self.newest.items() if newest != run}
        for follower in kept.followers if kept else ():
            follower.forget()

    async def shut(self) -> None:
        for run in list(self.runs):
            self.forget(run)
