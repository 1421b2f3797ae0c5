"""Do the Redis servers of the tests do what they are told?"""

from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.certificates import new_authority, new_certificate
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer
from tests.support.redis_stands import ClusterStand, SentinelStand


def test_it_keeps_all_that_it_acknowledged_when_it_is_killed() -> None:
    with RedisServer() as server:
        for number in range(20):
            server.cli("XADD", "stream", f"1-{number + 1}", "data", "hello")
        port, pid = server.port, server.pid
        server.restart()
        assert server.cli("XLEN", "stream") == 20
        assert (server.port, server.pid != pid) == (port, True)


def test_it_restarts_empty() -> None:
    with RedisServer() as server:
        server.cli("SET", "key", "value")
        server.restart(empty=True)
        assert server.cli("GET", "key") is None


def test_nothing_is_left_of_it() -> None:
    with RedisServer() as server:
        folder = server.folder
    assert not server.is_alive
    assert not folder.exists()


def test_killed_it_is_away() -> None:
    with RedisServer() as server:
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.cli("PING")


def test_frozen_it_says_nothing_and_goes_on_where_it_was() -> None:
    with RedisServer() as server:
        server.freeze()
        stat = Path(f"/proc/{server.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        server.thaw()
        assert server.cli("PING") is True


def test_a_wrong_password_is_refused() -> None:
    with RedisServer(password="open-sesame") as server:
        assert server.cli("PING") is True
        stranger = redis.Redis(port=server.port, password="wrong", retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_tls(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    certificate = new_certificate(tmp_path, authority, "redis", "IP:127.0.0.1")
    with RedisServer(certificate=certificate, authority=authority) as server:
        assert server.url.startswith("rediss://")
        assert server.cli("PING") is True


def test_unix_socket_and_settings() -> None:
    with RedisServer(unix_socket=True, notifications="Kt", maxmemory="50mb") as server:
        with redis.Redis(unix_socket_path=str(server.folder / "redis.sock"), decode_responses=True) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(50 * 1024 * 1024)}
        assert set(server.cli("CONFIG", "GET", "notify-keyspace-events")["notify-keyspace-events"]) == {"K", "t"}


def test_sentinels_name_another_master_when_one_dies() -> None:
    with SentinelStand() as stand:
        old = stand.master
        old.cli("SET", "key", "value")
        assert old.cli("WAIT", 1, 10_000) == 1
        new = stand.failover()
        assert stand.master is new is not old
        assert new.cli("GET", "key") == "value"
        new.cli("SET", "key", "another")


def test_a_cluster_of_three_keeps_each_key_on_its_node() -> None:
    with ClusterStand() as stand:
        keys = [f"inbox:{number}" for number in range(20)]
        for key in keys:
            stand.node_of(key).cli("SET", key, "value")
        assert {stand.node_of(key).port for key in keys} == {node.port for node in stand.nodes}
