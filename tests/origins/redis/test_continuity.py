"""Is the verdict right? A naive stream that remembers everything is asked too, and so is a real one."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.positions import START, Mark, write_mark
from sseproxy.origins.redis.continuity import NO_STREAM, StreamState, missing_after
from tests.support.redis_server import RedisServer

TOP = 2**64 - 1


@dataclass
class NaiveStream:
    """A Redis stream that never forgets, but what it had in an earlier life."""

    kept: list[Mark] = field(default_factory=list)
    ever: list[Mark] = field(default_factory=list)
    trimmed: set[Mark] = field(default_factory=set)
    deleted: set[Mark] = field(default_factory=set)
    life: int = 0

    def add(self, step: int) -> None:
        top = self.ever[-1] if self.ever else START
        mark = (top[0], top[1] + 1) if step == 0 else (top[0] + step, 0)
        self.ever.append(mark)
        self.kept.append(mark)

    def delete(self, place: int) -> None:
        if self.kept:
            mark = self.kept.pop(place % len(self.kept))
            self.deleted.add(mark)

    def trim(self, length: int) -> None:
        while len(self.kept) > length:
            self.trimmed.add(self.kept.pop(0))

    def remove(self) -> None:
        """DEL, or its time is up."""
        self.kept, self.ever, self.trimmed, self.deleted = [], [], set(), set()
        self.life += 1

    @property
    def state(self) -> StreamState:
        if not self.ever:
            return NO_STREAM
        return StreamState(self.kept[0] if self.kept else None, self.ever[-1], len(self.kept), len(self.ever))

    def gone_after(self, mark: Mark) -> list[Mark]:
        return [other for other in self.ever if other > mark and other not in self.kept]


ADD = st.tuples(st.just("add"), st.integers(0, 2))
TRIM = st.tuples(st.just("trim"), st.integers(0, 4))
DELETE = st.tuples(st.just("delete"), st.integers(0, 5))
REMOVE = st.tuples(st.just("remove"), st.just(0))
HISTORY = st.lists(ADD | ADD | ADD | TRIM | DELETE | REMOVE, max_size=25)


def play(stream: NaiveStream, step: tuple[str, int]) -> None:
    kind, value = step
    match kind:
        case "add":
            stream.add(value)
        case "trim":
            stream.trim(value)
        case "delete":
            stream.delete(value)
        case _:
            stream.remove()


def check(stream: NaiveStream, position: Mark, counted: int | None) -> None:
    """The position is one of this life of the stream."""
    gone = stream.gone_after(position)
    loss = missing_after(position, stream.state, counted)
    if loss is None:
        assert not stream.trimmed.intersection(gone), "a silent loss"
        return
    assert loss.reason is GapReason.TRIMMED
    assert loss.lost in (None, len(gone))
    if counted is not None or position == START:
        assert loss.lost is not None
    if loss.lost is None and not gone:
        assert stream.kept[:1] > [position], "the verdict is not known only where all up to the position are gone"


@given(HISTORY, HISTORY)
def test_nothing_is_missing_without_a_word_and_no_word_is_wrong(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    stream = NaiveStream()
    for step in before:
        play(stream, step)
    life, top, counted = stream.life, stream.ever[-1] if stream.ever else START, len(stream.ever)
    for step in after:
        play(stream, step)
        if stream.life == life:
            check(stream, top, counted)
            for position in [START, *stream.ever]:
                check(stream, position, None)


@given(HISTORY, HISTORY)
def test_a_stream_that_is_made_anew_with_lower_ids_is_another_one(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    stream = NaiveStream()
    for step in before:
        play(stream, step)
    position, counted = stream.ever[-1] if stream.ever else START, len(stream.ever)
    stream.remove()
    for step in after:
        play(stream, step)
        if position > (stream.ever[-1] if stream.ever else START) or counted > len(stream.ever):
            assert missing_after(position, stream.state, counted) == Missing(GapReason.UNKNOWN, None)


A, B, C, D = (1, 0), (2, 0), (2, 1), (5, 0)
TABLE = [
    # in the order of the test's arguments
    (START, None, START, 0, 0, None, None),
    (B, None, B, 0, 2, None, None),
    (A, B, D, 3, 4, None, Missing(GapReason.TRIMMED, None)),
    (A, B, D, 3, 4, 1, None),
    (A, C, D, 2, 4, 1, Missing(GapReason.TRIMMED, 1)),
    (A, None, D, 0, 4, 1, Missing(GapReason.TRIMMED, 3)),
    (B, C, D, 2, 4, None, None),  # C is the least id behind B: nothing can have been between
    ((1, TOP), B, D, 3, 4, None, None),
    (C, B, D, 3, 4, None, None),
    (START, A, D, 4, 4, None, None),
    (START, C, D, 2, 4, None, Missing(GapReason.TRIMMED, 2)),
    (START, C, D, 2, None, None, Missing(GapReason.TRIMMED, None)),
    ((5, 1), A, D, 4, 4, None, Missing(GapReason.UNKNOWN, None)),
    ((9, 0), None, START, 0, 0, None, Missing(GapReason.UNKNOWN, None)),
    (A, C, D, 2, 2, 5, Missing(GapReason.UNKNOWN, None)),
    (A, C, D, 2, 3, 2, Missing(GapReason.UNKNOWN, None)),
    (A, A, D, 4, None, None, None),
    (A, C, D, 2, None, 1, Missing(GapReason.TRIMMED, None)),
]


@pytest.mark.parametrize(("position", "first", "last", "length", "added", "counted", "verdict"), TABLE)
def test_the_rule(  # noqa: PLR0917
    position: Mark,
    first: Mark | None,
    last: Mark,
    length: int,
    added: int | None,
    counted: int | None,
    verdict: Missing | None,
) -> None:
    assert missing_after(position, StreamState(first, last, length, added), counted) == verdict


@pytest.mark.parametrize(
    "reply",
    [{}, {b"last-generated-id": b"x"}, {b"last-generated-id": b"1-1", b"first-entry": [b"1", []], b"length": 1}],
)
def test_a_reply_of_something_else_is_refused(reply: dict[bytes, object]) -> None:
    with pytest.raises(ValueError, match="XINFO"):
        StreamState.read(reply)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("seed", range(12))
def test_a_real_redis_says_the_same(server: RedisServer, seed: int) -> None:
    """The naive stream is no better than its likeness to Redis: same steps, same state, after each of them."""
    chance, stream, key = random.Random(seed), NaiveStream(), f"s{seed}"
    with redis.Redis(port=server.port, protocol=3) as client:
        for _ in range(60):
            step = (chance.choice(["add"] * 6 + ["trim", "delete", "delete", "remove"]), chance.randrange(6))
            kept = list(stream.kept)
            play(stream, step)
            match step[0]:
                case "add":
                    client.execute_command("XADD", key, write_mark(stream.ever[-1]), "data", "x")
                case "trim":
                    client.execute_command("XTRIM", key, "MAXLEN", "=", step[1])
                case "delete":
                    for mark in set(kept) - set(stream.kept):
                        client.execute_command("XDEL", key, write_mark(mark))
                case _:
                    client.delete(key) if seed % 2 else client.pexpire(key, 0)
            assert state_of(client, key) == stream.state


def state_of(client: redis.Redis, key: str) -> StreamState:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("XINFO", "STREAM", key)  # type: ignore[no-untyped-call]
        return StreamState.read(connection.read_response())
    except redis.ResponseError:
        return NO_STREAM
    finally:
        client.connection_pool.release(connection)
