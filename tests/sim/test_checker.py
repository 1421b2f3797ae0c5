"""Does the checker find each forged fault, under its rule, and nothing in a right history?"""

from dataclasses import replace

import pytest

from tests.sim.aftermath import Allowance
from tests.sim.checker import check
from tests.sim.history import (
    Aborted,
    Asked,
    Drained,
    Emitted,
    Ended,
    Event,
    Failed,
    Fault,
    Finished,
    Gap,
    Given,
    Got,
    Head,
    Left,
    Lost,
    Measured,
    Opened,
    Paused,
    Refused,
    Requested,
    Resumed,
    Stopped,
    Stream,
    read,
    written,
)

ANSWER = Stream(at=0.0, source="a", key="k", owner="ann", is_answer=True, age=300.0)
FEED = Stream(at=0.0, source="f", key="k", events=3)
LATE = 900.0
OVER = Measured(at=LATE, bytes=0, runs=0, readers=0, is_last=True)


def asks(at: float, client: int = 1, position: str = "", login: str = "ann", **more: object) -> Requested:
    return Requested(at=at, client=client, request=client, key="k", login=login, position=position, **more)  # type: ignore[arg-type]


def opens(at: float, call: int = 1, source: str = "a", request: int = 1, position: str = "") -> tuple[Event, ...]:
    asked = Asked(at=at, call=call, source=source, request=request, position=position)
    return asked, Opened(at=at, call=call)


def sent(n: int, source: str = "a", *, call: int = 1, at: float | None = None, own: str | None = None) -> Emitted:
    return Emitted(at=float(10 * n) if at is None else at, call=call, source=source, n=n, id=own)


def got(n: int, source: str = "a", *, client: int = 1, at: float | None = None, position: str | None = None) -> Got:
    position = f"{source}.1-{n}" if position is None else position
    return Got(at=float(10 * n) if at is None else at, client=client, source=source, n=n, position=position)


def both(*numbers: int, source: str = "a") -> tuple[Event, ...]:
    return tuple(event for n in numbers for event in (sent(n, source), got(n, source)))


def gap(at: float, origin: str, position: str, lost: int | None, reason: str = "trimmed", *, client: int = 1) -> Gap:
    return Gap(at=at, client=client, reason=reason, origin=origin, lost=lost, position=position)


def comes_back(at: float, client: int, position: str, login: str = "ann") -> tuple[Event, ...]:
    return asks(at, client, position, login), Head(at=at, client=client)


FIRST = (ANSWER, asks(1.0), *opens(1.0), Head(at=1.0, client=1))
END = (Finished(at=60.0, call=1, is_clean=True), Ended(at=60.0, client=1, is_clean=True), OVER)
BROKEN = Finished(at=60.0, call=1, is_clean=False)
ALL = both(1, 2, 3, 4, 5)
#: The client has 1 and 2 and is away.
AWAY = (*FIRST, *both(1, 2), Left(at=25.0, client=1))
STOP = Stopped(at=55.0, source="a", login="ann")

FED = (FEED, asks(1.0), *opens(1.0, source="f"), Head(at=1.0, client=1), Given(at=1.0, client=1, position="f.1-0"))
#: The client has 1 and 2 of a feed, and is away until there are 6, of which 4 to 6 are kept.
FED_AWAY = (*FED, *both(1, 2, source="f"), Left(at=25.0, client=1), *(sent(n, "f") for n in (3, 4, 5, 6)))
FED_REST = tuple(got(n, "f", client=2, at=65.0) for n in (4, 5, 6))
BACK = comes_back(65.0, 2, "f.1-2")
#: The upstream breaks behind 2, and goes on with 5.
HOLE = (
    *FED,
    *both(1, 2, source="f"),
    Finished(at=22.0, call=1, is_clean=False),
    sent(3, "f", call=0),
    sent(4, "f", call=0),
    *opens(45.0, 2, "f"),
)
#: Own ids: one, none, another, the first one again.
OWN = (
    FEED,
    asks(1.0),
    *opens(1.0, source="f"),
    Head(at=1.0, client=1),
    *(
        event
        for n, own, last in ((1, "x", "x"), (2, None, "x"), (3, "y", "y"), (4, "x", "x"))
        for event in (sent(n, "f", own=own), got(n, "f", position=last))
    ),
    Left(at=45.0, client=1),
)
OTHER = replace(ANSWER, source="b", owner="bob")
#: Another login has a run with the same key.
SHARED = (*FIRST, OTHER, asks(1.0, 2, login="bob"), *opens(1.0, 2, "b", 2), Head(at=1.0, client=2))
OTHERS_END = (Finished(at=60.0, call=2, is_clean=True), Ended(at=60.0, client=2, is_clean=True))

RIGHT: dict[str, tuple[Event, ...]] = {
    "an answer": (*FIRST, *ALL, *END),
    "without ids": (*FIRST, sent(1), replace(got(1), position=""), sent(2), replace(got(2), position=""), *END),
    "away and back": (*AWAY, sent(3), sent(4), *comes_back(45.0, 2, "a.1-2"), got(3, client=2, at=45.0),
                      got(4, client=2, at=45.0), END[0], replace(END[1], client=2), OVER),
    "back behind its end": (*AWAY, sent(3), END[0], *comes_back(90.0, 2, "a.1-2"), got(3, client=2, at=90.0),
                            Ended(at=90.0, client=2, is_clean=True)),
    "back, and lacks nothing": (*FIRST, *both(1, 2), *END[:2], asks(90.0, 2, "a.1-2"),
                                Head(at=90.0, client=2, status=204), OVER),
    "back when it is forgotten": (*AWAY, sent(3), END[0], asks(500.0, 2, "a.1-2"),
                                  Head(at=500.0, client=2, status=410)),
    "broken": (*FIRST, *both(1, 2), BROKEN, Failed(at=60.0, client=1, position="a.1-3"),
               Ended(at=60.0, client=1, is_clean=False), asks(70.0, 2, "a.1-3"), Head(at=70.0, client=2, status=410)),
    "broken, for an EventSource": (*FIRST, *both(1, 2), BROKEN, Left(at=60.0, client=1), *comes_back(70.0, 2, "a.1-1"),
                                   got(2, client=2, at=70.0), Failed(at=70.0, client=2, position="a.1-3"),
                                   Ended(at=70.0, client=2, is_clean=True)),
    "stopped": (*FIRST, *ALL, Aborted(at=55.5, call=1), Ended(at=55.5, client=1, is_clean=True), STOP, OVER),
    "a stop that is not its own": (*FIRST, *both(1, 2, 3, 4), replace(STOP, at=41.0, login="bob"), *both(5), *END),
    "a second tab": (*FIRST, *both(1, 2), *comes_back(25.0, 2, ""), got(1, client=2, at=25.0),
                     got(2, client=2, at=25.0), *both(3), got(3, client=2), *END[:2],
                     Ended(at=60.0, client=2, is_clean=True), OVER),
    "left unread": (*AWAY, Aborted(at=90.0, call=1)),
    "a slow client": (*FIRST, Paused(at=5.0, client=1), sent(1), sent(2), Resumed(at=30.0, client=1),
                      got(1, at=30.0), got(2, at=30.5), *END),
    "a slow client, cut off": (*FIRST, Paused(at=5.0, client=1), sent(1), Ended(at=40.0, client=1, is_clean=False)),
    "refused": (ANSWER, asks(1.0), opens(1.0)[0], Refused(at=2.0, call=1, status=503),
                Head(at=2.0, client=1, status=503), OVER),
    "a feed": (*FED, *both(1, 2, 3, 4, 5, 6, 7, source="f"), Left(at=75.0, client=1)),
    "trimmed": (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", 1, client=2), *FED_REST),
    "trimmed, and not counted": (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", None, client=2), *FED_REST),
    "trimmed, and away behind the gap": (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", 1, client=2),
                                         Left(at=65.0, client=2), *comes_back(66.0, 3, "f.1-3"),
                                         *(replace(each, client=3, at=66.0) for each in FED_REST)),
    "an unknown position": (*FED_AWAY, *comes_back(65.0, 2, "g.1-9"),
                            gap(65.0, "g.1-9", "f.1-3", None, "unknown", client=2), *FED_REST),
    "from the oldest": (*FED_AWAY, *comes_back(65.0, 2, "oldest"), *FED_REST),
    "from the latest": (*FED_AWAY, asks(65.0, 2, starts_latest=True), Head(at=65.0, client=2),
                        sent(7, "f"), got(7, "f", client=2)),
    "a hole": (*HOLE, gap(45.0, "f.1-2", "f.1-3", None, "upstream"), sent(5, "f", call=2),
               got(5, "f", position="f.1-4")),
    "a hole in which nothing was": (*HOLE[:-4], *opens(25.0, 2, "f"), gap(25.0, "f.1-2", "f.1-3", None, "upstream"),
                                    sent(3, "f", call=2), got(3, "f", position="f.1-4")),
    "resumed by its upstream": (*HOLE, *(event for n in (3, 4, 5) for event in
                                         (sent(n, "f", call=2, at=50.0), got(n, "f", at=50.0)))),
    "asleep, and woken": (*FED, *both(1, 2, source="f"), Left(at=25.0, client=1), Aborted(at=55.0, call=1),
                          sent(3, "f", call=0), *comes_back(65.0, 2, "f.1-2"), *opens(65.0, 2, "f", 2),
                          gap(65.0, "f.1-2", "f.2-3", None, "upstream", client=2), sent(4, "f", call=2, at=70.0),
                          got(4, "f", client=2, at=70.0, position="f.2-4")),
    "own ids": (*OWN, *comes_back(46.0, 2, "y"), got(4, "f", client=2, at=46.0, position="x")),
    "an own id that was there twice": (*OWN, sent(5, "f", own="z"), *comes_back(51.0, 2, "x"),
                                       *(got(n, "f", client=2, at=51.0, position=own)
                                         for n, own in ((2, "x"), (3, "y"), (4, "x"), (5, "z")))),
    "drained": (*FED, *both(1, 2, source="f"), Drained(at=25.0), Aborted(at=25.0, call=1),
                Ended(at=25.5, client=1, is_clean=True), *comes_back(30.0, 2, "f.1-2"), *opens(30.0, 2, "f", 2),
                gap(30.0, "f.1-2", "f.2-3", None, "upstream", client=2), sent(3, "f", call=2),
                got(3, "f", client=2, position="f.2-4")),
    "memory was short": (*FED, *both(1, 2, source="f"), Left(at=25.0, client=1), sent(3, "f"), Lost(at=31.0),
                         *comes_back(35.0, 2, "f.1-2"), gap(35.0, "f.1-2", "f.1-3", 1, client=2)),
    "two logins": (*SHARED, *both(1), sent(1, "b", call=2), got(1, "b", client=2), *END[:2], *OTHERS_END, OVER),
    "late, and all was not well": (*FIRST, Fault(at=9.0, done=12.0), sent(1), got(1, at=20.0), *END),
}  # fmt: skip

WRONG: dict[str, tuple[str, tuple[Event, ...]]] = {
    "an event is lost": ("I1", (*FIRST, *both(1), sent(2), *both(3), *END)),
    "the last event is lost": ("I1", (*FIRST, *both(1, 2), sent(3), *END)),
    "an event twice": ("I1", (*FIRST, *both(1, 2), got(2, at=21.0), *END)),
    "out of order": ("I1", (*FIRST, sent(1), sent(2), got(2), got(1, at=21.0), *END)),
    "an event of another answer": ("I1", (*FIRST, replace(ANSWER, source="b"), *opens(2.0, 2, "b", 9), *both(1),
                                          sent(2, "b", call=2), got(2, "b"), *END)),
    "twice behind a resume": ("I1", (*AWAY, sent(3), *comes_back(35.0, 2, "a.1-2"), got(2, client=2, at=35.0),
                                     got(3, client=2, at=35.0))),
    "lost behind a resume": ("I1", (*AWAY, sent(3), sent(4), *comes_back(45.0, 2, "a.1-2"), got(4, client=2, at=45.0))),
    "an answer from its middle": ("I1", (*AWAY, *comes_back(26.0, 2, ""), got(2, client=2, at=26.0))),
    "204 while there is more": ("I1", (*AWAY, sent(3), END[0], asks(90.0, 2, "a.1-2"),
                                       Head(at=90.0, client=2, status=204))),
    "no gap event": ("I1", (*FED_AWAY, *BACK, *FED_REST)),
    "a gap from elsewhere": ("I1", (*FED_AWAY, *BACK, gap(65.0, "f.1-1", "f.1-3", 1, client=2), *FED_REST)),
    "a gap that says a wrong number": ("I1", (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", 2, client=2), *FED_REST)),
    "a gap twice": ("I1", (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", None, client=2),
                           gap(65.0, "f.1-2", "f.1-3", None, client=2), *FED_REST)),
    "a gap again behind a resume": ("I1", (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-3", 1, client=2),
                                           Left(at=65.0, client=2), *comes_back(66.0, 3, "f.1-3"),
                                           gap(66.0, "f.1-3", "f.1-3", None, client=3))),
    "a gap over what was kept": ("I1", (*FED_AWAY, *BACK, gap(65.0, "f.1-2", "f.1-5", 3, client=2), FED_REST[-1])),
    "a gap in which nothing is missing": ("I1", (*FED, *both(1, source="f"), gap(15.0, "f.1-1", "f.1-2", None),
                                                 sent(2, "f"), got(2, "f", position="f.1-3"))),
    "a hole in silence": ("I1", (*HOLE, sent(5, "f", call=2), got(5, "f", position="f.1-3"))),
    "a hole over what came": ("I1", (*FED, *both(1, source="f"), sent(2, "f"),
                                     Finished(at=22.0, call=1, is_clean=False),
                                     *opens(25.0, 2, "f"), gap(25.0, "f.1-1", "f.1-3", None, "upstream"),
                                     sent(3, "f", call=2), got(3, "f", position="f.1-4"))),
    "an unknown position in silence": ("I1", (*FED_AWAY, *comes_back(65.0, 2, "g.1-9"), *FED_REST)),
    "from the oldest, less one": ("I1", (*FED_AWAY, *comes_back(65.0, 2, "oldest"), *FED_REST[1:])),
    "an own id at its last place": ("I1", (*OWN, sent(5, "f", own="z"), *comes_back(51.0, 2, "y"),
                                           got(5, "f", client=2, at=51.0, position="z"))),
    "an event that was never sent": ("I2", (*FIRST, *both(1), got(2), *END)),
    "an event before it was sent": ("I2", (*FIRST, got(1, at=9.0), sent(1), *END)),
    "a wrong checksum": ("I2", (*FIRST, sent(1), replace(got(1), is_intact=False), *END)),
    "half an event": ("I2", (*FIRST, *both(1), END[0], replace(END[1], has_rest=True), OVER)),
    "a position that is refused": ("I3", (*AWAY, sent(3), asks(35.0, 2, "a.1-2"), Head(at=35.0, client=2, status=410))),
    "a position that is unknown": ("I3", (*FED, *both(1, 2, source="f"), Left(at=25.0, client=1),
                                          *comes_back(26.0, 2, "f.1-2"),
                                          gap(26.0, "f.1-2", "f.1-0", None, "unknown", client=2))),
    "a position that a restart lost": ("I3", (*FED, *both(1, 2, source="f"), Drained(at=25.0), Left(at=25.0, client=1),
                                              *comes_back(26.0, 2, "f.1-2"),
                                              gap(26.0, "f.1-2", "g.1-0", None, "unknown", client=2))),
    "an ended answer that is refused": ("I3", (*AWAY, sent(3), END[0], asks(90.0, 2, "a.1-2"),
                                               Head(at=90.0, client=2, status=404))),
    "an upstream opened twice": ("I4", (*FED, *both(1, source="f"), *opens(15.0, 2, "f", 9))),
    "two tokens on one connection": ("I4", (*FED, *both(1, source="f"), sent(2, "f"), got(2, "f", position="f.2-2"))),
    "a token that goes back": ("I4", (*FED, sent(1, "f"), got(1, "f", position="f.2-1"),
                                      Finished(at=12.0, call=1, is_clean=False), *opens(15.0, 2, "f"),
                                      sent(2, "f", call=2), got(2, "f", position="f.1-2"))),
    "a number left out": ("I5", (*FIRST, *both(1), sent(2), got(2, position="a.1-3"), *END)),
    "a number for two events": ("I5", (*FIRST, *both(1), sent(2), got(2, position="a.1-1"), *END)),
    "numbers that begin late": ("I5", (*FIRST, sent(1), got(1, position="a.1-2"), *END)),
    "an end twice": ("I6", (*FIRST, *ALL, *END[:2], END[1], OVER)),
    "an event behind the end": ("I6", (*FIRST, *both(1, 2), *END[:2], got(3, at=61.0), OVER)),
    "a clean end that was not sent": ("I6", (*FIRST, *ALL, BROKEN, END[1], OVER)),
    "a broken end that was not sent": ("I6", (*FIRST, *both(1), Ended(at=15.0, client=1, is_clean=False), sent(2),
                                              Finished(at=60.0, call=1, is_clean=True), OVER)),
    "an end that one client does not hear": ("I6", (*FIRST, *ALL, END[0], OVER)),
    "left while it is read": ("I6", (*FIRST, *both(1, 2), Aborted(at=30.0, call=1),
                                     Ended(at=30.0, client=1, is_clean=False))),
    "stopped by another login": ("I6", (*FIRST, *both(1), replace(STOP, at=15.0, login="bob"), Aborted(at=15.0, call=1),
                                        Ended(at=15.0, client=1, is_clean=True))),
    "stopped, and it goes on": ("I7", (*FIRST, *ALL, STOP, *END)),
    "an event behind a stop": ("I7", (*FIRST, *ALL, STOP, sent(6, at=55.2), got(6, at=55.2), Aborted(at=55.5, call=1),
                                      Ended(at=55.5, client=1, is_clean=True))),
    "asked twice": ("I8", (*FIRST, *both(1), opens(11.0, 2)[0], *END)),
    "a resume goes upstream": ("I8", (*AWAY, *comes_back(26.0, 2, "a.1-2"), replace(ANSWER, source="b"),
                                      *opens(26.0, 2, "b", 2))),
    "a position goes upstream": ("I8", (*FED, *both(1, source="f"), Finished(at=12.0, call=1, is_clean=False),
                                        *opens(15.0, 2, "f", position="f.1-1"))),
    "an event of another login": ("I9", (*SHARED, *both(1), got(1, client=2), *END[:2], *OTHERS_END, OVER)),
    "another login's position": ("I9", (*AWAY, sent(3), OTHER, *comes_back(35.0, 2, "a.1-2", login="bob"),
                                        got(3, client=2, at=35.0))),
    "too much memory": ("I10", (*FIRST, *ALL, Measured(at=55.0, bytes=2**29, runs=1, readers=1), *END)),
    "something is left": ("I10", (*FIRST, *ALL, *END[:2], replace(OVER, runs=1))),
    "late": ("I11", (*FIRST, sent(1), got(1, at=12.0), *END)),
    "not at all": ("I11", (*FED, *both(1, source="f"), sent(2, "f"), OVER)),
    "late behind a pause": ("I11", (*FIRST, Paused(at=5.0, client=1), sent(1), Resumed(at=30.0, client=1),
                                    got(1, at=32.0), *END)),
    "late behind a resume": ("I11", (*AWAY, sent(3), *comes_back(35.0, 2, "a.1-2"), got(3, client=2, at=37.0))),
    "another type": ("I12", (*FIRST, replace(sent(1), type="token"), got(1), *END)),
    "an own id that is replaced": ("I12", (*FIRST, sent(1, own="x"), got(1), *END)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_wrong_in_a_right_history(name: str) -> None:
    assert check(RIGHT[name]) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_is_found_under_its_rule(name: str) -> None:
    rule, history = WRONG[name]
    assert rule in {fault.split()[0] for fault in check(history)}


def test_each_rule_is_broken_at_least_twice() -> None:
    rules = [rule for rule, _ in WRONG.values()]
    assert {rule for rule in rules if rules.count(rule) > 1} == {f"I{number}" for number in range(1, 13)}


def test_silence_allows_to_leave_an_upstream() -> None:
    history = (
        *FIRST,
        *both(1),
        Aborted(at=90.0, call=1),
        Failed(at=90.0, client=1),
        Ended(at=90.0, client=1, is_clean=False),
    )
    assert check(history)
    assert check(history, Allowance(idle=60.0)) == []


@pytest.mark.parametrize("name", RIGHT)
def test_a_history_can_be_written_and_read(name: str) -> None:
    assert tuple(read(written(RIGHT[name]).splitlines())) == RIGHT[name]
