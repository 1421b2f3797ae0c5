"""What is written about each request and about the process, and in which form?"""

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import TextIO

from sseproxy.core.eventsource.tickets import masked
from sseproxy.core.limits import MIB

LOGGER = "sseproxy"
ACCESS_LOGGER = "sseproxy.access"

#: Lines, and bytes of them, that may wait to be written.
_MOST_WAITING = 10_000
_MOST_BYTES = 8 * MIB


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        entry |= fields if isinstance(fields, dict) else {"message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _Backlog(queue.Queue[str]):
    """Lines that wait to be written: no more than `_MOST_WAITING`, and no more than `most_bytes` of them.

    A line that is larger has to find it empty. waiting: bytes, as the interpreter keeps them.
    """

    def __init__(self, most_bytes: int) -> None:
        super().__init__(_MOST_WAITING)
        self._most_bytes = most_bytes
        self.waiting = 0

    def offer(self, line: str) -> bool:
        """Take a line if there is room for it."""
        if self.waiting and self.waiting + sys.getsizeof(line) > self._most_bytes:
            return False
        try:
            self.put_nowait(line)
        except queue.Full:
            return False
        return True

    # `Queue` calls these with its lock held.

    def _put(self, item: str) -> None:
        super()._put(item)
        self.waiting += sys.getsizeof(item)

    def _get(self) -> str:
        item = super()._get()
        self.waiting -= sys.getsizeof(item)
        return item


class BackgroundHandler(logging.Handler):
    """Writes lines to a stream from a thread of its own: whoever reads them, or does not, never holds up a stream.

    At most `_MOST_WAITING` lines wait, of `most_bytes` in all; what comes then is dropped, and counted in a line of its
    own. If the reader is gone or the disk is full, the process goes on without a log.
    """

    def __init__(self, stream: TextIO, *, most_bytes: int = _MOST_BYTES) -> None:
        super().__init__()
        self._stream = stream
        self._most_bytes = most_bytes
        self._lines = _Backlog(most_bytes)
        self._dropped = 0
        self._is_lost = False
        self._writer_of = 0  # the process whose thread it is: a fork has none

    def emit(self, record: logging.LogRecord) -> None:
        if self._writer_of != os.getpid():
            self._start()
        if not self._lines.offer(masked(self.format(record))):
            self._dropped += 1

    def wait_until_written(self, limit: float) -> None:
        """Wait until all lines are written, at most `limit` seconds."""
        end = time.monotonic() + limit
        with self._lines.all_tasks_done:
            while self._lines.unfinished_tasks and self._writer_of == os.getpid() and time.monotonic() < end:
                self._lines.all_tasks_done.wait(end - time.monotonic())

    def _start(self) -> None:
        self._writer_of = os.getpid()
        self._lines = _Backlog(self._most_bytes)
        # A thread that takes signals would take them from whoever waits for them, as the supervisor does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._write, name="log-writer", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _write(self) -> None:
        lines = self._lines
        while True:
            line = lines.get()
            dropped, self._dropped = self._dropped, 0
            try:
                if dropped:
                    self._stream.write(self._loss(dropped) + "\n")
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._note_loss(error)
            lines.task_done()

    def _loss(self, lines: int) -> str:
        """In the form of the log: whoever parses it must be able to parse this too."""
        text = f"{lines} lines were dropped: nobody read them in time"
        return self.format(logging.makeLogRecord({"name": LOGGER, "levelname": "WARNING", "msg": text}))

    def _note_loss(self, error: OSError | ValueError) -> None:
        if not self._is_lost:
            self._is_lost = True
            logging.getLogger(LOGGER).warning("a log cannot be written: %s", getattr(error, "strerror", error))


def configure(*, level: str, form: str, access: bool) -> None:
    """Set up the loggers of a process: the access log on standard output, everything else on standard error."""
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s")
    formatter = JSONFormatter() if form == "json" else text
    _attach(logging.getLogger(LOGGER), sys.stderr, formatter, level.upper())
    _attach(logging.getLogger("aiohttp"), sys.stderr, formatter, "WARNING")
    _attach(logging.getLogger("asyncio"), sys.stderr, formatter, "WARNING")
    access_level = "DEBUG" if level == "debug" else "INFO"
    _attach(logging.getLogger(ACCESS_LOGGER), sys.stdout, formatter, access_level if access else "CRITICAL")


def flush(limit: float = 1.0) -> None:
    """Wait until what was logged is written; before a process ends."""
    for name in (LOGGER, ACCESS_LOGGER, "aiohttp", "asyncio"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, BackgroundHandler):
                handler.wait_until_written(limit)


def _attach(logger: logging.Logger, stream: TextIO, formatter: logging.Formatter, level: str) -> None:
    handler = BackgroundHandler(stream)
    handler.setFormatter(formatter)
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
