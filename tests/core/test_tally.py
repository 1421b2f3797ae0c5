"""Does a tally add up to what a session counts piece by piece?"""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.tally import NO_TALLY, TALLY_BYTES, TALLY_PIECES, Tally

EVENT = b"data: x\n\n"
LONGER = b"event: e\ndata: y\n\n"
DONE = b"data: [DONE]\n\n"

#: Seconds since the piece before, its last event, and how many others are before that.
pieces = st.lists(
    st.tuples(st.floats(0, 100), st.sampled_from([EVENT, LONGER, DONE]), st.sampled_from([0, 1, 300])),
    min_size=1,
    max_size=20,
)


def begun() -> StreamSession:
    session = StreamSession(StreamPlan(dialect=Dialect.OPENAI_CHAT), now=0.0)
    session.forward(EVENT, 0.0)
    return session


@given(pieces, st.integers(0, 20), st.booleans())
def test_it_adds_up_to_what_a_session_counts(came: list[tuple[float, bytes, int]], start: int, has_all: bool) -> None:
    tally, now = Tally(), 0.0
    one_by_one, at_once = begun(), begun()
    end = len(came) if has_all else len(came) - 1
    start = min(start, end)
    for number, (silence, last, others) in enumerate(came):
        text, count, now = EVENT * others + last, others + 1, now + silence
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
    for session in (one_by_one, at_once):
        session.handle_timeout(now=now + 20)  # the grace of a terminal event is over, or a heartbeat is due
    assert (at_once.close_reason, at_once.data_to_send()) == (one_by_one.close_reason, one_by_one.data_to_send())


def test_it_has_so_many_pieces_at_most() -> None:
    tally = Tally()
    taken = [tally.add(EVENT, 1, 0.0) for _ in range(2 * TALLY_PIECES)]
    assert (sum(taken), len(tally)) == (TALLY_PIECES, TALLY_PIECES)


def test_it_has_so_many_bytes_at_most() -> None:
    tally, text = Tally(), b"data: %b\n\n" % (b"x" * 10_000)
    taken = [tally.add(text, 1, 0.0) for _ in range(20)]
    assert sum(taken) == TALLY_BYTES // len(text)
    assert not Tally().add(b"data: %b\n\n" % (b"x" * TALLY_BYTES), 1, 0.0)


def test_what_nobody_is_in_takes_nothing() -> None:
    assert not NO_TALLY.add(EVENT, 1, 0.0)
    assert NO_TALLY.following(EVENT).add(EVENT, 1, 0.0)


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
