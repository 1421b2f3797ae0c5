"""Does a tally add up to what a session counts piece by piece?"""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.tally import TALLY_PIECES, Tally

EVENT = b"data: x\n\n"

#: Seconds since the piece before, lines that it has besides, and how many events it is.
pieces = st.lists(
    st.tuples(st.floats(0, 100), st.sampled_from([b"", b"event: e\n", b"data: y\n"]), st.integers(1, 300)),
    min_size=1,
    max_size=TALLY_PIECES,
)


def begun() -> StreamSession:
    session = StreamSession(StreamPlan(), now=0.0)
    session.forward(EVENT, 0.0)
    return session


@given(pieces, st.integers(0, TALLY_PIECES), st.booleans())
def test_it_adds_up_to_what_a_session_counts(came: list[tuple[float, bytes, int]], start: int, has_all: bool) -> None:
    tally, now = Tally(), 0.0
    one_by_one, at_once = begun(), begun()
    end = len(came) if has_all else len(came) - 1
    start = min(start, end)
    for number, (silence, lines, count) in enumerate(came):
        text, now = (lines + EVENT) * count, now + silence
        assert at_once.may_bypass(tally)
        assert tally.add(text, count, now)
        for session in (one_by_one, at_once):
            if number < start or (number < end and session is one_by_one):
                assert session.forward_events(text, count, now) == text
    passed = tally.between(start, end)
    assert (passed is None) is (start == end)
    if passed is not None:
        at_once.count(passed)
    assert asdict(at_once.stats) == asdict(one_by_one.stats)
    assert at_once.next_deadline() == one_by_one.next_deadline()


def test_it_has_so_many_pieces_at_most() -> None:
    tally = Tally()
    taken = [tally.add(EVENT, 1, 0.0) for _ in range(2 * TALLY_PIECES)]
    assert (sum(taken), len(tally)) == (TALLY_PIECES, TALLY_PIECES)


def test_an_event_without_data_is_no_part_of_it() -> None:
    tally = Tally()
    assert not tally.add(b"event: e\n\n" + EVENT, 2, 0.0)
    assert len(tally) == 0


def test_the_first_id_begins_another() -> None:
    tally, named = Tally(), b"id: 1\n" + EVENT
    assert tally.add(EVENT, 1, 0.0)
    assert not tally.add(named, 1, 0.0)
    tally = tally.following(named)
    assert [tally.add(text, 1, 0.0) for text in (named, EVENT, named)] == [True] * 3
