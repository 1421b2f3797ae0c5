"""What is left of a run that outlives its process?"""

from dataclasses import dataclass, field

from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.run import RunEnd, RunHead, RunPhase, RunState
from sseproxy.core.journal.window import Break, Entry, Window


@dataclass(frozen=True, slots=True)
class RunOwner:
    """To which stream and to which clients a run belongs.

    route: its name. scope, login, owner: digests, worth something only together with the secret that made them.
    is_newest: the key of its stream leads to it.
    """

    route: str
    scope: bytes
    login: bytes
    owner: bytes
    is_answer: bool
    is_newest: bool


@dataclass(frozen=True, slots=True)
class RunImage:
    """A run that has ended, or a feed that sleeps.

    base, broken: those of its window. entries: each with its age in seconds. own_ids: the places of
    each id that the upstream has given. rested: seconds since the run has ended, or fallen asleep.
    The other members are those of a `RunState`.
    """

    name: bytes = field(repr=False)
    belongs: RunOwner = field(repr=False)
    token: int
    seq: int
    head: RunHead | None
    base: Mark
    broken: Mark
    entries: tuple[tuple[Entry, float], ...] = field(repr=False)
    own_ids: tuple[tuple[bytes, Mark], ...] = field(repr=False)
    last_own_id: bytes | None = field(repr=False)
    is_named: bool
    end: RunEnd | None
    rested: float

    @classmethod
    def of(cls, state: RunState, belongs: RunOwner, *, now: float, rested: float) -> "RunImage":
        """Return the image of a run that has ended or sleeps."""
        window = state.window
        return cls(
            state.name,
            belongs,
            state.token,
            state.seq,
            state.head,
            window.base,
            window.broken,
            tuple(window.aged(now=now)),
            tuple((own_id, mark) for own_id, mark in state.own_ids if mark >= window.base),
            state.last_own_id,
            state.is_named,
            state.end,
            rested,
        )

    def restored(self, *, now: float, elapsed: float) -> RunState:
        """Return the run as it was, in a window of its own.

        now: of the clock of this process. elapsed: seconds between the image and now.
        """
        window = Window(self.base, self.broken)
        for entry, age in self.entries:
            came_at = now - elapsed - age
            if isinstance(entry, Break):
                window.break_in(entry.last, entry.missing, now=came_at)
            else:
                window.append(entry, now=came_at)
        state = RunState(self.name, window, token=self.token, seq=self.seq)
        state.phase = RunPhase.ASLEEP if self.end is None else RunPhase.ENDED
        state.head, state.end = self.head, self.end
        for own_id, mark in self.own_ids:
            state.own_ids.add(own_id, mark)
        state.last_own_id, state.is_named = self.last_own_id, self.is_named
        return state
