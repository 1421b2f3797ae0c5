"""Does every store keep tickets as its port promises?"""

import asyncio
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sseproxy.core.errors import StoreFull
from sseproxy.core.eventsource.policies import MOST_BODY
from sseproxy.core.http.fields import Peer
from sseproxy.stores.base import KeptRequest, TicketState, TicketStore, TicketTerms
from sseproxy.stores.memory import MemoryTicketStore
from tests.support.hand_clock import HandClock

PEER = Peer("192.0.2.1", "https", trusted=False)
REQUEST = KeptRequest(
    "POST", "/v1/x?y", b"a.test", [(b"Content-Type", b"text/plain"), (b"X-A", b"\xff")], b"hello", PEER
)
ONCE = TicketTerms("route", (b"owner",), 60.0, reopens=False)
SHORT = TicketTerms("route", (b"owner",), 10.0, reopens=False)
AGAIN = TicketTerms("route", (b"owner",), 10.0, reopens=True)


@dataclass(frozen=True, slots=True)
class Stand:
    """A store, and how time passes for it."""

    store: TicketStore
    advance: Callable[[float], None]


def memory() -> Stand:
    clock = HandClock()
    return Stand(MemoryTicketStore(clock), clock.advance)


@pytest.fixture(params=[memory])
def stand(request: pytest.FixtureRequest) -> Stand:
    made: Stand = request.param()
    return made


@pytest.fixture
def store(stand: Stand) -> TicketStore:
    return stand.store


def test_what_is_kept_is_in_no_description() -> None:
    shown = repr(KeptRequest("POST", "/v1?key=s3cret", b"a.test", [(b"Cookie", b"s3cret")], b"s3cret", PEER))
    assert "POST" in shown
    assert "s3cret" not in shown


# One ticket.


async def test_what_is_kept_comes_out_as_it_was(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    assert await store.look(b"1") == TicketState(ONCE, waits=True)
    assert await store.open(b"1", b"a") == REQUEST


@pytest.mark.parametrize("body", [None, b""])
async def test_no_body_is_not_an_empty_body(store: TicketStore, body: bytes | None) -> None:
    await store.keep(b"1", ONCE, KeptRequest("GET", "/", b"", [], body, PEER))
    opened = await store.open(b"1", b"a")
    assert opened is not None
    assert opened.body == body


async def test_nobody_knows_what_was_never_kept(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    assert await store.look(b"2") is None
    assert await store.open(b"2", b"a") is None
    await store.end(b"2", b"a", spent=True)
    await store.delete(b"2")
    assert await store.look(b"1") == TicketState(ONCE, waits=True)


async def test_a_look_changes_nothing(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    for _ in range(3):
        assert await store.look(b"1") == TicketState(ONCE, waits=True)
    assert await store.open(b"1", b"a") == REQUEST


async def test_a_ticket_is_opened_once(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    assert await store.open(b"1", b"a") == REQUEST
    assert await store.open(b"1", b"a") is None
    assert await store.look(b"1") == TicketState(ONCE, waits=False)
    await store.end(b"1", b"a", spent=True)
    assert await store.open(b"1", b"a") is None
    assert await store.look(b"1") == TicketState(ONCE, waits=False)


async def test_of_many_at_the_same_time_one_gets_it(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    got = await asyncio.gather(*(store.open(b"1", b"%d" % n) for n in range(50)))
    assert got.count(REQUEST) == 1
    assert got.count(None) == 49


async def test_keys_are_apart(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    await store.keep(b"2", SHORT, KeptRequest("GET", "/2", b"", [], None, PEER))
    await store.delete(b"1")
    assert await store.look(b"1") is None
    opened = await store.open(b"2", b"a")
    assert opened is not None
    assert opened.target == "/2"


@pytest.mark.parametrize("state", ["waiting", "open", "ended"])
async def test_a_deleted_ticket_is_unknown_whatever_it_was(store: TicketStore, state: str) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    if state != "waiting":
        await store.open(b"1", b"a")
    if state == "ended":
        await store.end(b"1", b"a", spent=True)
    await store.delete(b"1")
    assert await store.look(b"1") is None
    assert await store.open(b"1", b"a") is None
    await store.end(b"1", b"a", spent=True)
    assert await store.look(b"1") is None


async def test_a_ticket_that_reopens(store: TicketStore) -> None:
    await store.keep(b"1", AGAIN, REQUEST)
    for _ in range(3):
        assert await store.open(b"1", b"a") == REQUEST
        await store.end(b"1", b"a", spent=True)
    assert await store.look(b"1") == TicketState(AGAIN, waits=False)


# What was never sent.


async def test_a_request_that_was_not_sent_waits_as_before(stand: Stand) -> None:
    store = stand.store
    await store.keep(b"1", ONCE, REQUEST)
    for opening in (b"a", b"b"):
        assert await store.open(b"1", opening) == REQUEST
        assert await store.open(b"1", b"c") is None
        stand.advance(20)
        await store.end(b"1", opening, spent=False)
        assert await store.look(b"1") == TicketState(ONCE, waits=True)
    stand.advance(19.999)
    assert await store.look(b"1") is not None
    stand.advance(0.001)
    assert await store.look(b"1") is None


async def test_its_time_may_be_over_by_then(stand: Stand) -> None:
    await stand.store.keep(b"1", SHORT, REQUEST)
    await stand.store.open(b"1", b"a")
    stand.advance(10)
    assert await stand.store.look(b"1") == TicketState(SHORT, waits=False)
    await stand.store.end(b"1", b"a", spent=False)
    assert await stand.store.look(b"1") is None
    assert await stand.store.open(b"1", b"b") is None


async def test_what_was_released_was_sent(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    await store.open(b"1", b"a")
    await store.release(b"1", b"a")
    await store.end(b"1", b"a", spent=False)
    assert await store.open(b"1", b"b") is None
    assert await store.look(b"1") == TicketState(ONCE, waits=False)


async def test_a_ticket_that_reopens_is_unopened_until_it_is_sent(stand: Stand) -> None:
    store = stand.store
    await store.keep(b"1", AGAIN, REQUEST)
    await store.open(b"1", b"a")
    await store.end(b"1", b"a", spent=False)
    assert await store.look(b"1") == TicketState(AGAIN, waits=True)
    for opening, spent in ((b"b", True), (b"c", False)):
        assert await store.open(b"1", opening) == REQUEST
        await store.end(b"1", opening, spent=spent)
        assert await store.look(b"1") == TicketState(AGAIN, waits=False)
    stand.advance(10)
    assert await store.look(b"1") is None


@pytest.mark.parametrize("spent", [True, False])
async def test_nobody_ends_the_opening_of_another(store: TicketStore, spent: bool) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    await store.open(b"1", b"a")
    assert await store.open(b"1", b"b") is None
    await store.release(b"1", b"b")
    await store.end(b"1", b"b", spent=spent)
    assert await store.open(b"1", b"c") is None
    await store.end(b"1", b"a", spent=False)
    await store.end(b"1", b"a", spent=True)
    assert await store.open(b"1", b"d") == REQUEST


async def test_an_opening_that_never_was_changes_nothing(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    await store.release(b"1", b"a")
    await store.end(b"1", b"a", spent=True)
    assert await store.look(b"1") == TicketState(ONCE, waits=True)


# Time.


async def test_a_ticket_that_waits_expires_to_the_second(stand: Stand) -> None:
    await stand.store.keep(b"1", ONCE, REQUEST)
    stand.advance(59.999)
    assert await stand.store.look(b"1") is not None
    stand.advance(0.001)
    assert await stand.store.look(b"1") is None
    assert await stand.store.open(b"1", b"a") is None


async def test_an_open_ticket_does_not_expire(stand: Stand) -> None:
    await stand.store.keep(b"1", ONCE, REQUEST)
    await stand.store.open(b"1", b"a")
    stand.advance(100_000)
    assert await stand.store.look(b"1") == TicketState(ONCE, waits=False)


@pytest.mark.parametrize(
    ("ttl", "remembered"), [(10.0, 60.0), (600.0, 600.0)], ids=["a minute at least", "as long as it could wait"]
)
async def test_an_ended_ticket_is_remembered(stand: Stand, ttl: float, remembered: float) -> None:
    terms = TicketTerms("route", (b"owner",), ttl, reopens=False)
    await stand.store.keep(b"1", terms, REQUEST)
    await stand.store.open(b"1", b"a")
    stand.advance(1000)
    await stand.store.end(b"1", b"a", spent=True)
    stand.advance(remembered - 0.001)
    assert await stand.store.look(b"1") == TicketState(terms, waits=False)
    stand.advance(0.001)
    assert await stand.store.look(b"1") is None


async def test_a_ticket_that_reopens_waits_again_from_its_last_end(stand: Stand) -> None:
    store = stand.store
    await store.keep(b"1", AGAIN, REQUEST)
    assert await store.open(b"1", b"a") == REQUEST
    assert await store.open(b"1", b"b") == REQUEST
    await store.end(b"1", b"a", spent=True)
    stand.advance(1000)
    assert await store.look(b"1") is not None  # the other one is still open
    await store.end(b"1", b"b", spent=True)
    stand.advance(9.999)
    assert await store.open(b"1", b"a") == REQUEST
    stand.advance(1000)
    await store.end(b"1", b"a", spent=True)
    stand.advance(10)
    assert await store.look(b"1") is None


# Bounds.


async def test_a_store_that_is_closed_holds_nothing(store: TicketStore) -> None:
    await store.keep(b"1", ONCE, REQUEST)
    await store.close()
    assert await store.look(b"1") is None


def small(clock: HandClock, *, shares: int = 1, **bounds: int) -> MemoryTicketStore:
    return MemoryTicketStore(clock, shares=shares, **bounds)


def holds_nothing(store: MemoryTicketStore, clock: HandClock) -> bool:
    kept = (len(store), store.requests, store.size, store._entries, store._ended, store._expiries, store._owners)
    return not any(kept) and clock.armed == []


async def test_more_requests_than_may_wait() -> None:
    store = small(clock := HandClock(), most_tickets=2)
    await store.keep(b"1", ONCE, REQUEST)
    await store.keep(b"2", SHORT, REQUEST)
    with pytest.raises(StoreFull) as caught:
        await store.keep(b"3", ONCE, REQUEST)
    assert caught.value.status == 503
    assert caught.value.retry_after == 5
    assert await store.look(b"3") is None
    clock.advance(10)
    await store.keep(b"3", ONCE, REQUEST)
    await store.open(b"1", b"a")
    await store.release(b"1", b"a")
    await store.keep(b"4", ONCE, REQUEST)
    assert store.requests == 2


async def test_more_bytes_than_may_wait() -> None:
    store = small(HandClock(), most_bytes=3 * REQUEST.size - 1)
    await store.keep(b"1", ONCE, REQUEST)
    await store.keep(b"2", ONCE, REQUEST)
    with pytest.raises(StoreFull):
        await store.keep(b"3", ONCE, REQUEST)
    assert store.size == 2 * REQUEST.size
    await store.delete(b"1")
    await store.keep(b"3", ONCE, REQUEST)


def owned(*owners: bytes) -> TicketTerms:
    return TicketTerms("route", owners, 60.0, reopens=False)


async def test_one_owner_leaves_room_for_others() -> None:
    store = small(HandClock(), shares=4, most_tickets=16)
    for n in range(4):
        await store.keep(b"mine %d" % n, owned(b"me"), REQUEST)
    for _ in range(2):
        with pytest.raises(StoreFull) as caught:
            await store.keep(b"mine 5", owned(b"me"), REQUEST)
        assert (caught.value.retry_after, caught.value.detail) == (5, "Too many requests of this client are kept.")
    await store.keep(b"yours", owned(b"you"), REQUEST)
    await store.open(b"mine 0", b"a")
    await store.end(b"mine 0", b"a", spent=True)
    await store.keep(b"mine 5", owned(b"me"), REQUEST)


async def test_one_owner_leaves_bytes_for_others() -> None:
    large = KeptRequest("POST", "/", b"", [], bytes(10_000), PEER)
    store = small(HandClock(), shares=4, most_bytes=9 * large.size)
    for n in range(2):
        await store.keep(b"mine %d" % n, owned(b"me"), large)
    with pytest.raises(StoreFull):
        await store.keep(b"mine 2", owned(b"me"), large)
    await store.keep(b"yours", owned(b"you"), large)
    await store.delete(b"mine 0")
    await store.keep(b"mine 2", owned(b"me"), large)


async def test_many_clients_of_one_network_leave_room_for_others() -> None:
    """Whoever has a /56 of IPv6 is 256 clients."""
    store = small(HandClock(), shares=4, most_tickets=16)
    for n in range(8):
        await store.keep(b"%d" % n, owned(b"client %d" % n, b"network"), REQUEST)
    with pytest.raises(StoreFull, match="of this network"):
        await store.keep(b"8", owned(b"client 8", b"network"), REQUEST)
    await store.keep(b"8", owned(b"client 8", b"other"), REQUEST)
    await store.delete(b"0")
    await store.keep(b"9", owned(b"client 9", b"network"), REQUEST)


async def test_many_clients_of_one_network_leave_bytes_for_others() -> None:
    large = KeptRequest("POST", "/", b"", [], bytes(10_000), PEER)
    store = small(HandClock(), shares=4, most_bytes=9 * large.size)
    for n in range(4):
        await store.keep(b"%d" % n, owned(b"client %d" % n, b"network"), large)
    with pytest.raises(StoreFull, match="of this network"):
        await store.keep(b"4", owned(b"client 4", b"network"), large)
    await store.keep(b"4", owned(b"client 4", b"other"), large)


async def test_one_request_may_be_larger_than_a_share() -> None:
    huge = KeptRequest("POST", "/", b"", [], bytes(MOST_BODY), PEER)
    store = MemoryTicketStore(HandClock())
    await store.keep(b"1", owned(b"me"), huge)
    with pytest.raises(StoreFull, match="of this client"):
        await store.keep(b"2", owned(b"me"), REQUEST)
    await store.keep(b"2", owned(b"you"), REQUEST)


async def test_a_request_that_may_be_sent_again_goes_on_counting() -> None:
    store = small(HandClock(), most_tickets=1)
    await store.keep(b"1", AGAIN, REQUEST)
    await store.open(b"1", b"a")
    await store.end(b"1", b"a", spent=True)
    with pytest.raises(StoreFull):
        await store.keep(b"2", ONCE, REQUEST)


async def test_fields_count_as_much_as_they_take() -> None:
    few = KeptRequest("GET", "/", b"", [], None, PEER).size
    many = KeptRequest("GET", "/", b"", [(b"a", b"")] * 256, None, PEER).size
    assert many - few > 256 * 150


async def test_a_request_takes_no_more_memory_than_it_counts() -> None:
    store = small(HandClock())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(200):
            fields = [(b"X-%d-%d" % (n, field), b"%d" % field * 10) for field in range(n)]
            request = KeptRequest(
                "POST", f"/{n}", b"%d.test" % n, fields, bytes(10 * n), Peer(f"192.0.2.{n}", "http", trusted=False)
            )
            await store.keep(b"%032d" % n, TicketTerms(f"{n}", (b"%d" % n,), 60.0, reopens=False), request)
        assert tracemalloc.get_traced_memory()[0] - before <= store.size
    finally:
        tracemalloc.stop()


async def test_of_ended_tickets_the_oldest_are_forgotten_first() -> None:
    store = small(clock := HandClock(), most_tickets=3)
    for key in (b"1", b"2", b"3", b"4"):
        await store.keep(key, ONCE, REQUEST)
        await store.open(key, b"a")
        await store.end(key, b"a", spent=True)
    assert [await store.look(key) is not None for key in (b"1", b"2", b"3", b"4")] == [False, True, True, True]
    clock.advance(60)
    assert holds_nothing(store, clock)


async def test_what_nobody_asks_for_goes_by_itself() -> None:
    store = small(clock := HandClock())
    for n in range(1000):
        await store.keep(b"%d" % n, TicketTerms("route", (b"owner",), 10.0 + n % 7, reopens=False), REQUEST)
    assert store.size == 1000 * REQUEST.size
    assert clock.armed == [1010.0]
    clock.advance(10)
    assert len(store) == 1000 - len(range(0, 1000, 7))
    clock.advance(6)
    assert holds_nothing(store, clock)


async def test_a_ticket_with_less_time_than_those_before() -> None:
    store = small(clock := HandClock())
    await store.keep(b"1", ONCE, REQUEST)
    await store.keep(b"2", SHORT, REQUEST)
    clock.advance(10)
    assert len(store) == 1
    assert clock.armed == [1060.0]


@pytest.mark.parametrize("terms", [ONCE, AGAIN])
async def test_many_tickets_leave_nothing(terms: TicketTerms) -> None:
    store = small(clock := HandClock())
    for n in range(20_000):
        key = b"%d" % n
        await store.keep(key, terms, REQUEST)
        if n % 4:
            await store.open(key, b"a")
        if n % 4 > 1:
            await store.end(key, b"a", spent=True)
        if n % 8 < 6:
            await store.delete(key)
        if n % 100 == 0:
            clock.advance(1)
        assert len(store._expiries) <= 3 * len(store) + 100
    for n in range(20_000):
        if n % 8 > 5 and n % 4 < 2 and n % 4:
            await store.end(b"%d" % n, b"a", spent=True)
    clock.advance(60)
    assert holds_nothing(store, clock)
