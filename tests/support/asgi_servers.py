"""How does a test start an ASGI server as its users do, and learn from it what became of a stream?"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.asgi.apps.source import RECORD
from tests.support.processes import wait_until
from tests.support.sseproxy_process import Output

_ROOT = Path(__file__).parents[2]

#: What a server says when it listens.
_LISTENING = re.compile(r"(?:[Rr]unning on http://|TCP address |[Ll]istening at: http://)127\.0\.0\.1:(\d+)")

#: What it says when something went wrong. Apps without a lifespan are no error.
_WRONG = re.compile(r"Traceback|ERROR|CRITICAL|Exception|Unhandled|without completing|never retrieved")

_PYTHON = (sys.executable, "-W", "ignore")

#: PORT stands for one that the kernel has chosen; the others choose it by themselves for 0.
SERVERS: Mapping[str, tuple[str, ...]] = {
    "uvicorn-h11": ("uvicorn", "--port", "0", "--http", "h11", "--no-access-log"),
    "uvicorn-httptools": ("uvicorn", "--port", "0", "--http", "httptools", "--no-access-log"),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:0"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT"),
    "daphne": ("daphne", "-b", "127.0.0.1", "-p", "0"),
}


class AsgiServer:
    """One server process with one app. record: the file to which the app writes."""

    def __init__(self, server: str, app: str, record: Path) -> None:
        record.touch()
        self._record = record
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        port = str(self._reserved.getsockname()[1])
        command = [port if word == "PORT" else word for word in SERVERS[server]]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), RECORD: str(record), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [*_PYTHON, "-m", *command, app],
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        self.output = Output(self._process.stdout)

    def wait_until_ready(self) -> None:
        """Return once the server answers."""
        try:
            self.output.wait_for(lambda lines: any(map(_LISTENING.search, lines)), limit=60)
            wait_until(self._answers)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        found = _LISTENING.search(self.output.text)
        assert found is not None
        return f"http://127.0.0.1:{found[1]}"

    def recorded(self) -> list[str]:
        """What the app has written so far."""
        return self._record.read_text().split("\n")[:-1]

    def wrongs(self) -> list[str]:
        """Lines of its log that speak of something wrong."""
        return [line for line in self.output.lines if _WRONG.search(line)]

    def stop(self) -> None:
        """Without waiting for streams: what is under way is no concern any more."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reserved.close()
        self.output.close()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))):
            return True
        return False


class ServerLine:
    """Servers that are wanted one after the other; the next ones start while one is in use.

    start: starts the server of a key, and waits until it is ready. ahead: how many are started beyond the first.
    """

    def __init__(
        self, keys: list[tuple[str, str]], start: Callable[[tuple[str, str]], AsgiServer], *, ahead: int = 2
    ) -> None:
        self._keys = keys
        self._start = start
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(ahead + 1)
        self._started: dict[tuple[str, str], Future[AsgiServer]] = {}

    @contextlib.contextmanager
    def use(self, key: tuple[str, str]) -> Iterator[AsgiServer]:
        place = self._keys.index(key)
        for wanted in self._keys[place : place + self._ahead + 1]:
            if wanted not in self._started:
                self._started[wanted] = self._pool.submit(self._start, wanted)
        server = self._started[key].result()
        try:
            yield server
        finally:
            del self._started[key]
            server.stop()

    def close(self) -> None:
        for started in self._started.values():
            with contextlib.suppress(AssertionError):
                started.result().stop()
        self._pool.shutdown()
