"""What does a fan-out need of its readers, and of what writes into its window?"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from sseproxy.core.journal.cursor import Flavour, Step, Written, following
from sseproxy.core.journal.positions import START
from sseproxy.core.journal.window import Block, Entry, Spot, Window

#: `Member.slot` of a member that is not live, and of one that is being given something.
OUT: Final = -1
GIVEN: Final = -2


class Voice:
    """What all members of one flavour get in a pass, written once."""

    __slots__ = ("flavour", "has_ids", "id_line", "members", "replayed", "text")

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.has_ids = flavour.has_ids
        self.members = 0
        self.id_line = flavour.id_line()
        self.replayed: tuple[Sequence[Entry], Written] | None = None  # the newest that was written by `replay`
        self.text: bytes | None = None  # once it is written; for the pass under way

    def write(self, step: Step) -> bytes:
        """Write the events of a pass."""
        self.text = self.flavour.write(step.entries).text
        return self.text

    def replay(self, entries: Sequence[Entry]) -> Written:
        """Write a step of members that lag behind; once for all that get the same one."""
        if self.replayed is None or self.replayed[0] is not entries:
            self.replayed = entries, self.flavour.write(entries)
        return self.replayed[1]

    def write_block(self, block: Block) -> bytes:
        """Write the events of one block, which get ids, for a pass of its own."""
        if block.count == 1:
            return self.id_line % block.last + block.text
        return self.flavour.write((block,)).text


class Replay:
    """The newest step of members that lag behind: when many come back at once, many are at one spot."""

    __slots__ = ("_from", "_step", "_to")

    def __init__(self) -> None:
        self._from = self._to = Spot(-1, START)
        self._step: Step | None = None

    def following(self, window: Window, spot: Spot, to: Spot, most: int, *, readers: int) -> Step | None:
        """Return what `cursor.following` does for a member at `spot`, and keep it if there are several `readers`."""
        if self._step is not None and spot == self._from and to == self._to:
            if spot.epoch == window.epoch and spot.mark >= window.base:
                return self._step
            self._step = None
        step = following(window, spot, upto=to.mark, most=most)
        if readers > 1:
            self._from, self._to, self._step = spot, to, step
        return step

    def clear(self, voices: Iterable[Voice]) -> None:
        """No member lags behind: keep nothing, here and in `voices`."""
        self._step = None
        for voice in voices:
            voice.replayed = None


class Member(Protocol):
    """A reader's place in the window of a `Fanout`.

    spot: up to where it was given everything. slot: belongs to the fan-out.
    voice: of its flavour; ``None``: what it gets is written for it alone.
    """

    spot: Spot
    slot: int
    voice: Voice | None

    def receive(self, text: bytes, events: int, now: float) -> None:
        """Hand `text`, which is so many events, to the client. May call back into the fan-out."""

    def take(self, step: Step) -> None:
        """Hand a step to the client. May call back into the fan-out."""

    def wake(self) -> None:
        """Look at the window again, in a later turn of the loop."""

    def fall(self) -> None:
        """What is behind the spot is no longer kept, and no history has it."""

    def fail(self, error: Exception) -> None:
        """Leave after a defect."""


class Held(Protocol):
    """What writes into a window whose readers hold it back; see `WindowPolicy.is_held`."""

    def hold(self) -> None:
        """Bring nothing more: the window is full of what readers still have to get. Calling it again is allowed."""

    def go_on(self) -> None:
        """There is room again. Calling it again is allowed."""
