"""How do tests start another project's server by its own command line, on a port that the kernel chooses?"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import processes
from tests.support.patience import LIMIT
from tests.support.sseproxy_process import Output

_ROOT = Path(__file__).parents[2]
_LISTENING = "0A"


class ServerProcess:
    """A command that listens, from its first accepted connection to its end. A context manager that kills what is left.

    command: begins with a program of this Python's, such as ``uvicorn``, or with ``python``; it names port 0.
    environment: further variables.
    """

    port: int

    def __init__(self, *command: str, path: Sequence[Path] = (), environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        python_path = os.pathsep.join(map(str, [_ROOT, *path]))
        # Whatever is installed beside this Python is found first, as in an environment that is activated.
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        self._environment = {**os.environ, "PYTHONPATH": python_path, "PATH": programs, "PYTHONUNBUFFERED": "1"}
        self._environment.update(environment or {})

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=_ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        self.output = Output(self._process.stdout)
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask_to_end(self) -> None:
        """SIGTERM, to the process that was started and to none of its children: as a container's engine does."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, limit: float = LIMIT) -> int:
        """The exit code, once the process has ended by itself. AssertionError: not within `limit` seconds."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {limit} s\n{self.output.text}") from None

    def _wait_for_port(self) -> int:
        until, pause = time.monotonic() + LIMIT, threading.Event()
        while True:
            assert self._process.poll() is None, f"it ended at once\n{self.output.text}"
            assert time.monotonic() < until, f"it does not listen\n{self.output.text}"
            for port in _listening_ports(self._process.pid):
                if _accepts(port):
                    return port
            pause.wait(0.02)

    def _kill(self) -> None:
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            if not processes.has_ended(pid):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self.output.close()


def _descendants(pid: int) -> Iterator[int]:
    if processes.has_ended(pid):
        return
    for child in processes.children(pid):
        yield from _descendants(child)
        yield child


def _listening_ports(pid: int) -> set[int]:
    """Of IPv4, of the process and all that it has started."""
    sockets = {name for member in [pid, *_descendants(pid)] for name in _sockets(member)}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENING and row[9] in sockets}


def _sockets(pid: int) -> set[str]:
    """The inodes of its open sockets."""
    found = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            link = str(file.readlink())
            if link.startswith("socket:["):
                found.add(link.removeprefix("socket:[").removesuffix("]"))
    except FileNotFoundError:
        pass  # it has closed the file meanwhile, or has ended: the next look will tell
    return found


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return False
    return True
