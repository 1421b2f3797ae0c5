"""Does each metric of Redis move when what it counts has happened, with a real Redis and a whole process?"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from sseproxy.metrics.table import METRICS
from tests.support.blocking_client import Request
from tests.support.redis_server import RedisServer
from tests.support.scrape import scrape, streams, value, wait_until
from tests.support.sseproxy_process import SseproxyProcess

BROWSER = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Pushing:
    redis: RedisServer
    proxy: SseproxyProcess

    @property
    def admin(self) -> str:
        return self.proxy.urls[-1]

    def value(self, name: str, **labels: str) -> float:
        return value(self.admin, f"sseproxy_redis_{name}", redis="redis", **labels)

    def wait_for(self, wanted: float, name: str, **labels: str) -> None:
        wait_until(lambda: self.value(name, **labels) == wanted, f"{name} is {wanted}")

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
  - {{name: chat, match: {{path: /chat}}, redis: {{channel: chat, format: json}}}}
"""
        path = tmp_path_factory.mktemp("redis") / "c.yaml"
        path.write_text(config)
        with SseproxyProcess("-c", str(path), may_report=True) as proxy:
            pushing = Pushing(redis, proxy)
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


def test_bells_that_do_not_ring(stand: Pushing) -> None:
    with stand.readers("/short", 1) as [reader]:
        reader.wait_for(b"id: ")
        stand.redis.cli("CONFIG", "SET", "notify-keyspace-events", "")
        stand.redis.cli("XADD", "short", "*", "data", "unheard")
        reader.wait_for(b"data: unheard")
        stand.wait_for(1, "bells_missed_total")


def test_redis_away_and_back(stand: Pushing) -> None:
    stand.redis.kill()
    stand.wait_for(0, "up")
    assert stand.value("reconnects_total") == 0
    stand.redis.restart()
    stand.wait_for(1, "up")
    assert stand.value("reconnects_total") == 1


def test_all_of_the_table_was_made_to_move(stand: Pushing) -> None:
    """Comes behind the tests above."""
    names = {name for (name, _), number in scrape(stand.admin).items() if number}
    wanted = {metric.name for metric in METRICS if metric.name.startswith("sseproxy_redis_")}
    if "sseproxy_redis_reconnects_total" in names:  # else this test was chosen alone
        assert wanted - names == set()
