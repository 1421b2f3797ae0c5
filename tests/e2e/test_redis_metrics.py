"""Does each metric of Redis move when what it counts has happened, with a real Redis and a whole process?"""

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from sseproxy.core.journal.gap import GapReason
from sseproxy.metrics.table import METRICS
from tests.support.blocking_client import Request
from tests.support.redis_server import RedisServer
from tests.support.scrape import Watched, streams, value, wait_until
from tests.support.sseproxy_process import SseproxyProcess

BROWSER = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushing(Watched):
    redis: RedisServer

    def value(self, name: str, **labels: str) -> float:
        """Of the figures of Redis."""
        return Watched.value(self, f"redis_{name}", redis="redis", **labels)

    @contextlib.contextmanager
    def readers(self, target: str, count: int, **fields: str) -> Iterator[Sequence[Request]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(Request(self.proxy.url, target, headers=BROWSER | fields)) for _ in range(count)]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushing]:
    """Tests come in their order: counters only grow."""
    with RedisServer(notifications="Kt") as redis:
        config = f"""\
server: {{listen: '127.0.0.1:0'}}
admin: {{listen: '127.0.0.1:0'}}
store: {{url: '{redis.url}', timeout: 1s}}
routes:
  - {{name: news, match: {{path: /news}}, redis: {{stream: news, format: json}}}}
  - {{name: short, match: {{path: /short}}, redis: {{stream: short}}}}
  - {{name: lost, match: {{path: /lost}}, redis: {{stream: lost}}}}
  - {{name: chat, match: {{path: /chat}}, redis: {{channel: chat, format: json}}}}
"""
        path = tmp_path_factory.mktemp("redis") / "c.yaml"
        path.write_text(config)
        with SseproxyProcess("-c", str(path), may_report=True) as proxy:
            pushing = Pushing(proxy=proxy, redis=redis)
            pushing.wait_for(1, "up")
            yield pushing


def publish(redis: RedisServer, message: str) -> None:
    with redis.client() as client:
        wait_until(lambda: client.publish("chat", message) > 0, "the process listens")


def test_channels(stand: Pushing) -> None:
    with stand.readers("/chat", 3) as readers:
        assert [reader.status for reader in readers] == [200] * 3
        publish(stand.redis, '{"data": "first"}')
        readers[0].wait_for(b"data: first\n\n")
        stand.wait_for(1, "messages_total")
        stand.wait_for(3, "deliveries_total")
        publish(stand.redis, "no JSON")
        stand.wait_for(1, "unreadable_total")
        assert stand.value("messages_total") == 2
        assert stand.value("deliveries_total") == 3
        wait_until(lambda: value(stand.admin, "sseproxy_events_total", route="chat") == 3, "all three have it")


def test_streams(stand: Pushing) -> None:
    delivered = stand.value("deliveries_total")
    with stand.readers("/news", 2) as readers:
        assert [reader.status for reader in readers] == [200] * 2
        for reader in readers:
            reader.wait_for(b"id: ")  # an `EventSource` gets its place at once
        for data in ("1", "2"):
            stand.redis.cli("XADD", "news", "*", "data", data, "id", "same")
        readers[0].wait_for(b"data: 1\n\n")
        stand.wait_for(2, "entries_total")
        stand.wait_for(1, "duplicates_total")
        stand.wait_for(delivered + 2, "deliveries_total")
        assert {row["journal"] for row in streams(stand.admin)} == {"new"}


def test_gaps(stand: Pushing) -> None:
    for number in range(1, 6):
        stand.redis.cli("XADD", "short", f"{number}-1", "data", str(number))
    stand.redis.cli("XTRIM", "short", "MAXLEN", "1")
    assert stand.value("gaps_total") == 0
    with stand.readers("/short", 1, **{"Last-Event-ID": "1-1"}) as [reader]:
        reader.wait_for(b"event: gap")
        stand.wait_for(1, "gaps_total", reason="trimmed")
        assert [row["journal"] for row in streams(stand.admin)] == ["gap"]


def test_a_position_of_another_stream_is_a_gap_too(stand: Pushing) -> None:
    with stand.readers("/short", 1, **{"Last-Event-ID": "99999999999999-1"}) as [reader]:
        reader.wait_for(b"event: gap")
        stand.wait_for(1, "gaps_total", reason="unknown")


def test_a_client_of_a_channel_that_takes_nothing_is_behind(stand: Pushing) -> None:
    with stand.readers("/chat", 1) as [quick], socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = stand.proxy.url.partition("://")[2].rpartition(":")
        slow.connect((host, int(port)))
        slow.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        assert quick.status == 200
        wait_until(lambda: value(stand.admin, "sseproxy_streams_open", route="chat") == 2, "both are open")
        for number in itertools.count():
            publish(stand.redis, json.dumps({"data": f"{number}:{'x' * 60_000}"}))
            quick.wait_for(b"data: %d:" % number)
            quick.body = b""
            if value(stand.admin, "sseproxy_streams_total", route="chat", reason="behind"):
                break


def test_bells_that_do_not_ring(stand: Pushing) -> None:
    with stand.readers("/short", 1) as [reader]:
        reader.wait_for(b"id: ")
        stand.redis.cli("CONFIG", "SET", "notify-keyspace-events", "")
        stand.redis.cli("XADD", "short", "*", "data", "unheard")
        reader.wait_for(b"data: unheard")
        stand.wait_for(1, "bells_missed_total")


def test_redis_away_and_back_without_its_streams(stand: Pushing) -> None:
    stand.redis.cli("XADD", "lost", "100-1", "data", "before")
    with stand.readers("/lost", 1, **{"Last-Event-ID": "oldest"}) as [reader]:
        reader.wait_for(b"data: before")
        stand.redis.kill()
        stand.wait_for(0, "up")
        assert stand.value("reconnects_total") == 0
        stand.redis.restart(empty=True)
        stand.wait_for(1, "up")
        assert stand.value("reconnects_total") == 1
        stand.redis.cli("XADD", "lost", "1-1", "data", "anew")
        reader.wait_for(b"event: gap")
        stand.wait_for(1, "gaps_total", reason="store")


def test_all_of_the_table_was_made_to_move(stand: Pushing) -> None:
    """Comes behind the tests above."""
    seen = stand.seen
    if "sseproxy_redis_reconnects_total" not in seen.names:
        pytest.skip("this test was chosen alone")
    assert {metric.name for metric in METRICS if metric.name.startswith("sseproxy_redis_")} - seen.names == set()
    assert seen.values("sseproxy_redis_up", "redis", at_rest=True) == {"redis"}
    # The other reasons are those of services that speak HTTP.
    reasons = {reason.value for reason in GapReason} - {GapReason.UPSTREAM.value, GapReason.FORK.value}
    assert seen.values("sseproxy_redis_gaps_total", "reason") == reasons
