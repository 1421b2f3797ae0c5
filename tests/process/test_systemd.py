"""What does systemd get to read, at whatever kind of address?"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sseproxy.process.systemd import Notifier
from tests.support.patience import LIMIT


class Manager:
    """A socket as systemd has one."""

    def __init__(self, address: str) -> None:
        self.name = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(LIMIT)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """The lines of the next datagram."""
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a file", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"@sseproxy-test-{os.getpid()}" if request.param == "an abstract name" else str(tmp_path / "notify")
    manager = Manager(name)
    yield manager
    manager.close()


def test_the_states_of_a_service(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name}, clock=lambda: 12.5)
    notifier.ready("serving 3 routes")
    assert manager.heard() == ["READY=1", "STATUS=serving 3 routes"]
    notifier.reloading()
    assert manager.heard() == ["RELOADING=1", "MONOTONIC_USEC=12500000", "STATUS=reloading"]
    notifier.stopping(90.0)
    assert manager.heard() == ["STOPPING=1", "STATUS=draining", "EXTEND_TIMEOUT_USEC=90000000"]
    notifier.stopping(None)
    assert manager.heard() == ["STOPPING=1", "STATUS=draining"]


def test_the_watchdog_hears_only_from_whom_it_watches(manager: Manager) -> None:
    watched = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
    notifier = Notifier(watched, pid=7)
    assert notifier.watchdog == 3.0
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    other = Notifier(watched, pid=8)
    assert other.watchdog is None
    other.alive()
    other.ready("last")
    assert manager.heard() == ["READY=1", "STATUS=last"], "nothing came before"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/at-all"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "@" + "x" * 200},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
    ],
)
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    assert notifier.watchdog is None
    notifier.ready("alone")
    notifier.alive()


def test_a_manager_that_does_not_read_costs_no_time(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name})
    for _ in range(2000):
        notifier.ready("x" * 1000)
    assert manager.heard()[0] == "READY=1"
