"""How does a test watch what curl writes, while it writes it?"""

import re
import subprocess
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from tests.support.patience import LIMIT
from tests.support.programs import require

_HEAD_END = b"\r\n\r\n"


class Curl:
    """``curl -i -N`` with `arguments`, running. A context manager that ends it."""

    def __init__(self, *arguments: str) -> None:
        command = [require("curl"), "-q", "--silent", "--show-error", "-i", "-N", "--noproxy", "*", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self._received = b""
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    @property
    def status(self) -> int:
        """The status of the response whose head has come."""
        return int(self._received.split(b" ", 2)[1])

    @property
    def fields(self) -> dict[str, list[str]]:
        """The header fields by their names in lower case."""
        fields: dict[str, list[str]] = {}
        for line in self._received.partition(_HEAD_END)[0].decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        return fields

    @property
    def body(self) -> bytes:
        """The body as far as it has come."""
        return self._received.partition(_HEAD_END)[2]

    def wait_for_body(self, wanted: Callable[[bytes], object]) -> None:
        """Wait until the body is `wanted`. AssertionError: it is not, and the response is over or long silent.

        There is no waiting for the head: curl keeps that back until the first byte of the body.
        """
        with self._changed:
            self._changed.wait_for(lambda: wanted(self.body) or self._ended, timeout=LIMIT)
            assert wanted(self.body), f"curl got only {self._received!r}"

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(timeout=LIMIT)
        self._thread.join()
        return code

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while data := pipe.read1(65536):  # type: ignore[attr-defined]
                with self._changed:
                    self._received += data
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


_HEARTBEAT = re.compile(rb": heartbeat(\r\n|\r|\n)\1?")


def without_heartbeats(body: bytes) -> bytes:
    """`body` without comments whose text is the default one of a heartbeat."""
    return _HEARTBEAT.sub(b"", body)


def count_heartbeats(body: bytes) -> int:
    """How many heartbeats `body` holds."""
    return len(_HEARTBEAT.findall(body))
