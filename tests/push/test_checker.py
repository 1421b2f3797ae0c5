"""Does the checker find each forged fault, and nothing in a right history?"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.push.checker import Allowance, check
from tests.push.history import (
    ClientEvent,
    Closed,
    Fault,
    Gap,
    Got,
    History,
    Kind,
    Lineage,
    Opened,
    Published,
    Ready,
    Start,
    Trimmed,
)

INBOX = "inbox:ann"


def published(count: int, name: str = INBOX) -> list[Published]:
    """One message in ten seconds, from 10 on."""
    return [Published(name, n, 10.0 * n, 10.0 * n + 0.5) for n in range(1, count + 1)]


def got(n: int, *, at: float | None = None, name: str = INBOX) -> Got:
    return Got(10.0 * n + 1 if at is None else at, name, n, f"p{n}")


def gap(at: float, origin: str, lost: int | None, position: str, reason: str = "trimmed") -> Gap:
    return Gap(at, reason, origin, lost, position)


def lineage(*events: ClientEvent, kind: Kind = Kind.STREAM, start: Start = Start.OLDEST) -> Lineage:
    return Lineage(kind, frozenset({INBOX}), events, start)


def stream(*events: ClientEvent, count: int = 6, trims: Sequence[Trimmed] = (), start: Start = Start.OLDEST) -> History:
    """All begins at 1 with a client that has the position p0."""
    events = (Opened(1.0, ""), Ready(1.0, "p0"), *events)
    return History(published(count), {"ann": lineage(*events, start=start)}, trims)


def channel(*events: ClientEvent, count: int = 6, faults: Sequence[Fault] = ()) -> History:
    events = (Opened(1.0, ""), Ready(1.0, ""), *events)
    return History(published(count), {"ann": lineage(*events, kind=Kind.CHANNEL)}, faults=faults)


ALL = tuple(map(got, range(1, 7)))
#: The client has 1 and 2, is away, and comes back when 1 to 4 are gone.
AWAY = (got(1), got(2), Closed(25.0), Opened(65.0, "p2"), Ready(65.0, "p2"))
TRIM = (Trimmed(INBOX, 5, 60.0, 61.0),)
REST = (got(5, at=65.2), got(6, at=65.3))

RIGHT = {
    "all, live": stream(*ALL, Closed(100.0)),
    "none": stream(count=0),
    "away and back": stream(*AWAY, *(got(n, at=65.0 + n / 10) for n in range(3, 7))),
    "back to an older position": stream(
        *ALL[:4], Closed(45.0), Opened(46.0, "p2"), Ready(46.0, "p2"), got(3, at=47.0), got(4, at=47.1), *ALL[4:]
    ),
    "back to the first position": stream(
        *ALL[:4], Closed(45.0), Opened(46.0, "p0"), *(got(n, at=47.0) for n in range(1, 5)), *ALL[4:]
    ),
    "begins at the latest": History(
        published(6), {"ann": lineage(Opened(35.0, ""), Ready(35.0, "p3"), *ALL[3:], start=Start.LATEST)}
    ),
    "begins at the latest, while one is published": History(
        published(6), {"ann": lineage(Opened(30.0, ""), Ready(30.2, "p3"), *ALL[3:], start=Start.LATEST)}
    ),
    "begins at the oldest kept": History(
        published(6),
        {"ann": lineage(Opened(65.0, ""), Ready(65.0, "p4"), *REST)},
        TRIM,
    ),
    "trimmed": stream(*AWAY, gap(65.1, "p2", 2, "g4"), *REST, trims=TRIM),
    "trimmed, and not counted": stream(*AWAY, gap(65.1, "p2", None, "g4"), *REST, trims=TRIM),
    "trimmed, and it broke behind the gap": stream(
        *AWAY, gap(65.1, "p2", 2, "g4"), Closed(65.2), Opened(66.0, "g4"), *REST, trims=TRIM
    ),
    "trimmed twice": stream(
        *AWAY,
        gap(65.1, "p2", 2, "g4"),
        Closed(65.2),
        Opened(70.0, "g4"),
        gap(70.1, "g4", 1, "g5"),
        got(6, at=70.2),
        trims=[*TRIM, Trimmed(INBOX, 6, 66.0, 67.0)],
    ),
    "the position itself is trimmed, and nothing behind it": stream(
        *AWAY,
        gap(65.1, "p2", None, "g2"),
        *(got(n, at=66.0) for n in range(3, 7)),
        trims=[Trimmed(INBOX, 3, 60.0, 61.0)],
    ),
    "told again, since the first server had more than Redis": replace(
        stream(
            *AWAY,
            gap(65.1, "p2", 1, "p3"),
            Closed(65.2),
            Opened(70.0, "p3"),
            gap(70.1, "p3", 1, "p4"),
            *(got(n, at=70.2) for n in (5, 6)),
            trims=TRIM,
        ),
        number=lambda position, name: int(position[1:]) if name == INBOX else None,
    ),
    "trimmed to nothing": stream(*AWAY, gap(65.1, "p2", 4, "g6"), trims=[Trimmed(INBOX, 7, 60.0, 61.0)]),
    "trimmed away behind a live reader": stream(*ALL, trims=TRIM),
    "channel": channel(*ALL, Closed(100.0)),
    "channel, not connected": channel(
        *ALL[:2], Closed(25.0), Opened(45.0, ""), Ready(45.0, ""), *ALL[4:], Closed(100.0)
    ),
    "channel, Redis away": channel(*ALL[:2], *ALL[4:], Closed(100.0), faults=[Fault(29.0, 31.0)]),
    "channel, hardly connected": channel(*ALL[:2], Closed(30.7)),
}

WRONG = {
    "lost in silence": (stream(*ALL[:2], *ALL[3:]), "lost inbox:ann 3 to 3 in silence"),
    "the last one lost": (stream(*ALL[:5]), "lost inbox:ann 6 to 6 in silence"),
    "the first one lost": (stream(*ALL[1:]), "lost inbox:ann 1 to 1 in silence"),
    "twice": (stream(*ALL[:3], got(3), *ALL[3:]), "got inbox:ann 3 after 3"),
    "twice after coming back": (stream(*AWAY, got(2, at=65.1), *(got(n, at=66.0) for n in range(3, 7))), "2 after 2"),
    "out of order": (stream(got(2, at=21.0), got(1, at=22.0), *ALL[2:]), "got inbox:ann 1 after 2"),
    "never published": (stream(*ALL, got(7)), "never published"),
    "before it was published": (stream(*ALL[:5], got(6, at=59.0)), "before it was published"),
    "cut in two": (stream(*ALL[:5], replace(got(6), intact=False)), "checksum"),
    "another's": (stream(*ALL, got(1, name="inbox:bob")), "not its own"),
    "an unknown position": (stream(*ALL, Closed(70.0), Opened(71.0, "p99")), "never given"),
    "lost at the latest": (
        History(published(6), {"ann": lineage(Opened(35.0, ""), Ready(35.0, "p3"), *ALL[4:], start=Start.LATEST)}),
        "lost inbox:ann 4 to 4 in silence",
    ),
    "trimmed in silence": (stream(*AWAY, *REST, trims=TRIM), "lost inbox:ann 3 to 4 in silence"),
    "gap too wide": (
        stream(*AWAY, gap(65.1, "p2", 3, "g5"), REST[1], trims=TRIM),
        "although Redis had all from 5",
    ),
    "nothing behind the gap": (stream(*AWAY, gap(65.1, "p2", 2, "g4"), trims=TRIM), "although Redis had all from 5"),
    "gap without a trim": (
        stream(*ALL[:3], gap(32.0, "p3", None, "g3"), *ALL[3:]),
        "although Redis had trimmed nothing there",
    ),
    "gap elsewhere": (
        stream(*AWAY, *(got(n, at=66.0) for n in range(3, 6)), gap(66.1, "p5", None, "g5"), REST[1], trims=TRIM),
        "although Redis had trimmed nothing there",
    ),
    "gap before the trim": (
        stream(*AWAY, gap(65.1, "p2", 2, "g4"), *REST, trims=[Trimmed(INBOX, 5, 70.0, 71.0)]),
        "although Redis had trimmed nothing there",
    ),
    "gap told twice": (
        stream(
            *AWAY,
            gap(65.1, "p2", 2, "g4"),
            Closed(65.2),
            Opened(69.0, "g4"),
            gap(69.1, "g4", None, "g4"),
            *(replace(event, at=event.at + 5) for event in REST),
            trims=TRIM,
        ),
        "gap told again",
    ),
    "gap miscounted": (stream(*AWAY, gap(65.1, "p2", 3, "g4"), *REST, trims=TRIM), "was given 3"),
    "gap counts what is there": (
        stream(
            *AWAY,
            gap(65.1, "p2", 1, "g2"),
            *(got(n, at=66.0) for n in range(3, 7)),
            trims=[Trimmed(INBOX, 3, 60.0, 61.0)],
        ),
        "was given 1",
    ),
    "gap of an unknown place": (stream(*AWAY, gap(65.1, "p1-1", 2, "g4"), *REST, trims=TRIM), "never given"),
    "gap with another reason": (stream(*AWAY, gap(65.1, "p2", 2, "g4", "unknown"), *REST, trims=TRIM), "unknown"),
    "late": (stream(*ALL[:2], got(3, at=60.0), Closed(100.0), *ALL[3:]), "waited too long for inbox:ann 3"),
    "channel: lost": (channel(*ALL[:2], *ALL[3:], Closed(100.0)), "connected, and did not get inbox:ann 3"),
    "channel: lost long after a fault": (
        channel(*ALL[:4], *ALL[5:], Closed(100.0), faults=[Fault(29.0, 31.0)]),
        "did not get inbox:ann 5",
    ),
    "channel: twice": (channel(*ALL[:3], got(3), *ALL[3:], Closed(100.0)), "3 after 3"),
    "channel: another's": (channel(*ALL, got(1, name="inbox:bob"), Closed(100.0)), "not its own"),
    "channel: gap": (channel(*ALL, gap(70.0, "p0", 1, "g"), Closed(100.0)), "gap on a channel"),
}


@pytest.mark.parametrize("history", RIGHT.values(), ids=RIGHT.keys())
def test_a_right_history_passes(history: History) -> None:
    assert check(history) == []


@pytest.mark.parametrize(("history", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_forged_fault_is_found(history: History, words: str) -> None:
    assert any(words in fault for fault in check(history)), check(history)


def test_a_client_of_two_streams() -> None:
    names = frozenset({INBOX, "news"})
    events: list[ClientEvent] = [
        Opened(1.0, ""),
        Ready(1.0, "p0"),
        *ALL[:4],
        got(1, at=61.0, name="news"),
        got(2, at=61.5, name="news"),
    ]
    log = [*published(4), Published("news", 1, 60.0, 60.1), Published("news", 2, 60.2, 60.3)]
    right = History(log, {"ann": Lineage(Kind.STREAM, names, events)})
    assert check(right) == []
    assert check(History(log, {"ann": Lineage(Kind.STREAM, names, events[:-1])})) != []


class _Server:
    """A right server with one stream and one client, in steps; the clock ticks with each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.published: list[Published] = []
        self.trims: list[Trimmed] = []
        self.events: list[ClientEvent] = []
        self._kept_from, self._had, self._position, self._is_open = 1, 0, "", False

    def step(self, action: str) -> None:
        self.now += 3
        getattr(self, action)()
        if self._is_open:
            self._deliver()

    def publish(self) -> None:
        self.published.append(Published(INBOX, len(self.published) + 1, self.now - 0.1, self.now))

    def trim(self) -> None:
        self._kept_from = max(self._kept_from, len(self.published))
        self.trims.append(Trimmed(INBOX, self._kept_from, self.now - 0.1, self.now))

    def connect(self) -> None:
        if not self._is_open:
            self.events.append(Opened(self.now, self._position))
            if not self._position:
                self._had, self._position = self._kept_from - 1, f"p{self._kept_from - 1}"
            self.events.append(Ready(self.now + 0.1, self._position))
            self._is_open = True

    def leave(self) -> None:
        if self._is_open:
            self.events.append(Closed(self.now))
            self._is_open = False

    def crash(self) -> None:
        """It forgets the last message it had, and its position with it."""
        self.leave()
        seen = [event for event in self.events if isinstance(event, Got | Ready | Gap)][:-1]
        if seen:
            self._position = seen[-1].position
            self._had = int(self._position[1:])

    def _deliver(self) -> None:
        if self._had + 1 < self._kept_from:
            lost = self._kept_from - 1 - self._had
            self.events.append(Gap(self.now + 0.2, "trimmed", self._position, lost, f"p{self._kept_from - 1}"))
            self._had, self._position = self._kept_from - 1, f"p{self._kept_from - 1}"
        while self._had < len(self.published):
            self._had, self._position = self._had + 1, f"p{self._had + 1}"
            self.events.append(Got(self.now + 0.3, INBOX, self._had, self._position))

    @property
    def history(self) -> History:
        return History(self.published, {"ann": lineage(*self.events)}, self.trims)


_ACTIONS = st.lists(st.sampled_from(["publish", "publish", "trim", "connect", "leave", "crash"]), max_size=60)


def _played(actions: list[str]) -> History:
    server = _Server()
    for action in [*actions, "connect", "publish", "leave"]:
        server.step(action)
    return server.history


@given(_ACTIONS)
def test_random_right_histories_pass(actions: list[str]) -> None:
    assert check(_played(actions), Allowance(settle=1.0, latency=2.0)) == []


@given(_ACTIONS, st.data())
def test_a_message_taken_out_of_a_right_history_is_missed(actions: list[str], data: st.DataObject) -> None:
    # With a trim the rest can be right: the client was disconnected before the message came, and then it was gone.
    history = _played([action for action in actions if action != "trim"])
    ann = history.lineages["ann"]
    numbers = [event.n for event in ann.events if isinstance(event, Got)]
    lost = data.draw(st.sampled_from(numbers))
    events = [event for event in ann.events if not (isinstance(event, Got) and event.n == lost)]
    assert check(replace(history, lineages={"ann": replace(ann, events=events)})) != []


@given(_ACTIONS, st.data())
def test_a_message_repeated_in_a_right_history_is_found(actions: list[str], data: st.DataObject) -> None:
    history = _played(actions)
    ann = history.lineages["ann"]
    events = list(ann.events)
    place = data.draw(st.sampled_from([at for at, event in enumerate(events) if isinstance(event, Got)]))
    events.insert(place, events[place])
    assert check(replace(history, lineages={"ann": replace(ann, events=events)})) != []
