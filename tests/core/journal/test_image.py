"""Is a run the same in the process that comes next?"""

from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.image import RunImage, RunOwner
from sseproxy.core.journal.run import RunHead, RunPhase, RunState
from sseproxy.core.journal.window import Break, Window
from sseproxy.core.journal.window_policy import WindowLimits
from sseproxy.core.stream.transfer import CloseReason

OWNER = RunOwner("route", b"scope", b"login", b"owner", is_answer=False, is_newest=True)
HEAD = RunHead(200, b"OK", [(b"Content-Type", b"text/event-stream"), (b"X-A", b"\xff")])


def taken(state: RunState, count: int, *, ids: tuple[tuple[int, bytes], ...] = (), now: float = 0.0) -> None:
    """Have the upstream send events."""
    text = b"".join(b"data: %d\n\n" % (state.seq + number) for number in range(1, count + 1))
    for block in state.take(Cut(count, text, ids)):
        state.window.append(block, now=now)


def reopened(state: RunState, *, now: float = 0.0) -> None:
    """Have the upstream go on with another token, without having resumed."""
    state.sleep()
    state.wake()
    state.claimed(state.token + 1)
    gap = state.resumed()
    if gap is not None:
        state.window.break_in(gap.last, gap.missing, now=now)


def opened() -> RunState:
    state = RunState(b"run", Window((1, 0)))
    state.opened(HEAD)
    return state


def restored(state: RunState, *, now: float = 0.0, elapsed: float = 0.0, then: float = 0.0) -> RunState:
    return RunImage.of(state, OWNER, now=now, rested=0.0).restored(now=then, elapsed=elapsed)


def assert_same(one: RunState, other: RunState) -> None:
    assert (one.name, one.phase, one.token, one.seq) == (other.name, other.phase, other.token, other.seq)
    assert (one.head, one.end, one.is_named) == (other.head, other.end, other.is_named)
    assert (one.last_own_id, list(one.own_ids)) == (other.last_own_id, list(other.own_ids))
    assert (one.window.base, one.window.top) == (other.window.base, other.window.top)
    assert (one.window.bytes, one.window.events) == (other.window.bytes, other.window.events)
    assert one.window.after(one.window.base) == other.window.after(other.window.base)


def test_an_answer_that_has_ended_is_what_it_was() -> None:
    state = opened()
    taken(state, 3)
    state.finish(CloseReason.UPSTREAM_ERROR, is_clean=False)
    again = restored(state)
    assert_same(again, state)
    assert again.phase is RunPhase.ENDED
    assert again.finish(CloseReason.STOPPED, is_clean=True) == state.end


def test_a_feed_that_sleeps_goes_on_where_it_was() -> None:
    state = opened()
    taken(state, 2)
    reopened(state)
    taken(state, 2)
    state.sleep()
    again = restored(state)
    assert_same(again, state)
    for each in (state, again):
        reopened(each)
        taken(each, 1)
    assert_same(again, state)
    assert state.mark == (3, 7)


def test_a_hole_that_is_no_longer_kept_is_not_counted() -> None:
    state = opened()
    taken(state, 2)
    reopened(state)
    for _ in range(3):
        taken(state, 1)
    state.window.trim(WindowLimits(events=2), now=0.0, upto=state.window.top)
    state.sleep()
    again = restored(state)
    behind, before = state.window.base, (1, 1)
    for each in (state, again):
        assert each.window.lost(before) is None
        assert each.window.lost(behind) == 0


def test_own_ids_lead_to_their_places() -> None:
    state = opened()
    taken(state, 3, ids=((0, b"a"), (1, b"b"), (2, b"a")))
    state.sleep()
    again = restored(state)
    assert (again.place_of(b"a"), again.place_of(b"b"), again.last_own_id) == ((1, 1), (1, 2), b"a")
    assert again.is_named


def test_ids_of_events_that_are_no_longer_kept_are_gone() -> None:
    state = opened()
    for number in range(4):
        taken(state, 1, ids=((0, b"%d" % number),))
    state.window.trim(WindowLimits(events=2), now=0.0, upto=state.window.top)
    state.sleep()
    again = restored(state)
    assert [again.place_of(b"%d" % number) for number in range(4)] == [state.place_of(b"%d" % n) for n in range(4)]
    assert [own_id for own_id, _ in again.own_ids] == [b"1", b"2", b"3"]


def test_events_are_as_old_as_they_are() -> None:
    state = opened()
    for now in (100.0, 130.0, 150.0):
        taken(state, 1, now=now)
    state.sleep()
    again = restored(state, now=160.0, elapsed=20.0, then=7.0)
    assert [age for _, age in again.window.aged(now=7.0)] == [80.0, 50.0, 30.0]
    again.window.trim(WindowLimits(age=60.0), now=7.0, upto=again.window.top)
    assert again.window.base == (1, 1)


def test_nothing_that_clients_may_have_is_shown() -> None:
    state = opened()
    taken(state, 1, ids=((0, b"s3cret"),))
    state.sleep()
    owner = RunOwner("route", b"s3cret", b"s3cret", b"s3cret", is_answer=True, is_newest=False)
    head = RunHead(200, b"OK", [(b"X-A", b"s3cret")])
    state.head = head
    assert "s3cret" not in repr(RunImage.of(state, owner, now=0.0, rested=0.0))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=3)))),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("trim"), st.integers(0, 6)),
    ),
    max_size=20,
)


@given(steps, st.booleans())
def test_a_run_is_what_it_was_whatever_has_happened_to_it(steps: list[tuple[object, ...]], has_ended: bool) -> None:
    state = opened()
    for now, step in enumerate(steps):
        match step:
            case "take", int(count), list(ids):
                own = {index: own_id for index, own_id in ids if index < count}
                taken(state, count, ids=tuple(sorted(own.items())), now=now)
            case "reopen", *_:
                reopened(state, now=now)
            case "trim", int(events):
                state.window.trim(WindowLimits(events=events), now=now, upto=state.window.top)
    state.place_of(b"")  # drops what is no longer kept
    if has_ended:
        state.finish(CloseReason.UPSTREAM_END, is_clean=True)
    else:
        state.sleep()
    again = restored(state, now=99.0, elapsed=1.0, then=5.0)
    assert_same(again, state)
    breaks = [entry for entry in state.window.after(state.window.base) or () if isinstance(entry, Break)]
    assert [entry for entry in again.window.after(again.window.base) or () if isinstance(entry, Break)] == breaks
    reopened(state)
    reopened(again)
    taken(state, 2, ids=((0, b"1"),))
    taken(again, 2, ids=((0, b"1"),))
    assert_same(again, state)
