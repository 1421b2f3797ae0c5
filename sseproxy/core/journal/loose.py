"""What does an event cost whose one reader has had everything before it? As little memory as can be."""

from collections.abc import Callable
from math import inf
from typing import Final

from sseproxy.core.frames import release_frames
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.limits import KIB

#: So many pieces are loose at most, of so many bytes: about, see `Loose.add`.
LOOSE_PIECES: Final = 32
LOOSE_BYTES: Final = 4 * KIB


class Loose:
    """The newest events of one window that are not a block of it yet, and where they went at once.

    at: when the last one came. handed: the mark of the last one that has become part of a block.
    is_open: `add` may be called. receive: of the one reader, if there is one; it has what is loose already.
    """

    # A process with many runs meets each of them seldom, so an event costs what it touches in memory: here this
    # object, its list, and the reader. Blocks, marks and sizes are made once for many events.
    #
    # 1. What is loose is behind all blocks of the window, of one token, and of a run whose upstream has given no ids.
    #    The window takes it (`take`) before it answers or takes anything else.
    # 2. The reader, if there is one, has everything up to the last loose event, and there is no other one.
    # 3. Open only while 2. holds: whatever changes it closes this first (`Fanout`), as do the end of the connection
    #    that brings the events (`Intake`), and a store that no longer takes them (`JournalStore.lend`).
    #
    # Hazard: a reader that pauses, leaves or fails within `receive`: the event is loose before.

    __slots__ = (
        "_bytes",
        "_events",
        "_fail",
        "_id_line",
        "_more",
        "_most",
        "_newest",
        "_seq",
        "_token",
        "_until",
        "at",
        "handed",
        "is_open",
        "receive",
        "texts",
    )

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.at = -inf
        self.handed = START
        self.is_open = False
        self.receive: Callable[[bytes, int, float], None] | None = None
        self._fail: Callable[[Exception], None] | None = None
        self._id_line = b""
        self._token = self._seq = 0  # of the last event before
        self._more = 0  # events of pieces that have several, but for one of each
        self._most = inf  # of these
        self._until = inf
        self._newest = b""
        self._events = self._bytes = 0

    def open(self, mark: Mark, *, most: float = inf, until: float) -> None:
        """Take events behind `mark`, up to that time, for no reader. Nothing is loose.

        most: events beside one for each piece.
        """
        self.is_open = True
        self.handed = mark
        self._token, self._seq = mark
        self._most, self._until = most, until

    def hand_to(
        self, receive: Callable[[bytes, int, float], None], fail: Callable[[Exception], None], id_line: bytes
    ) -> None:
        """Hand them to a reader, too. fail: hears of its defect. id_line: see `Flavour.id_line`; empty: without ids."""
        self.receive, self._fail, self._id_line = receive, fail, id_line

    def close(self) -> None:
        """Take no more. What is loose stays so until the window takes it."""
        self.is_open = False
        self.receive = self._fail = None
        self._id_line = b""

    def add(self, text: bytes, count: int, now: float) -> bool:
        """Take `count` events without ids of the upstream. Return whether there was room for them."""
        texts = self.texts
        number = len(texts) + 1
        # With this rule no sum of sizes has to be kept. In all it is at most about four times `LOOSE_BYTES`: where each
        # piece is as long as it may be, and so shorter than the one before.
        if number > LOOSE_PIECES or number * len(text) > LOOSE_BYTES or now > self._until:
            return False
        id_line = self._id_line
        if count > 1:
            # A block is dropped as a whole: one with many small events would take most of what is kept along.
            if id_line or self._more + count > self._most:
                return False
            self._more += count - 1
        texts.append(text)
        self.at = now
        if (receive := self.receive) is not None:
            try:
                receive(
                    id_line % (self._token, self._seq + number + self._more) + text if id_line else text, count, now
                )
            except Exception as error:  # noqa: BLE001 - one reader's defect must not stop the producer
                if self._fail is not None:
                    self._fail(error)
                release_frames(error)
        return True

    def take(self) -> tuple[Mark, int, bytes]:
        """Return what is loose, which is something, as the members of a `Block`; it is so no longer."""
        texts = self.texts
        count, text = len(texts) + self._more, b"".join(texts)
        self._newest = texts[-1]
        texts.clear()
        self._more = 0
        self._seq += count
        self._events += count
        self._bytes += len(text)
        self.handed = (self._token, self._seq)
        return self.handed, count, text

    @property
    def newest(self) -> bytes:
        """The last event that came, or the piece in which it did."""
        return self.texts[-1] if self.texts else self._newest

    @property
    def events(self) -> int:
        """How many have come this way so far."""
        return self._events + len(self.texts) + self._more

    @property
    def bytes(self) -> int:
        """The bytes of these."""
        return self._bytes + sum(map(len, self.texts))
