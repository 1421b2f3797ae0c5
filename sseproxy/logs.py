"""What is written about each request and about the process, and in which form?"""

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from typing import TextIO

from sseproxy.core.eventsource.ticket_ids import masked
from sseproxy.core.limits import MIB

LOGGER = "sseproxy"
ACCESS_LOGGER = "sseproxy.access"
#: Of the SDK that sends traces.
TELEMETRY_LOGGER = "opentelemetry"
#: Of libraries: what they warn of is written with what the process itself writes.
_FOREIGN_LOGGERS = ("aiohttp", "asyncio", TELEMETRY_LOGGER)

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


# A log line goes from any thread into a backlog, and from there to its stream by a thread that does nothing else.
#
# Invariants
#   1. `emit` never waits for the reader of the log: the lock of the backlog is not held while a line is written.
#   2. What waits is bounded, in lines and in bytes. What does not fit is dropped, and never waited for.
#   3. Each line that is dropped is counted, and the count is written before the next line that is not.
#
# Hazards
#   - The reader is slow, or stopped with Ctrl-S: writing blocks, and the backlog fills. A single line that is larger
#     than the whole backlog is taken when nothing else waits.
#   - The reader is gone or the disk is full: writing raises, each time. That is said once, in the log of the process,
#     and the thread goes on: the next line may be written again.
#   - A fork has no threads, and a copy of a lock that one of them may have held: it begins a backlog of its own, and
#     does not touch the old one.
#   - The kernel hands a signal to any thread that does not block it: one that the supervisor waits for would be lost.


class UnwrittenLines:
    """Lines that wait to be written: no more than `_MOST_WAITING`, and no more than `most_bytes` of them.

    Bytes are counted as the interpreter keeps them. Every line that is taken must be reported with `written`.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lines: deque[str] = deque()
        self._size = 0
        self._unwritten = 0
        self._dropped = 0
        self._changed = threading.Condition()

    def offer(self, line: str) -> None:
        """Take a line if there is room for it; count it if there is none."""
        size = sys.getsizeof(line)
        with self._changed:
            if len(self._lines) >= _MOST_WAITING or (self._size and self._size + size > self._most_bytes):
                self._dropped += 1
                return
            self._lines.append(line)
            self._size += size
            self._unwritten += 1
            self._changed.notify_all()

    def take(self) -> tuple[str, int]:
        """Wait for a line. Returns it, and how many were dropped before the first call or since the last one."""
        with self._changed:
            while not self._lines:
                self._changed.wait()
            line = self._lines.popleft()
            self._size -= sys.getsizeof(line)
            dropped, self._dropped = self._dropped, 0
            return line, dropped

    def written(self) -> None:
        """A line that was taken is written, or never will be."""
        with self._changed:
            self._unwritten -= 1
            self._changed.notify_all()

    def wait_until_written(self, limit: float) -> None:
        """Wait until all lines are written, at most `limit` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unwritten, limit)


class BackgroundHandler(logging.Handler):
    """Writes lines to a stream from a thread of its own: no stream waits for the reader of the log.

    At most `_MOST_WAITING` lines wait, of `most_bytes` in all; what comes then is dropped, and counted in a line of its
    own. If the reader is gone or the disk is full, the process goes on without a log.
    """

    def __init__(self, stream: TextIO, *, most_bytes: int = _MOST_BYTES) -> None:
        super().__init__()
        self.stream = stream
        self._most_bytes = most_bytes
        self._unwritten_lines = UnwrittenLines(most_bytes)
        self._is_lost = False
        self._writer_of = 0  # the process whose thread it is

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written. Returns at once."""
        if sys.is_finalizing():
            self.write_last(masked(self.format(record)))
            return
        if self._writer_of != os.getpid():
            self._start_writer()
        self._unwritten_lines.offer(masked(self.format(record)))

    def wait_until_written(self, limit: float) -> None:
        """Wait until all lines are written, at most `limit` seconds."""
        if self._writer_of == os.getpid():
            self._unwritten_lines.wait_until_written(limit)

    def write_last(self, line: str) -> None:
        """Write a line while the interpreter ends, if that can be done at once."""
        # Hazard: no thread starts any more, what starts one waits for ever; and the thread that has written until
        # now may hold the lock of the stream. So the line goes past the stream, and not to a pipe that is full.
        with contextlib.suppress(OSError, ValueError):
            descriptor = self.stream.fileno()
            if select.select((), (descriptor,), (), 0)[1]:
                os.write(descriptor, f"{line}\n".encode()[: select.PIPE_BUF])

    def _start_writer(self) -> None:
        """Start the thread of this process, with a backlog of its own."""
        self._writer_of = os.getpid()
        self._unwritten_lines = UnwrittenLines(self._most_bytes)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._write_lines, name="log-writer", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _write_lines(self) -> None:
        """The life of the thread: it ends with the process."""
        lines = self._unwritten_lines
        while True:
            line, dropped = lines.take()
            if dropped:
                # In the form of the log: what parses it must be able to parse this too.
                text = f"{dropped} lines were dropped: the log was not read in time"
                record = logging.makeLogRecord({"name": LOGGER, "levelname": "WARNING", "msg": text})
                line = f"{self.format(record)}\n{line}"
            try:
                self.stream.write(line + "\n")
                self.stream.flush()
            except (OSError, ValueError) as error:
                if not self._is_lost:
                    self._is_lost = True
                    why = getattr(error, "strerror", error)
                    logging.getLogger(LOGGER).warning("a log cannot be written: %s", why)
            lines.written()


def configure(*, level: str, form: str, access: bool) -> None:
    """Set up the loggers of a process: the access log on standard output, everything else on standard error."""
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s")
    formatter = JSONFormatter() if form == "json" else text
    _attach(logging.getLogger(LOGGER), sys.stderr, formatter, level.upper())
    for name in _FOREIGN_LOGGERS:
        _attach(logging.getLogger(name), sys.stderr, formatter, "WARNING")
    access_level = "DEBUG" if level == "debug" else "INFO"
    _attach(logging.getLogger(ACCESS_LOGGER), sys.stdout, formatter, access_level if access else "CRITICAL")


def flush(limit: float = 1.0) -> None:
    """Wait until what was logged is written; before a process ends."""
    for name in (LOGGER, ACCESS_LOGGER, *_FOREIGN_LOGGERS):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, BackgroundHandler):
                handler.wait_until_written(limit)


def _attach(logger: logging.Logger, stream: TextIO, formatter: logging.Formatter, level: str) -> None:
    # One that is there already stays, with its thread and what it has still to write.
    kept = (each for each in logger.handlers if isinstance(each, BackgroundHandler) and each.stream is stream)
    handler = next(kept, None) or BackgroundHandler(stream)
    handler.setFormatter(formatter)
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
