"""How are programs started, ended and measured: their CPU time, their memory, what they say?"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A figure could not be taken; the text says why."""


def compile_load(folder: Path) -> Path:
    """The load generator, compiled into `folder`. subprocess.CalledProcessError: the compiler refuses."""
    load = folder / "load"
    subprocess.run(["cc", "-O2", "-o", str(load), *map(str, sorted(HERE.glob("load*.c")))], check=True)
    return load


# Starting and ending.


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process, and at the end none: neither it nor what it has started.

    It leads a process group of its own; some programs start others that leave it, so these are looked up, too.
    """
    process: subprocess.Popen[str] = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        members = family(process.pid)[1:]
        process.kill()  # first, or it would start new ones
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait until the process listens. Failed: it does not, or it has ended."""
    for _ in range(800):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process is not None and process.poll() is not None:
            raise Failed(f"it ended with {process.returncode} before it listened")
        time.sleep(0.025)
    raise Failed(f"nothing listens on port {port}")


def wait_for_answer(port: int) -> None:
    """Until a request gets through to the origin: some listen before they can. Failed: none does."""
    for _ in range(400):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/json")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.025)
    raise Failed("no request gets through")


# Measuring.


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - a glob stumbles over those that end meanwhile
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain anything; the parent is the second field behind it.
            fields = Path("/proc", folder, "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(folder))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process that live; 0 if it has ended."""
    try:
        return sum(map(_cpu_of_thread, Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _cpu_of_thread(task: Path) -> float:
    """The scheduler's own count, in ns; a kernel without it has clock ticks of 10 ms."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def resident(pid: int) -> int:
    """Bytes of RAM of a process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds of each process of a family, and their memory in bytes."""

    cpu: Mapping[int, float]
    memory: int

    @property
    def total(self) -> float:
        return sum(self.cpu.values())

    def since(self, before: "Used") -> "Used":
        cpu = {pid: seconds - before.cpu.get(pid, 0.0) for pid, seconds in self.cpu.items()}
        return Used(cpu, self.memory - before.memory)


def used(pids: Sequence[int]) -> Used:
    """What processes and their descendants have used so far."""
    everybody = [member for pid in pids for member in family(pid)]
    return Used({pid: cpu_seconds(pid) for pid in everybody}, sum(map(resident, everybody)))


# The load.


class Load:
    """Clients of the load generator: they say something, line by line, and are ended if that takes too long."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def line(self, limit: float) -> dict[str, float]:
        """The next thing that it says. Failed: it says nothing within `limit` seconds, or has ended."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(limit, self._process.kill)
        watchdog.start()
        try:
            text = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not text:
            raise Failed(f"the clients gave no figures within {limit:g} s")
        answer: dict[str, float] = json.loads(text)
        return answer


@contextlib.contextmanager
def client(load: Path, *arguments: object) -> Iterator[Load]:
    command = [str(load), *map(str, arguments)]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Load(process)


@contextlib.contextmanager
def origin(load: Path, rate: float | str, size: int = 128, first: int = 1) -> Iterator[tuple[int, int]]:
    """Its port and its pid. rate: events/s of each stream; 0: silence; max: as fast as they go. first: before those."""
    port = free_port()
    with running([str(load), "origin", str(port), str(rate), str(size), str(first)]) as process:
        wait_for(port, process)
        yield port, process.pid
