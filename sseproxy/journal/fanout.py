"""How do all readers of one window get what it has new?"""

import asyncio
from functools import partial
from typing import Final

from sseproxy.core.frames import release_frames
from sseproxy.core.journal.cursor import Flavour, Step, following
from sseproxy.core.journal.gap import Missing
from sseproxy.core.journal.loose import Loose
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.window import Block, Spot, Window
from sseproxy.core.journal.window_policy import WindowLimits, WindowPolicy
from sseproxy.core.limits import KIB
from sseproxy.journal.budget import Budget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.history import History
from sseproxy.journal.members import GIVEN, LONG, OUT, Brake, Held, Member, Replay, Voice, hand_over, loosened

#: By so many bytes a window may grow before its budget hears of it, and beyond its limit, by a part of which.
_WORTH_NOTING: Final = 4 * KIB
_SLACK: Final = 1 + 1 / 256


class Fanout:
    """All readers of one window.

    Members that have all that the fan-out has handed out are live; it brings them forward together, pass by pass.
    """

    # A pass brings the live members from one spot to the next: at most one chunk, so that a client
    # that does not keep up is paused before much is queued for it. What comes meanwhile is the next pass.
    #
    # 1. `_at` is where the live members are once the pass under way has ended. Without a pass it is the window's end.
    # 2. During a pass `_todo` has those who still are where it began, `_live` those who are at `_at`. Each is popped
    #    from the one, given its text, and appended to the other: no list is changed while it is iterated, and a member
    #    that is being given something is in neither.
    # 3. A member becomes live by one call, `enter`, that compares its spot with `_at`. No await lies between the end
    #    of its replay and that call. During a pass it joins those who are done.
    # 4. A member leaves by a swap with the last one of its list, whether it pauses or goes: O(1).
    # 5. Nothing behind `_at` is trimmed, so that no live member ever falls out, however slowly passes go.
    # 6. While `_loose` is set, `_at` and the spot of its reader stand still: `tighten` comes before they are used.
    # 7. A member has a tally only while it is in every pass, and its sink gets nothing in another way.
    # 8. Once the stream has ended, a member that has everything is done, and never becomes live again: `is_over`.
    #
    # Hazards: a sink that pauses, resumes or aborts its reader within `receive`; one that publishes there; a member in
    # `_todo` that leaves and is back before its turn (it is at the old spot, or has caught up and is in `_live`);
    # an epoch that begins during a pass: its spots say nothing about the members still in `_todo`, whose step is older.

    def __init__(
        self,
        window: Window,
        loop: asyncio.AbstractEventLoop,
        policy: WindowPolicy,
        catching_up: CatchingUp,
        *,
        history: History | None = None,
        budget: Budget | None = None,
        held: Held | None = None,
    ) -> None:
        self.window = window
        self.policy = policy
        self.history = history
        self.catching_up = catching_up
        self._loop = loop
        self._budget = budget
        self._at = window.end
        self._pass: Step | None = None
        self._live: list[Member] = []
        self._todo: list[Member] = []
        self._behind: set[Member] = set()
        self._ahead: set[Member] = set()
        self._lowest = window.end  # no later than the spot of any member in `_behind`, if that can fall
        self._voices: dict[Flavour, Voice] = {}
        self._members = 0
        self._replay = Replay()
        self._waiting: list[asyncio.Future[None]] = []
        self._noted = 0
        self._has_ended = False
        self._loose: Loose | None = None  # while it is open
        self._brake = None if held is None else Brake(held)

    def __len__(self) -> int:
        """How many members there are."""
        return self._members

    @property
    def at(self) -> Spot:
        """Where live members are, or will be when the pass under way has ended."""
        return self._at

    # The producer's side.

    def start(self, base: Mark) -> None:
        """The stream was reached for the first time: the window begins at `base`. No reader has begun."""
        self.window.restart(base)
        self._at = self.window.end

    def publish(self) -> None:
        """Hand out what the window has new: in this call stack to as many live readers as one turn may have."""
        self.tighten()
        if self._pass is None:
            self._go_on()
        else:
            self.tidy()

    def publish_block(self, block: Block) -> None:
        """The same for a window that has `block` new and nothing else. What comes next may be loose."""
        if self._loose is not None:
            self.tighten()
        live = self._live
        if self._pass is not None or self._ahead or len(live) > 1 or len(block.text) > self.policy.chunk:
            self.publish()
            return
        self._at = at = tuple.__new__(Spot, (self.window.epoch, block.last))  # half the price of `Spot(…)`
        if live:
            hand_over(live[0], block, at, now=self._loop.time())
        window, limits = self.window, self.policy.most if self._behind else self.policy.tail
        has_grown = window.size - self._noted > _WORTH_NOTING
        if has_grown or window.events > limits.events or window.bytes > limits.bytes * _SLACK:
            self.tidy()
        loose = None if block.is_named or len(block.text) > LONG else window.loose
        if loose is not None and self._at is at and not (self._behind or self._ahead or len(live) > 1):
            self._loose = loosened(loose, block, self.policy, live, now=self._loop.time())

    def break_in(self, base: Mark, missing: Missing | None) -> None:
        """Make the window go on at `base`, and have the readers hear what is missing; see `Window.break_in`."""
        self.window.break_in(base, missing, now=self._loop.time())
        self.publish()

    async def settled(self) -> None:
        """Return when no pass is under way. A producer waits here between batches, since nothing is trimmed before."""
        while self._pass is not None:
            waiting = self._loop.create_future()
            self._waiting.append(waiting)
            await waiting

    def shrink(self) -> None:
        """Keep as little as possible."""
        self._trim(self.policy.least)

    def halve(self) -> None:
        """Keep half of what is kept."""
        self._trim(WindowLimits(events=max(1, self.window.events // 2), bytes=self.window.bytes // 2))

    def tidy(self) -> None:
        """Drop what is too much or too old, and note what is left."""
        is_needed = self._behind or self._pass is not None
        self._trim(self.policy.most if is_needed else self.policy.tail)

    def end(self) -> None:
        """Nothing comes any more. Each reader hears of it once it has everything."""
        self.tighten()
        self._has_ended = True
        if self._pass is None:
            self._go_on()

    def dismiss(self, error: Exception) -> None:
        """Let all readers leave with `error`, some in each turn of the loop."""
        for member in [*self._live, *self._todo, *self._behind, *self._ahead]:
            self.catching_up.soon(partial(member.fail, error))

    def close(self) -> None:
        """The window is no longer used; it has no readers."""
        if self._budget is not None:
            self._budget.note(self, 0)
        self._budget = self._brake = None

    # The members' side.

    def tighten(self) -> None:
        """Count what was loose as all else: the window has it, and so has its reader."""
        loose, self._loose = self._loose, None
        if loose is not None:
            loose.close()
            self.window.settle()
            self._at = Spot(self._at.epoch, loose.handed)
            for member in self._live:
                member.spot = self._at

    def join(self, flavour: Flavour) -> Voice:
        """Count a member, and return the voice of its flavour."""
        voice = self._voices.get(flavour)
        if voice is None:
            voice = self._voices[flavour] = Voice(flavour)
        voice.members += 1
        self._members += 1
        return voice

    def following(self, spot: Spot) -> Step | None:
        """Return the next step of a member that lags behind; ``None`` if it has to ask the history."""
        if self._brake is not None and self._brake.is_on:
            self.tidy()  # a reader has come nearer
        return self._replay.following(self.window, spot, self._at, self.policy.chunk, readers=len(self._behind))

    def is_over(self, spot: Spot) -> bool:
        """True if the stream has ended, and a member at `spot` has everything."""
        return self._has_ended and self._pass is None and spot == self._at

    def is_ahead(self, spot: Spot) -> bool:
        """True if `spot` is later than `at`: another process has seen more of the stream, or a pass is older."""
        return spot > self._at

    def enter(self, member: Member) -> bool:
        """Make `member` live if it has everything. Return whether it is."""
        if member.spot != self._at:
            return False
        member.slot = len(self._live)
        self._live.append(member)
        self._catch_up(member)
        return True

    def lag(self, member: Member) -> None:
        """`member` is not live, and the window keeps more for it."""
        self.tighten()
        self._take_out(member)
        self._behind.add(member)
        self._lowest = min(self._lowest, member.spot)

    def wait(self, member: Member) -> None:
        """Wake `member`, which is ahead, when the window has come to its spot."""
        self._behind.discard(member)
        self._ahead.add(member)

    def leave(self, member: Member, voice: Voice) -> None:
        """Forget `member`."""
        self.tighten()
        self._take_out(member)
        self._ahead.discard(member)
        self._members -= 1
        voice.members -= 1
        if not voice.members:
            del self._voices[voice.flavour]
        self._catch_up(member)

    # Private.

    def _catch_up(self, member: Member) -> None:
        """`member` is no longer behind. If it was the last one, the window keeps no more for it."""
        if member in self._behind:
            self._behind.discard(member)
            if not self._behind:
                self._replay.clear(self._voices.values())
                if self._pass is None:
                    self.tidy()

    def _take_out(self, member: Member) -> None:
        slot, member.slot = member.slot, OUT
        if slot < 0:
            return
        row = self._live if slot < len(self._live) and self._live[slot] is member else self._todo
        last = row.pop()
        if last is not member:
            row[slot] = last
            last.slot = slot

    def _go_on(self) -> None:
        """Run passes, until there is nothing new or it is the turn of others."""
        left = self.policy.readers
        while self._pass is not None or self._begin_pass():
            left = self._give(left)
            if self._todo:
                self._loop.call_soon(self._go_on)
                break
            self._end_pass()
        else:
            self._end_pass()
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)
            if self._has_ended:
                for member in self._live[:]:
                    self.lag(member)
                    member.wake()
        self.tidy()

    def _begin_pass(self) -> bool:
        """Begin a pass if there are live members, and something new for them."""
        end = self.window.end
        step = following(self.window, self._at, upto=end.mark, most=self.policy.chunk) if self._live else None
        if step is None:
            # Without live members nothing has to be handed out. What they lack can only be missing where a producer
            # has trimmed the window itself; then each of them goes on by its own cursor.
            for member in self._live[:]:
                self.lag(member)
                member.wake()
            self._at = end
            return False
        if step.to == self._at:
            return False
        self._pass, self._at = step, step.to
        self._todo, self._live = self._live, []
        return True

    def _give(self, left: int) -> int:
        """Hand the step of the pass to `left` members at most. Return how many more it may be in this turn."""
        step, todo, live, at = self._pass, self._todo, self._live, self._at
        assert step is not None
        is_shared, now = not step.has_gap, self._loop.time()
        events = sum(entry.count for entry in step.entries)
        while todo and left:
            left -= 1
            member = todo.pop()
            member.slot = GIVEN
            voice = member.voice
            try:
                if is_shared and voice is not None:
                    member.spot = at
                    if (text := voice.text) is None:
                        text = voice.write(step, events, now)
                    if text and member.tally is voice.tally:
                        member.client.write(text)
                    elif text:
                        member.receive(text, events, now)
                        member.open_bypass(voice.tally)
                else:
                    member.take(step)
            except Exception as error:  # noqa: BLE001 - one reader's defect must not stop the pass for all others
                member.fail(error)
                release_frames(error)
            if member.slot == GIVEN:
                member.slot = len(live)
                live.append(member)
        return left

    def _end_pass(self) -> None:
        """All live members are at `_at`; members that were ahead of it may no longer be."""
        self._pass = None
        for voice in self._voices.values():
            voice.text = None
        for member in [member for member in self._ahead if not self.is_ahead(member.spot)]:
            self._ahead.discard(member)
            self.lag(member)
            member.wake()

    def _trim(self, limits: WindowLimits) -> None:
        self.tighten()
        window = self.window
        if window.epoch == self._at.epoch:
            upto = self._at.mark
            if self.policy.is_held and self._behind and not window.has_room(limits):
                upto = min(upto, *(member.spot.mark for member in self._behind))
            window.trim(limits, now=self._loop.time(), upto=upto)
            if self.policy.is_counted:
                window.pack(limits, upto=self._at.mark)
            if self._brake is not None:
                is_short = self._budget is not None and self._budget.is_short
                self._brake.look(window, limits, is_read_late=bool(self._behind), is_short=is_short)
        if self.history is None and self._behind and self._lowest < (window.epoch, window.base):
            self._drop_fallen(Spot(window.epoch, window.base))
        if self._budget is not None:
            self._noted = window.size
            self._budget.note(self, self._noted)

    def _drop_fallen(self, base: Spot) -> None:
        """Find those for whom nothing is left. It is looked for when the lowest spot has fallen, not each time."""
        self._lowest = min((member.spot for member in self._behind if member.spot >= base), default=self._at)
        for member in [member for member in self._behind if member.spot < base]:
            member.fall()
