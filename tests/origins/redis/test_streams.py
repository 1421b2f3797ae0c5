"""Does each client of a stream get each entry once, in order, or hear of what is missing?"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from sseproxy.core.journal.policy import Format, RedisPolicy, Start
from sseproxy.core.journal.templates import Template
from sseproxy.origins.redis.shared import FollowLimits
from tests.support.redis_origin import QUICK, Client, Replica, add, command, stream, until
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(notifications="KEA") as server:
        yield server


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    with server.emptied() as client:
        yield client


@pytest.fixture
async def replica(server: RedisServer, db: redis.Redis) -> AsyncIterator[Replica]:
    async with Replica(server.url) as replica:
        yield replica


async def test_who_is_connected_gets_what_is_added(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    ids = add(db, "s", 1, 2, 3)
    await until(lambda: client.data == ["1", "2", "3"])
    assert [event.last_event_id.encode() for event in client.events] == ids
    assert client.gaps == []


async def test_latest_begins_at_the_top_and_oldest_at_what_is_kept(replica: Replica, db: redis.Redis) -> None:
    add(db, "s", 1, 2, 3)
    latest = await replica.seated()
    oldest = replica.client("s", stream(start=Start.OLDEST))
    named = replica.client(position=b"oldest")
    add(db, "s", 4)
    await until(lambda: latest.data == ["4"])
    await until(lambda: oldest.data == named.data == ["1", "2", "3", "4"])
    assert latest.gaps == oldest.gaps == named.gaps == []


async def test_oldest_of_a_trimmed_stream_is_no_gap(replica: Replica, db: redis.Redis) -> None:
    add(db, "s", *range(20))
    command(db, "XTRIM", "s", "MAXLEN", "=", 5)
    client = replica.client(position=b"oldest")
    await until(lambda: client.data == ["15", "16", "17", "18", "19"])
    assert client.gaps == []


async def test_a_client_resumes_exactly_wherever_it_was(replica: Replica, db: redis.Redis) -> None:
    ids = add(db, "s", *range(30))
    for number, position in enumerate(ids):
        client = replica.client(position=position)
        after = [str(value) for value in range(number + 1, 30)]
        await until(lambda client=client, after=after: client.data == after and client.text)  # type: ignore[misc]
        assert client.gaps == []
    late = replica.clients[:]
    add(db, "s", "new")
    await until(lambda: all(client.data[-1:] == ["new"] for client in late))
    assert [len(client.data) for client in late] == list(range(30, 0, -1))


async def test_a_position_of_several_streams_resumes_each(replica: Replica, db: redis.Redis) -> None:
    names = ["a", "b", "c"]
    client = replica.client(names)
    await until(lambda: client.text)
    for number in range(12):
        add(db, names[number % 3], number)
    await until(lambda: len(client.data) == 12)
    positions = [event.last_event_id.encode() for event in client.events]
    assert all(position.startswith(b"V.") for position in positions)
    for number, position in enumerate(positions):
        back = replica.client(names, position=position)
        rest = sorted(client.data[number + 1 :])
        await until(lambda back=back, rest=rest: sorted(back.data) == rest and back.text)  # type: ignore[misc]
        assert back.gaps == []


@pytest.mark.parametrize("position", [b"nonsense", b"0", b"V.1-1.2-2", b"01-1", b"1-1-1", b"-", b"\xff"])
async def test_a_position_that_cannot_be_read_is_a_gap(replica: Replica, db: redis.Redis, position: bytes) -> None:
    add(db, "s", 1, 2)
    client = replica.client(position=position)
    await until(lambda: client.data == ["1", "2"])
    assert [gap["reason"] for gap in client.gaps] == ["unknown"]
    assert client.events[0].type == "gap"


async def test_a_position_of_another_number_of_streams_is_one_gap(replica: Replica, db: redis.Redis) -> None:
    [position] = add(db, "a", 1)
    add(db, "b", 2)
    client = replica.client(["a", "b"], position=position)
    await until(lambda: sorted(client.data) == ["1", "2"])
    assert len(client.gaps) == 1
    assert replica.origin.stats.gaps.total() == 1


async def test_a_gap_is_told_once(replica: Replica, db: redis.Redis) -> None:
    add(db, "s", 1, 2)
    first = replica.client(position=b"99999999999999-0")
    await until(lambda: first.data == ["1", "2"])
    assert [gap["reason"] for gap in first.gaps] == ["unknown"]
    again = replica.client(position=first.events[0].last_event_id.encode())
    await until(lambda: again.data == ["1", "2"])
    assert again.gaps == []


@pytest.mark.parametrize("live", ["mirrored", "asked"])
async def test_a_gap_is_exactly_where_entries_were_trimmed(replica: Replica, db: redis.Redis, live: str) -> None:
    ids = add(db, "s", *range(40))
    if live == "mirrored":  # another client has the follower at the top already
        await replica.seated()
    command(db, "XTRIM", "s", "MAXLEN", "=", 25)  # 15 is the first that is kept
    for number, position in enumerate(ids):
        client = replica.client(position=position)
        first = max(number + 1, 15)
        rest = [str(value) for value in range(first, 40)]
        await until(lambda client=client, rest=rest: client.data == rest and client.text)  # type: ignore[misc]
        reasons = [gap["reason"] for gap in client.gaps]
        if number != 14:  # behind it nothing is missing, which only an entry that is gone, too, would prove
            assert reasons == (["trimmed"] if number < 14 else [])


async def test_an_entry_that_was_taken_out_is_no_gap(replica: Replica, db: redis.Redis) -> None:
    ids = add(db, "s", *range(10))
    command(db, "XDEL", "s", ids[5], ids[6])
    client = replica.client(position=ids[5])
    await until(lambda: client.data == ["7", "8", "9"])
    assert client.gaps == []


async def test_a_stream_that_keeps_one_entry_loses_nothing_live(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    for number in range(20):
        command(db, "XADD", "s", "MAXLEN", "=", 1, "*", "data", number)
        await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]
    assert client.data == [str(number) for number in range(20)]
    assert client.gaps == []


async def test_a_burst_beyond_what_is_kept_is_counted(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    add(db, "s", 1)
    await until(lambda: client.data == ["1"])
    with db.pipeline(transaction=True) as pipeline:  # at once: no read can come between
        for number in range(100):
            command(pipeline, "XADD", "s", "MAXLEN", "=", 10, "*", "data", number)
        pipeline.execute()
    await until(lambda: client.data[-1] == "99")
    assert client.data == ["1", *map(str, range(90, 100))]
    assert [(gap["reason"], gap["lost"]) for gap in client.gaps] == [("trimmed", 90)]
    assert client.events[1].type == "gap"


async def test_a_large_history_comes_whole(replica: Replica, db: redis.Redis) -> None:
    with db.pipeline(transaction=False) as pipeline:
        for number in range(5000):
            command(pipeline, "XADD", "s", "*", "data", number)
        pipeline.execute()
    client = replica.client(position=b"oldest")
    await until(lambda: len(client.data) == 5000)
    assert client.data == [str(number) for number in range(5000)]
    assert client.gaps == []


async def test_large_entries_are_read_a_few_at_a_time(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    for number in range(20):
        add(db, "s", f"{number} " + 200_000 * "x")
    await until(lambda: len(client.data) == 20)
    back = replica.client(position=b"oldest")
    await until(lambda: len(back.data) == 20)
    assert [int(data.split()[0]) for data in back.data] == list(range(20))
    assert client.gaps == back.gaps == []


async def test_a_stream_that_expires_while_it_is_watched_is_no_gap(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    add(db, "s", 1, 2)
    await until(lambda: client.data == ["1", "2"])
    db.pexpire("s", 1)
    await until(lambda: not db.exists("s"))
    add(db, "s", 3)
    await until(lambda: client.data == ["1", "2", "3"])
    assert client.gaps == []


@pytest.mark.parametrize("ids", ["time", "counted"])
async def test_a_stream_that_is_made_anew_goes_on(replica: Replica, db: redis.Redis, ids: str) -> None:
    client = await replica.seated()

    def publish(number: int, sequence: int) -> None:
        add(db, "s", number, form="*" if ids == "time" else f"1-{sequence}")

    for number in range(3):
        publish(number, number + 1)
    await until(lambda: len(client.data) == 3)
    for number in range(3, 30):
        if number % 9 == 3:
            db.delete("s")
        publish(number, (number - 3) % 9 + 1)
        await until(lambda number=number: client.data[-1:] == [str(number)])  # type: ignore[misc]
    assert client.data == [str(number) for number in range(30)]
    assert client.gaps == []


async def test_a_stream_that_is_made_anew_with_the_same_ids_is_another_one(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    for number in range(1, 4):
        add(db, "s", f"old {number}", form=f"1-{number}")
    await until(lambda: len(client.data) == 3)
    with db.pipeline(transaction=True) as pipeline:  # at once: no look can come between
        pipeline.delete("s")
        for number in range(1, 6):
            command(pipeline, "XADD", "s", f"1-{number}", "data", f"new {number}")
        pipeline.execute()
    await until(lambda: client.data[-1:] == ["new 5"])
    assert client.data[3:] == [f"new {number}" for number in range(1, 6)]


async def test_flushall_while_it_is_watched_goes_on(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated()
    add(db, "s", 1)
    await until(lambda: client.data == ["1"])
    db.flushall()
    add(db, "s", 2)
    await until(lambda: client.data == ["1", "2"])


async def test_a_key_of_another_type_is_logged_once(
    replica: Replica, db: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    db.set("s", "text")
    clients = [replica.client() for _ in range(3)]
    await until(lambda: "not a stream" in caplog.text)
    clients += [replica.client() for _ in range(3)]
    await asyncio.sleep(0.1)
    assert caplog.text.count("not a stream") == 1
    assert [client.error for client in clients] == [None] * 6


async def test_no_log_has_a_name_that_a_client_has_written(
    replica: Replica, db: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    db.set("of:hidden-cookie", "text")
    policy = RedisPolicy(streams=(Template.parse("of:{cookie:session}"),))
    replica.client("of:hidden-cookie", policy)
    await until(lambda: "not a stream" in caplog.text)
    assert "hidden-cookie" not in caplog.text


async def test_a_key_of_another_type_can_become_a_stream(server: RedisServer, db: redis.Redis) -> None:
    db.set("s", "text")
    async with Replica(server.url, bells=QUICK) as replica:
        client = await replica.seated("other")
        add(db, "other", 1)
        await until(lambda: client.data == ["1"])
        db.delete("other")
        db.set("other", "text")
        await asyncio.sleep(0.5)
        db.delete("other")
        add(db, "other", 2)
        await until(lambda: client.data == ["1", "2"])


async def test_what_cannot_be_read_is_skipped_and_logged_once(
    replica: Replica, db: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client = await replica.seated()
    for number in range(3):
        db.xadd("s", {"message": "no data"})
        add(db, "s", number)
    last = command(db, "XADD", "s", "*", "other", "x")
    await until(lambda: client.data == ["0", "1", "2"])
    await until(lambda: replica.origin.stats.unreadable == 4)
    assert caplog.text.count("skipped") == 1
    # A position at an entry that was skipped is known, here and at another replica.
    back = replica.client(position=last.encode())
    add(db, "s", 3)
    await until(lambda: back.data == ["3"])
    assert back.gaps == []


async def test_an_event_that_is_too_large_is_skipped(replica: Replica, db: redis.Redis) -> None:
    client = await replica.seated(most=100)
    add(db, "s", "x" * 101, "small")
    await until(lambda: client.data == ["small"])
    assert replica.origin.stats.unreadable == 1


async def test_a_history_of_what_cannot_be_read_ends(replica: Replica, db: redis.Redis) -> None:
    add(db, "s", "first")
    with db.pipeline(transaction=False) as pipeline:
        for _ in range(1500):
            pipeline.xadd("s", {"message": "x"})
        pipeline.execute()
    client = replica.client(position=b"oldest")
    await until(lambda: client.data == ["first"])
    add(db, "s", "last")
    await until(lambda: client.data == ["first", "last"])
    assert client.gaps == []


async def test_an_own_id_that_comes_again_is_a_duplicate(replica: Replica, db: redis.Redis) -> None:
    policy = stream(form=Format.JSON)
    client = await replica.seated("s", policy)
    for number in (1, 2, 1, 3, 2, 3, 4):
        add(db, "s", number, id=f"own-{number}")
    await until(lambda: client.data[-1:] == ["4"])
    assert client.data == ["1", "2", "3", "4"]
    assert "own" not in client.text.decode()


async def test_duplicates_are_found_among_the_last_thousand(replica: Replica, db: redis.Redis) -> None:
    policy = stream(form=Format.JSON)
    add(db, "s", "first", id="own")
    with db.pipeline(transaction=False) as pipeline:
        for number in range(999):
            command(pipeline, "XADD", "s", "*", "data", number)
        pipeline.execute()
    client = await replica.seated("s", policy)
    add(db, "s", "again", id="own")  # the first one is 1,000 entries before
    add(db, "s", "other", id="other")
    await until(lambda: client.data == ["other"])
    with db.pipeline(transaction=False) as pipeline:
        for number in range(999):
            command(pipeline, "XADD", "s", "*", "data", number)
        pipeline.execute()
    add(db, "s", "new", id="own")  # "again" is 1,001 entries before
    await until(lambda: client.data[-1:] == ["new"])
    back = replica.client("s", policy, position=b"oldest")
    await until(lambda: back.data[-1:] == ["new"])
    assert back.data.count("again") == 0
    assert len(back.data) == 1 + 999 + 1 + 999 + 1


async def test_a_history_with_own_ids_is_read_back_once(replica: Replica, db: redis.Redis) -> None:
    with db.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            command(pipeline, "XADD", "s", "*", "data", number, "id", f"own-{number % 1500}")
        pipeline.execute()
    db.config_resetstat()
    client = replica.client("s", stream(form=Format.JSON), position=b"oldest")
    await until(lambda: client.data[-1:] == ["1999"])
    assert len(client.data) == 2000  # the same id is too far away
    assert int(db.info("commandstats")["cmdstat_xrevrange"]["calls"]) <= 5


async def test_one_follower_and_one_subscription_for_a_thousand_readers(replica: Replica, db: redis.Redis) -> None:
    clients = [replica.client() for _ in range(1000)]
    await until(lambda: all(client.text for client in clients))
    assert replica.origin.streams == 1
    await until(lambda: db.pubsub_numsub("__keyspace@0__:s") == [("__keyspace@0__:s", 1)])
    db.config_resetstat()
    add(db, "s", "x")
    await until(lambda: all(client.data == ["x"] for client in clients))
    calls = db.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0)
    assert calls <= 3
    assert replica.origin.stats.deliveries == 1000


async def test_a_follower_lingers_and_is_dropped(server: RedisServer, db: redis.Redis) -> None:
    async with Replica(server.url, follow=FollowLimits(linger=0.5)) as replica:
        client = await replica.seated()
        client.leave()
        add(db, "s", 1)
        back = replica.client(position=client.position)
        await until(lambda: back.data == ["1"])
        await asyncio.sleep(0.6)
        assert replica.origin.streams == 1
        back.leave()
        assert replica.origin.streams == 1
        await until(lambda: replica.origin.streams == 0)
        await until(lambda: db.pubsub_numsub("__keyspace@0__:s") == [("__keyspace@0__:s", 0)])


async def test_many_readers_that_start_at_once_cost_few_round_trips(replica: Replica, db: redis.Redis) -> None:
    before = db.info("stats")["total_reads_processed"]
    clients = [replica.client(f"inbox:{number}") for number in range(2000)]
    await until(lambda: all(client.text for client in clients))
    assert db.info("commandstats")["cmdstat_xinfo|stream"]["calls"] >= 2000
    assert db.info("stats")["total_reads_processed"] - before < 500
    add(db, "inbox:1234", "x")
    await until(lambda: clients[1234].data == ["x"])


async def test_a_reader_that_leaves_before_it_begins_leaves_nothing(replica: Replica, db: redis.Redis) -> None:
    for _ in range(100):
        replica.client(position=b"oldest").leave()
    client = await replica.seated()
    add(db, "s", 1)
    await until(lambda: client.data == ["1"])


async def test_a_slow_reader_falls_back_to_the_history(replica: Replica, db: redis.Redis) -> None:
    slow, quick = await replica.seated(), await replica.seated()
    assert slow.reader is not None
    slow.reader.pause()
    with db.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            command(pipeline, "XADD", "s", "*", "data", number)
        pipeline.execute()
    await until(lambda: len(quick.data) == 3000)
    assert slow.data == []
    slow.reader.resume()
    await until(lambda: len(slow.data) == 3000)
    assert slow.data == quick.data
    assert slow.gaps == []


def test_a_client_knows_its_position_from_a_primer() -> None:
    client = Client()
    client.receive_data(b"id: 5-1\n\n")
    assert client.position == b"5-1"


async def test_a_replica_with_more_than_redis_lets_a_gap_be_told_again_elsewhere(
    replica: Replica, server: RedisServer, db: redis.Redis
) -> None:
    """It tells the smaller gap. A client that leaves before it has the rest finds the larger one at another replica."""
    old = add(db, "s", 1, 2)
    witness = await replica.seated()  # from here on the first replica keeps what comes
    add(db, "s", 3, 4, 5)
    await until(lambda: witness.data == ["3", "4", "5"])
    last = add(db, "s", 6)[0]
    await until(lambda: witness.data[-1] == "6")
    command(db, "XTRIM", "s", "MINID", last)
    client = replica.client(position=old[0])
    await until(lambda: client.data == ["3", "4", "5", "6"])
    told = client.events[0]
    assert [told.type, told.last_event_id.encode()] == ["gap", old[1]]
    async with Replica(server.url) as second:
        moved = second.client(position=told.last_event_id.encode())
        await until(lambda: moved.data == ["6"])
        assert [(gap["reason"], gap["from"]) for gap in moved.gaps] == [("trimmed", old[1].decode())]
