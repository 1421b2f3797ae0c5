"""What does the kernel say about a process: its children, its memory, its open files?"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.patience import LIMIT


def wait_until(condition: Callable[[], bool], limit: float = LIMIT) -> None:
    """AssertionError: it is not so within `limit` seconds."""
    until, pause = time.monotonic() + limit, threading.Event()
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        pause.wait(0.01)


def children(pid: int) -> list[int]:
    """Processes that `pid` has started and that have not ended."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or would be if anybody asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def resident(pid: int) -> int:
    """Bytes of memory that the process has in use."""
    return _status(pid, "VmRSS")


def peak_resident(pid: int) -> int:
    """The most that it ever was, or has been since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let `peak_resident` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_sockets(pid: int) -> int:
    """Return how many sockets the process has open."""
    links = (_link(file) for file in Path(f"/proc/{pid}/fd").iterdir())
    return sum(link.startswith("socket:") for link in links)


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:  # it was open only to list the others
        return ""


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
