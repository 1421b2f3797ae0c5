"""How do tests start the proxy as its users do, look at what it says, and end it?"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.patience import LIMIT

_ROOT = Path(__file__).parents[2]
_LISTENING = re.compile(r"listening on (.*)")
_URL = re.compile(r"""(?:https?://|unix:)[^\s,;"]+""")


class Output:
    """The lines that a process has written so far to one of its pipes, read on a thread."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, wanted: Callable[[list[str]], bool], limit: float = LIMIT) -> list[str]:
        """All lines, once they are `wanted`. AssertionError: not within `limit` seconds, or not before the end."""
        with self._changed:
            self._changed.wait_for(lambda: wanted(self._lines) or self._ended, timeout=limit)
            assert wanted(self._lines), "it was not written:\n" + "\n".join(self._lines)
            return list(self._lines)

    def close(self) -> None:
        """After the end of the process: take what is left."""
        self._thread.join()
        self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class SseproxyProcess:
    """``python -m sseproxy serve`` with `arguments`, from the line that says where it listens to a clean exit.

    A context manager. It leaves with an assertion about the exit code and about tracebacks on stderr, unless the
    test has failed already. stdout is the access log, stderr everything else.

    may_report: tracebacks are what the test wants.
    """

    url: str
    stdout: Output
    stderr: Output

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, may_report: bool = False) -> None:
        self._may_report = may_report
        self._command = [sys.executable, "-m", "sseproxy", "serve", *arguments]
        self._environment = {**os.environ, "PYTHONPATH": str(_ROOT), **(environment or {})}

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout, self.stderr = Output(self._process.stdout), Output(self._process.stderr)
        try:
            self.stderr.wait_for(lambda lines: any(map(_LISTENING.search, lines)))
        except BaseException:
            self._kill()
            raise
        self.url = self.urls[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._kill()
            return
        code = self.stop()
        assert code == 0, f"exit code {code}\n{self.stderr.text}"
        assert self._may_report or "Traceback" not in self.stderr.text, self.stderr.text

    @property
    def urls(self) -> list[str]:
        """Where it listens, in the order in which it says so, the admin listener last; `unix:` and a path are a URL."""
        found = _LISTENING.search(self.stderr.text)
        return [] if found is None else _URL.findall(found[1])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        self._process.send_signal(number)

    def wait(self, limit: float = LIMIT) -> int:
        """The exit code, once the process has ended by itself."""
        try:
            code = self._process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self._kill()
            raise AssertionError(f"it did not end within {limit} s\n{self.stderr.text}") from None
        self._close()
        return code

    def stop(self, limit: float = LIMIT) -> int:
        """The exit code after SIGTERM, or, if the process has ended before, the one it ended with."""
        if self._process.poll() is None:
            self.send_signal(signal.SIGTERM)
        return self.wait(limit)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self.stdout.close()
        self.stderr.close()
