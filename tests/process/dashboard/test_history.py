"""Is what has happened in the last minutes kept, for all workers together, and no longer than that?"""

from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import AccessRecord
from sseproxy.process.dashboard.history import KEPT, SPAN, History, merged
from tests.process.dashboard.streams import Streams


async def test_ends_are_counted_in_the_span_in_which_they_happen() -> None:
    worker = Streams()
    first, second, third = (worker.open() for _ in range(3))
    worker.clock += 2 * SPAN
    worker.end(first)
    worker.end(second, CloseReason.IDLE_TIMEOUT)
    worker.clock += SPAN
    worker.end(third, CloseReason.CLIENT_GONE)
    past = merged([worker.history.written()], now=worker.clock)
    assert past.opened[-4:] == [3, 0, 0, 0]
    assert {reason: counts[-4:] for reason, counts in past.ended.items()} == {
        "upstream_end": [0, 0, 1, 0],
        "idle_timeout": [0, 0, 1, 0],
        "client_gone": [0, 0, 0, 1],
    }
    assert past.by_route == {"chat": [3, 1, 0]}


async def test_the_rings_of_all_workers_are_added_up() -> None:
    one, another = Streams(), Streams()
    one.end(one.open("chat"))
    another.end(another.open("chat"))
    another.clock += SPAN
    another.end(another.open("chat"))
    another.end(another.open("feeds"), CloseReason.UPSTREAM_ERROR)
    past = merged([one.history.written(), another.history.written()], now=another.clock)
    assert past.opened[-2:] == [2, 2]
    assert past.ended["upstream_end"][-2:] == [2, 1]
    assert past.by_route == {"chat": [3, 0, 0], "feeds": [1, 1, 0]}


async def test_it_forgets_what_is_too_old_and_stays_small() -> None:
    worker = Streams()
    for _ in range(3 * KEPT):
        worker.end(worker.open())
        worker.clock += SPAN
    assert len(worker.history.written()) <= KEPT
    worker.clock += KEPT * SPAN
    assert worker.history.written() == [], "also when nothing has happened since"
    past = merged([[(int(worker.clock / SPAN) - KEPT, 9, [("chat", "drain", 9)])]], now=worker.clock)
    assert (sum(past.opened), past.ended) == (0, {}), "what another worker still has"


async def test_what_is_no_event_stream_is_none() -> None:
    worker = Streams()
    worker.end(worker.open(plan=None))
    assert worker.history.written() == []


def test_answers_that_say_that_something_is_wrong() -> None:
    history = History(clock=lambda: 1000.0)
    for status in (200, 404, 499, 500, 504, None):
        history.answered(AccessRecord("peer", "GET", "/", 0.0, route="chat", status=status))
    past = merged([history.written()], now=1000.0)
    assert past.ended["5xx"][-1] == 2
    assert past.by_route == {"chat": [0, 0, 2]}, "they are no ends of streams"
