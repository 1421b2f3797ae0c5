"""What does systemd hear of a running process, and what becomes of one whose event loop hangs?"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.reloading import UNCHANGED, reloadable
from tests.support.blocking_client import Request, fetch
from tests.support.echo_upstream import EchoUpstream
from tests.support.hand_upstream import HandUpstream
from tests.support.processes import children, wait_until

WORKERS = pytest.mark.parametrize("workers", [1, 2])


class Manager:
    """The socket that systemd would listen on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def wait_for(self, wanted: Callable[[str], bool]) -> list[str]:
        """All datagrams until one is `wanted`."""
        heard: list[str] = []
        while not heard or not wanted(heard[-1]):
            heard.append(self._socket.recv(4096).decode())
        return heard

    def wait_for_silence(self) -> None:
        """Until nothing has come for three times the span of a watchdog of 0.3 s."""
        self._socket.settimeout(0.9)
        with contextlib.suppress(TimeoutError):
            while self._socket.recv(4096):
                pass
        self._socket.settimeout(30)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def is_ready(text: str) -> bool:
    return text.startswith("READY=1\n")


@WORKERS
def test_systemd_follows_a_life(tmp_path: Path, manager: Manager, workers: int) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path)}
    with EchoUpstream() as upstream:
        routes = [{"upstream": upstream.url}]
        with reloadable(
            tmp_path, workers=workers, environment=environment, server={"drain": {"timeout": "40s"}}, routes=routes
        ) as proxy:
            assert manager.wait_for(is_ready) == ["READY=1\nSTATUS=serving 1 route"]
            assert fetch(proxy.url, "/").status == 200
            proxy.reload(routes=[{"match": {"path": "/a"}, "upstream": upstream.url}, *routes])
            begun, ready = manager.wait_for(is_ready)
            assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert ready == "READY=1\nSTATUS=serving 2 routes"
            proxy.write(routes=[{}])
            proxy.hang_up(UNCHANGED)
            begun, ready = manager.wait_for(is_ready)
            assert begun.startswith("RELOADING=1\n")
            assert ready == "READY=1\nSTATUS=serving 2 routes", "a refused reload is over, too"
        (stopping,) = manager.wait_for(lambda text: text.startswith("STOPPING=1\n"))
        (extended,) = [line for line in stopping.split("\n") if line.startswith("EXTEND_TIMEOUT_USEC=")]
        assert int(extended.partition("=")[2]) > 25_000_000


@WORKERS
def test_the_watchdog_is_fed(tmp_path: Path, manager: Manager, workers: int) -> None:
    # A worker that does not answer in time is killed: it has to have time, however busy the machine is.
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "600000" if workers == 1 else "6000000"}
    with (
        EchoUpstream() as upstream,
        reloadable(tmp_path, workers=workers, environment=environment, routes=[{"upstream": upstream.url}]) as proxy,
    ):
        for _ in range(3):
            manager.wait_for(lambda text: text == "WATCHDOG=1")
        assert fetch(proxy.url, "/").status == 200


def test_a_process_that_hangs_feeds_no_watchdog(tmp_path: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    with reloadable(tmp_path, environment=environment, routes=[{"upstream": "http://127.0.0.1:9"}]) as proxy:
        manager.wait_for(lambda text: text == "WATCHDOG=1")
        proxy.process.send_signal(signal.SIGSTOP)
        manager.wait_for_silence()
        proxy.process.send_signal(signal.SIGCONT)
        manager.wait_for(lambda text: text == "WATCHDOG=1")


def test_a_worker_that_hangs_is_replaced_and_the_others_keep_their_streams(tmp_path: Path, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "6000000"}
    with (
        HandUpstream() as upstream,
        reloadable(tmp_path, workers=2, environment=environment, routes=[{"upstream": upstream.url}]) as proxy,
        Request(proxy.url, "/", headers={"Accept": "text/event-stream"}) as stream,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\n")
        stream.wait_for(b"data: 1\n\n")
        workers = children(proxy.process.pid)
        (busy,) = [pid for pid in workers if has_connection_to(pid, call.connection.getpeername()[1])]
        (idle,) = set(workers) - {busy}
        os.kill(idle, signal.SIGSTOP)
        proxy.process.stderr.wait_for(lambda lines: any("is stuck: it has not answered" in line for line in lines))
        proxy.process.stderr.wait_for(lambda lines: any("ended with -9, starting it again" in line for line in lines))
        wait_until(lambda: len(children(proxy.process.pid)) == 2)
        assert busy in children(proxy.process.pid)
        call.send(b"data: 2\n\n")
        stream.wait_for(b"data: 2\n\n")
        manager.wait_for(lambda text: text == "WATCHDOG=1")
        call.finish()
        stream.read()


def has_connection_to(pid: int, port: int) -> bool:
    """Whether the process has the end of a TCP connection that has this port on its own side."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = {line.split()[9] for line in lines if line.split()[1].endswith(f":{port:04X}")}
    links = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(file.readlink()))
    return any(f"socket:[{inode}]" in links for inode in wanted)
