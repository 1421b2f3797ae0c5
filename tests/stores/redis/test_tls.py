"""Is Redis reached over TLS in each of its forms, with a certificate of our own where it wants one?"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sseproxy.stores.redis.line import LinkLimits
from sseproxy.stores.redis.urls import RedisURL
from sseproxy.stores.redis.wire import Wire
from tests.stores.redis.stand import Listener, a_link, a_subscriber, blocking_reads, open_sockets, recovered
from tests.support.certificates import new_authority, new_certificate
from tests.support.inside import run_on
from tests.support.patience import LIMIT
from tests.support.redis_server import RedisServer
from tests.support.redis_stands import ClusterStand, SentinelStand, Tls
from tests.support.settled import eventually as until
from tests.support.slow_turns import cancelled_after

#: As in production: a handshake takes its time where the machine has much else to do.
LIMITS = LinkLimits()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("redis-tls")
    authority = new_authority(folder)
    return Tls(new_certificate(folder, authority, "redis", "IP:127.0.0.1"), authority)


def test_a_certificate_of_our_own_names_us(tls: Tls, tmp_path: Path) -> None:
    """Also to Sentinel, and to the nodes of a cluster, which take the same options."""
    asyncio.run(_with_client_certificates(tls, tmp_path))


async def _with_client_certificates(tls: Tls, folder: Path) -> None:
    client = new_certificate(folder, tls.authority, "client", "DNS:sseproxy")
    stranger = new_certificate(folder, new_authority(folder, "other"), "stranger", "DNS:stranger")
    wanted = [("tls-auth-clients", "yes")]
    with RedisServer(certificate=tls.certificate, authority=tls.authority, settings=wanted) as server:
        url = f"{server.url}?ssl_ca_certs={tls.authority.certificate}"
        own = f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
        async with a_link(url + own, LIMITS) as link, a_subscriber(link) as subscriber, blocking_reads(link) as reads:
            listener, bells = Listener(), [0]
            listener.subscribe(subscriber, b"news")
            reads.watch(b"s", lambda: b"0-0", lambda: bells.append(1))
            assert await recovered(link, "PING") == b"PONG"
            await until(lambda: listener.ready == 1)
            server.cli("PUBLISH", "news", "hello")
            await until(lambda: listener.heard == [b"hello"])
            server.cli("XADD", "s", "*", "f", 1)
            await until(lambda: len(bells) > 1)
        for none in ("", f"&ssl_certfile={stranger.certificate}&ssl_keyfile={stranger.key}"):
            async with a_link(url + none, LIMITS) as link:
                await until(lambda link=link: link.reason)  # type: ignore[misc]
                assert not link.is_up


def test_a_dial_that_is_called_off_at_any_moment_leaves_no_fault(tls: Tls) -> None:
    """Also in the turn of the loop in which it succeeds; uvloop closes it then, and TLS does not hear of it."""
    faults: list[dict[str, Any]] = []

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        with RedisServer(certificate=tls.certificate, authority=tls.authority) as server:
            url = RedisURL.parse(f"{server.url}?ssl_ca_certs={tls.authority.certificate}")
            sockets = open_sockets()
            for turns in range(12):
                await cancelled_after(Wire.dial(url, url.hosts[0], within=LIMIT), turns)
            await until(lambda: open_sockets() == sockets)

    run_on("uvloop", test)
    assert faults == []


async def test_sentinel_and_a_failover(tls: Tls) -> None:
    with SentinelStand(tls) as stand:
        async with a_link(stand.url, LIMITS) as link, a_subscriber(link) as subscriber:
            listener = Listener()
            listener.subscribe(subscriber, b"news")
            await recovered(link, "SET", "key", 1)
            await until(lambda: listener.ready == 1)
            new = await asyncio.to_thread(stand.failover)
            await recovered(link, "SET", "after", 1)
            assert new.cli("GET", "after") == "1"
            await until(lambda: listener.ready >= 2)
            new.cli("PUBLISH", "news", "hello")
            await until(lambda: listener.heard == [b"hello"])


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "TLS"])
async def test_a_cluster_whose_replica_takes_the_place_of_its_master(tls: Tls, is_encrypted: bool) -> None:
    with ClusterStand(tls if is_encrypted else None, with_replicas=True) as stand:
        async with a_link(stand.url, LIMITS) as link:
            await recovered(link, "SET", "key", 1)
            assert len(link.primaries) == 3, "replicas are no places to write to"
            master = stand.node_of("key")
            assert master.cli("WAIT", 1, 10_000) == 1
            replica = stand.replicas[stand.nodes.index(master)]
            master.kill()
            assert await recovered(link, "GET", "key") == b"1"
            assert await recovered(link, "INCR", "key") == 2
            assert replica.cli("GET", "key") == "2"
