"""What does a fan-out need of its readers, and of what writes into its window?"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from sseproxy.core.flow import EventSink, Writable
from sseproxy.core.frames import release_frames
from sseproxy.core.journal.cursor import Flavour, Step, Written, following
from sseproxy.core.journal.loose import LOOSE_BYTES, LOOSE_PIECES, Loose
from sseproxy.core.journal.positions import START
from sseproxy.core.journal.window import Block, Entry, Spot, Window
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.core.stream.tally import NO_TALLY, Tally

#: `Member.slot` of a member that is not live, and of one that is being given something.
OUT: Final = -1
GIVEN: Final = -2

#: What is loose is one of so many parts of what is kept, at most.
_LOOSE_PART: Final = 16

#: Bytes: behind a longer event nothing is loose, since so few would be that it would cost more.
LONG: Final = LOOSE_BYTES // 8


_NOT_YET: Final = Spot(-1, START)


class Voice:
    """What all members of one flavour get in a pass, written once.

    tally: of what was written. written_to: the spot behind the newest text.
    """

    __slots__ = ("flavour", "has_ids", "id_line", "members", "replayed", "tally", "text", "written_to")

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.has_ids = flavour.has_ids
        self.members = 0
        self.id_line = flavour.id_line()
        self.replayed: tuple[Sequence[Entry], Written] | None = None  # the newest that was written by `replay`
        self.text: bytes | None = None  # once it is written; for the pass under way
        self.tally = NO_TALLY
        self.written_to = _NOT_YET

    def write(self, step: Step, events: int, now: float) -> bytes:
        """Write a pass, which is so many events."""
        self.text = text = self.flavour.write(step.entries).text
        if text:
            self.written_to = step.to
            if not self.tally.add(text, events, now):
                self.tally = self.tally.following(text)
        return text

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
    sink: takes what it gets, and may call back into the fan-out. tally: that of its voice, while what is counted there
    goes past the sink, straight to `client`.
    """

    spot: Spot
    slot: int
    voice: Voice | None
    sink: EventSink
    tally: Tally | None
    client: Writable

    def receive(self, text: bytes, events: int, now: float) -> None:
        """Hand `text`, which is so many events, to the sink."""

    def open_bypass(self, tally: Tally) -> None:
        """Let what follows in `tally` go past the sink, if it agrees."""

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


def hand_over(member: Member, block: Block, to: Spot, *, now: float) -> None:
    """Give `block` to a member that has everything before it. to: the spot behind it."""
    voice = member.voice
    member.spot = to
    try:
        if voice is not None:
            text = block.text if block.is_named or not voice.has_ids else voice.write_block(block)
            member.receive(text, block.count, now)
        else:
            member.take(Step((block,), to))
    except Exception as error:  # noqa: BLE001 - one reader's defect must not stop the producer
        member.fail(error)
        release_frames(error)


class Brake:
    """Holds a producer back while its window is full of what readers still have to get. is_on: it does."""

    __slots__ = ("_held", "is_on")

    def __init__(self, held: Held) -> None:
        self._held = held
        self.is_on = False

    def look(self, window: Window, limits: WindowLimits, *, is_read_late: bool, is_short: bool) -> None:
        """Hold it back, or let it go on. is_read_late: a reader lags behind. is_short: of memory."""
        if is_read_late and not window.has_room(limits):
            self.is_on = True
            self._held.hold()
        elif self.is_on and (not is_read_late or (window.has_room(limits, part=0.75) and not is_short)):
            self.is_on = False
            self._held.go_on()


def loosened(loose: Loose, block: Block, policy: WindowPolicy, live: Sequence[Member], *, now: float) -> Loose | None:
    """Open `loose` behind `block`, the last one, for `live`: the one reader of a window, which has everything, or none.

    ``None`` if that may not be: less is kept than what is loose should be a small part of, or each id that the reader
    gets has several marks.
    """
    limits = policy.tail
    if limits.events < LOOSE_PIECES * _LOOSE_PART or limits.bytes < LOOSE_BYTES * _LOOSE_PART:
        return None
    voice = live[0].voice if live else None
    if live and voice is None:
        return None
    loose.open(block.last, most=limits.events / _LOOSE_PART, until=now + limits.age / _LOOSE_PART)
    if voice is not None:
        loose.hand_to(live[0].sink.receive_events, live[0].fail, voice.id_line if voice.has_ids else b"")
    return loose
