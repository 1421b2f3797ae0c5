"""Does the checker of the soak see each kind of fault, and none where all is well? On forged histories."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.sim.history import (
    Aborted,
    Asked,
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
    Opened,
    Requested,
    Stopped,
    Stream,
)
from tests.soak.checker import check
from tests.soak.wire import kind

_RUN = "Qk3vX0aS9mT"


def position(n: int, *, token: int = 1, run: str = _RUN) -> str:
    return f"{run}.{token}-{n}"


def got(at: float, client: int, source: str, n: int, name: str | None = None, *, is_intact: bool = True) -> Got:
    named = position(n) if name is None else name
    return Got(at=at, client=client, source=source, n=n, type=kind(n), position=named, is_intact=is_intact)


def feed(name: str = "feed-0", *, count: int = 20, kept: int = 8) -> list[Event]:
    """A feed that sends event `n` at `n` seconds, all over one connection."""
    begun: list[Event] = [
        Stream(at=0.0, source=name, key=name, events=kept),
        Asked(at=0.1, call=1, source=name, request=0),
        Opened(at=0.2, call=1),
    ]
    return [*begun, *(Emitted(at=float(n), call=1, source=name, n=n) for n in range(1, count + 1))]


def answer(*, is_clean: bool = True, owner: str = "") -> list[Event]:
    """An answer of five events, one a second, and its end."""
    return [
        Stream(at=0.0, source="answer-1", key="c", owner=owner, is_answer=True),
        Asked(at=0.1, call=1, source="answer-1", request=0),
        Opened(at=0.2, call=1),
        *(Emitted(at=float(n), call=1, source="answer-1", n=n) for n in range(1, 6)),
        Finished(at=5.5, call=1, is_clean=is_clean),
    ]


def reader(at: float, client: int, source: str, name: str = "", login: str = "") -> list[Event]:
    """A client whose head has come at once."""
    key = f"/feed/{source}" if source.startswith(("feed", "named")) else "/ask"
    of = "" if key != "/ask" else source
    asked: Event = Requested(at=at, client=client, request=0, key=key, login=login, position=name, source=of)
    return [asked, Head(at=at + 0.01, client=client)]


def judge(*parts: Sequence[Event]) -> list[str]:
    return check(sorted((event for part in parts for event in part), key=lambda event: event.at))


def rules(*parts: Sequence[Event]) -> set[str]:
    """Return which rules are broken."""
    return {fault.split()[0] for fault in judge(*parts)}


def live(client: int = 1, numbers: tuple[int, ...] = (3, 4, 5, 6)) -> list[Event]:
    """A client that comes to a feed at 2.5 seconds."""
    return [*reader(2.5, client, "feed-0"), *(got(n + 0.1, client, "feed-0", n) for n in numbers)]


def whole(*, until: int = 5, is_clean: bool = True) -> list[Event]:
    """A client that asks for an answer."""
    events = [got(n + 0.1, 1, "answer-1", n) for n in range(1, until + 1)]
    return [*reader(0.05, 1, "answer-1"), *events, Ended(at=5.6, client=1, is_clean=is_clean)]


def gap(at: float, origin: str, name: str, *, reason: str = "trimmed", lost: int | None = None) -> Gap:
    return Gap(at=at, client=2, reason=reason, origin=origin, lost=lost, position=name)


def test_nothing_is_wrong_where_all_is_well() -> None:
    resumed = [*reader(7.2, 2, "feed-0", position(4)), *(got(7.3, 2, "feed-0", n) for n in (5, 6, 7))]
    assert judge(feed(), live(), resumed, [Left(at=7.5, client=2)]) == []
    assert judge(answer(), whole()) == []


def test_a_gap_that_had_to_be_is_none() -> None:
    said = gap(20.1, position(4), position(12), lost=8)
    back = [*reader(20.05, 2, "feed-0", position(4)), said, got(20.2, 2, "feed-0", 13)]
    assert judge(feed(), live(), back) == []


@pytest.mark.parametrize(
    ("rule", "said", "next_one"),
    [
        ("I1", None, 13),  # in silence
        ("I1", gap(20.1, position(4), position(12), lost=7), 13),  # miscounted
        ("I1", gap(20.1, position(3), position(12), lost=8), 13),  # from elsewhere
        ("I1", gap(20.1, position(4), position(12), lost=0), 5),  # of nothing
        ("I3", gap(20.1, position(4), position(13), lost=9), 14),  # trimmed by one too many
        ("I3", gap(20.1, position(4), position(12), reason="unknown"), 13),
    ],
)
def test_gaps(rule: str, said: Gap | None, next_one: int) -> None:
    back = [*reader(20.05, 2, "feed-0", position(4)), *([said] if said else []), got(20.2, 2, "feed-0", next_one)]
    assert rule in rules(feed(), live(), back)


def test_events_of_a_feed() -> None:
    assert rules(feed(), live(numbers=(3, 5))) >= {"I1"}
    assert rules(feed(), live(numbers=(3, 4)), [got(4.2, 1, "feed-0", 4)]) >= {"I1"}
    assert rules(feed(), live(), [got(6.2, 1, "feed-0", 99)]) == {"I2"}
    assert rules(feed(), live(), [got(7.2, 1, "feed-0", 7, is_intact=False)]) == {"I2"}
    assert rules(feed(), live(), [got(7.2, 1, "feed-0", 7, position(8))]) == {"I5"}
    assert rules(feed(), live(), [replace(got(7.2, 1, "feed-0", 7), type="tick")]) == {"I12"}
    assert rules(feed(), live(), [got(19.2, 1, "feed-0", 7)]) == {"I11"}
    assert rules(feed(), live(), [Left(at=19.2, client=1)]) == {"I11"}
    assert rules(feed(), live(), [Ended(at=6.5, client=1, is_clean=True)]) == {"I6"}


def test_where_a_client_of_a_feed_begins() -> None:
    resumed = reader(7.2, 2, "feed-0", position(4))
    assert rules(feed(), live(), resumed, [got(7.3, 2, "feed-0", 6)]) == {"I1"}
    assert rules(feed(), live(), resumed, [got(7.3, 2, "feed-0", 4)]) >= {"I1"}
    assert rules(feed(), reader(15.2, 2, "feed-0", position(4)), [got(15.3, 2, "feed-0", 8)]) == {"I1"}
    assert rules(feed(), reader(15.2, 2, "feed-0", "oldest"), [got(15.3, 2, "feed-0", 8)]) == set()
    assert rules(feed(), reader(15.2, 2, "feed-0", "oldest"), [got(15.3, 2, "feed-0", 9)]) == {"I3"}
    assert rules(feed(), reader(15.2, 2, "feed-0"), [got(15.3, 2, "feed-0", 8)]) == {"I1"}


def test_a_position_before_the_first_event_is_where_that_begins() -> None:
    early = [*reader(2.5, 1, "feed-0"), Given(at=2.6, client=1, position=position(2)), Left(at=2.7, client=1)]
    back = reader(9.2, 2, "feed-0", position(2))
    assert rules(feed(), early, back, [got(9.3, 2, "feed-0", 3)]) == set()
    assert rules(feed(), early, back, [got(9.3, 2, "feed-0", 4)]) == {"I1"}


def test_a_feed_with_ids_goes_on_where_it_was() -> None:
    def named(n: int) -> Got:
        return got(9.3, 2, "named-0", n, str(n))

    back = reader(9.2, 2, "named-0", "4")
    assert rules(feed("named-0"), back, [named(5), named(6)]) == set()
    assert rules(feed("named-0"), back, [named(6)]) == {"I1"}
    assert rules(feed("named-0"), back, [gap(9.25, "4", "x", reason="upstream"), named(6)]) == {"I1"}


def test_one_connection_at_a_time() -> None:
    second: list[Event] = [Asked(at=3.5, call=2, source="feed-0", request=0), Opened(at=3.6, call=2)]
    assert rules(feed(), second) == {"I4"}
    assert rules(feed(), second, [Aborted(at=4.5, call=1)]) == set()
    assert rules(feed(), second, [Fault(at=3.0, done=4.0)]) == set()


def test_tokens_and_numbers_grow() -> None:
    assert rules(feed(), live(), [got(7.2, 1, "feed-0", 7, position(7, token=0))]) == {"I5"}
    assert rules(feed(), live(), [got(7.2, 1, "feed-0", 7, "nothing")]) == {"I5"}


def test_ends_of_an_answer() -> None:
    assert rules(answer(), whole(until=4)) == {"I1"}
    assert rules(answer(), whole(is_clean=False)) == {"I6"}
    assert rules(answer(is_clean=False), whole(is_clean=False)) == set()
    assert rules(answer(), whole(), [got(5.7, 1, "answer-1", 5)]) >= {"I6"}
    unheard = [event for event in whole() if not isinstance(event, Ended)]
    assert rules(answer(), unheard, [Left(at=15.0, client=1)]) == {"I6"}
    assert rules(answer(), unheard, [Left(at=15.0, client=1), Fault(at=4.0, done=9.0)]) == set()


def test_an_answer_is_asked_for_once() -> None:
    again = [Asked(at=6.0, call=2, source="answer-1", request=0)]
    assert rules(answer(), whole(), again) == {"I8"}
    sent = [Asked(at=6.0, call=2, source="answer-2", request=0, position=position(4))]
    other = [Stream(at=5.9, source="answer-2", key="d", is_answer=True)]
    assert rules(answer(), whole(), other, sent) == {"I8"}


def test_positions_of_an_answer() -> None:
    first = [*whole(until=3)[:-1], Left(at=3.5, client=1)]
    back = Requested(at=4.2, client=2, request=0, key="/ask", position=position(3), source="answer-1")
    assert rules(answer(), first, [back, Head(at=4.3, client=2, status=410)]) == {"I3"}
    late = replace(back, at=9.2)
    assert rules(answer(), first, [late, Head(at=9.3, client=2, status=204)]) == {"I3"}
    has_end = [*whole(is_clean=False)[:-1], Failed(at=5.6, client=1, position="e")]
    at_end = replace(late, position="e")
    assert rules(answer(is_clean=False), has_end, [at_end, Head(at=9.3, client=2, status=410)]) == set()


def test_what_is_stopped_is_closed() -> None:
    sent = feed(count=1)
    assert rules(sent) == set()
    stopped = Stopped(at=1.5, source="answer-1")
    on = [Emitted(at=9.0, call=1, source="answer-1", n=6)]
    going = [event for event in answer() if not isinstance(event, Finished)]
    assert rules(going, [stopped], on) == {"I7"}
    assert rules(going, [replace(stopped, login="else")], on) == set()
    assert rules(going, [replace(stopped, status=403)]) == {"I7"}


def test_events_belong_to_a_login() -> None:
    stranger = [*reader(2.0, 1, "answer-1", login="bob"), got(2.1, 1, "answer-1", 1)]
    assert rules(answer(owner="ann"), stranger) == {"I9"}
    owner = [*reader(2.0, 1, "answer-1", login="ann"), got(2.1, 1, "answer-1", 1)]
    assert rules(answer(owner="ann"), owner) == set()


def test_a_page_finds_what_is_under_way() -> None:
    going = [event for event in answer(owner="ann") if not isinstance(event, Finished)]
    tab = Requested(at=9.0, client=1, request=0, key="/api/chat/c/stream", login="ann")
    assert rules(going, [tab, Head(at=9.1, client=1, status=204)]) == {"I3"}
    assert rules(going, [replace(tab, login="bob"), Head(at=9.1, client=1, status=204)]) == set()
