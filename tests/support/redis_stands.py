"""How do tests start Redis with Sentinel, and a Redis Cluster?"""

import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.certificates import Certificate
from tests.support.redis_server import RedisServer, free_port, wait_for

_NAME = "mymaster"
_SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Tls:
    """All connections, those between servers too, are encrypted. authority: has signed the `certificate` of all."""

    certificate: Certificate
    authority: Certificate

    @property
    def query(self) -> str:
        """What a URL needs to have."""
        return f"?ssl=true&ssl_ca_certs={self.authority.certificate}"


class SentinelStand:
    """A master, its replica, and three sentinels that agree within a second that a master is down."""

    def __init__(self, tls: Tls | None = None) -> None:
        self._tls = tls

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(_server(self._tls))
            second = stack.enter_context(_server(self._tls, ("replicaof", f"127.0.0.1 {first.port}")))
            self.servers = [first, second]
            wait_for(lambda: "master_link_status:up" in _info(second), "a replica that has all that its master has")
            self.sentinels = [stack.enter_context(_sentinel(self._tls, first.port)) for _ in range(3)]
            for sentinel in self.sentinels:
                wait_for(lambda sentinel=sentinel: _knows_all(sentinel), "a sentinel that knows the others")  # type: ignore[misc]
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """Of the master, whichever server it is."""
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{addresses}/{_NAME}/0{self._tls.query if self._tls else ''}"

    @property
    def master(self) -> RedisServer:
        """The server that the sentinels name."""
        named = _master_port(self.sentinels[0])
        return next(server for server in self.servers if server.port == named)

    def failover(self) -> RedisServer:
        """Kill the master; return the new one once all sentinels name it and it takes writes."""
        old = self.master
        old.kill()
        new = next(server for server in self.servers if server is not old)
        wait_for(lambda: all(_master_port(each) == new.port for each in self.sentinels), "sentinels that agree")
        wait_for(lambda: "role:master" in _info(new), "a new master that knows it")
        return new


class ClusterStand:
    """A Redis Cluster of three masters. with_replicas: each has one, which takes its place when it dies."""

    def __init__(self, tls: Tls | None = None, *, with_replicas: bool = False) -> None:
        self._tls = tls
        self._with_replicas = with_replicas
        self.replicas: list[RedisServer] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            buses = [free_port() for _ in range(3)]
            self.nodes = [stack.enter_context(_node(self._tls, bus)) for bus in buses]
            share = _SLOTS // 3
            for number, node in enumerate(self.nodes):
                last = _SLOTS - 1 if number == 2 else (number + 1) * share - 1
                node.cli("CLUSTER", "ADDSLOTSRANGE", number * share, last)
                for other, bus in zip(self.nodes, buses, strict=True):
                    if other is not node:
                        node.cli("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
            for node in self.nodes:
                wait_for(lambda node=node: _is_whole(node), "a cluster that serves all slots")  # type: ignore[misc]
            if self._with_replicas:
                self.replicas = [self._replica(stack, node) for node in self.nodes]
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        """Names one node; it knows the others."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}{self._tls.query if self._tls else ''}"

    def node_of(self, key: str) -> RedisServer:
        """Return the node that keeps `key`."""
        slot = int(self.nodes[0].cli("CLUSTER", "KEYSLOT", key))
        return self.nodes[min(slot // (_SLOTS // 3), 2)]

    def _replica(self, stack: contextlib.ExitStack, master: RedisServer) -> RedisServer:
        bus = free_port()
        replica, name = stack.enter_context(_node(self._tls, bus)), master.cli("CLUSTER", "MYID")
        for node in self.nodes:
            node.cli("CLUSTER", "MEET", "127.0.0.1", replica.port, bus)
        wait_for(lambda: name in str(replica.cli("CLUSTER", "NODES")), "a replica that has met its master")
        replica.cli("CLUSTER", "REPLICATE", name)
        wait_for(lambda: "master_link_status:up" in _info(replica), "a replica that has all that its master has")
        return replica


def _server(tls: Tls | None, *settings: tuple[str, str], sentinel: bool = False) -> RedisServer:
    if tls is None:
        return RedisServer(settings=settings, sentinel=sentinel)
    return RedisServer(
        settings=[("tls-replication", "yes"), *settings],
        sentinel=sentinel,
        certificate=tls.certificate,
        authority=tls.authority,
    )


def _sentinel(tls: Tls | None, master: int) -> RedisServer:
    monitored = [
        ("sentinel monitor", f"{_NAME} 127.0.0.1 {master} 2"),
        ("sentinel down-after-milliseconds", f"{_NAME} 700"),
        ("sentinel failover-timeout", f"{_NAME} 3000"),
    ]
    return _server(tls, *monitored, sentinel=True)


def _node(tls: Tls | None, bus: int) -> RedisServer:
    settings = [("cluster-enabled", "yes"), ("cluster-port", str(bus)), ("cluster-node-timeout", "3000")]
    return _server(tls, *settings, *([] if tls is None else [("tls-cluster", "yes")]))


def _info(server: RedisServer) -> str:
    with server.client() as client:
        section = client.info("replication")
    return "\n".join(f"{name}:{value}" for name, value in section.items())


def _master_port(sentinel: RedisServer) -> int:
    return int(sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _NAME)[1])


def _knows_all(sentinel: RedisServer) -> bool:
    with sentinel.client() as client:
        master = client.sentinel_master(_NAME)
    return bool(master["num-slaves"] == 1 and master["num-other-sentinels"] == 2 and master["flags"] == "master")


def _is_whole(node: RedisServer) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER", "INFO")
    known = info if isinstance(info, dict) else dict(line.split(":") for line in info.split("\r\n") if line)
    return bool(known["cluster_state"] == "ok" and int(known["cluster_known_nodes"]) == 3)
