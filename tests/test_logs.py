"""Does writing the log ever hold anybody up, and is what is lost counted?"""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from sseproxy.logs import BackgroundHandler, JSONFormatter
from tests.support.patience import LIMIT

MOST_WAITING = 10_000


def a_line(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "sseproxy", "levelname": "INFO", "msg": text})


def numbers(written: str) -> list[int]:
    return [int(line) for line in written.splitlines() if line.isdigit()]


class Gate(io.StringIO):
    """A file whose reader takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.waiting = threading.Event()

    def write(self, text: str) -> int:
        self.waiting.set()
        assert self.opened.wait(LIMIT)
        return super().write(text)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.mark.parametrize("form", [logging.Formatter("%(message)s"), JSONFormatter()], ids=["text", "json"])
def test_no_line_holds_the_id_of_a_ticket(form: logging.Formatter) -> None:
    stream = io.StringIO()
    handler = BackgroundHandler(stream)
    handler.setFormatter(form)
    handler.emit(a_line("unexpected error while serving /_tickets/tkt_AAECAwQFBgcICQoLDA0ODw"))
    handler.wait_until_written(10)
    assert "/_tickets/-" in stream.getvalue()
    assert "AAECAwQF" not in stream.getvalue()


def test_lines_are_written_in_their_order() -> None:
    stream = io.StringIO()
    handler = BackgroundHandler(stream)
    for number in range(1000):
        handler.emit(a_line(str(number)))
    handler.wait_until_written(20)
    assert numbers(stream.getvalue()) == list(range(1000))


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_waits_for_a_reader_and_what_is_dropped_is_counted(gate: Gate, form: str) -> None:
    handler = BackgroundHandler(gate)
    handler.setFormatter(JSONFormatter() if form == "json" else None)
    handler.emit(a_line("0"))
    assert gate.waiting.wait(LIMIT)
    for number in range(1, MOST_WAITING + 8):
        handler.emit(a_line(str(number)))
    handler.wait_until_written(0)
    gate.opened.set()
    handler.wait_until_written(20)
    lines = gate.getvalue().splitlines()
    if form == "json":
        lines = [json.loads(line)["message"] for line in lines]
    assert numbers("\n".join(lines)) == list(range(MOST_WAITING + 1))
    assert [line for line in lines if not line.isdigit()] == ["7 lines were dropped: the log was not read in time"]


def test_what_waits_is_bounded_in_bytes(gate: Gate) -> None:
    handler = BackgroundHandler(gate, most_bytes=10_000)
    handler.emit(a_line("0"))
    assert gate.waiting.wait(LIMIT)
    for number in range(1, 20):
        handler.emit(a_line(f"{number:02d}" + "x" * 1900))
    handler.emit(a_line("20"))  # a small one still fits
    gate.opened.set()
    handler.wait_until_written(20)
    lines = gate.getvalue().splitlines()
    assert [line[:2] for line in lines] == ["0", "14", "01", "02", "03", "04", "05", "20"]
    assert lines[1] == "14 lines were dropped: the log was not read in time"


def test_what_waits_is_bounded_in_bytes_if_nothing_else_is_said(gate: Gate) -> None:
    handler = BackgroundHandler(gate)
    handler.emit(a_line("0"))
    assert gate.waiting.wait(LIMIT)
    for _ in range(20):
        handler.emit(a_line("x" * 1024 * 1024))
    gate.opened.set()
    handler.wait_until_written(20)
    lines = gate.getvalue().splitlines()
    assert [line for line in lines if len(line) < 100] == ["0", "13 lines were dropped: the log was not read in time"]
    assert sum(map(len, lines)) <= 8 * 1024 * 1024


def test_a_line_that_is_larger_than_all_that_may_wait_is_written_alone(gate: Gate) -> None:
    handler = BackgroundHandler(gate, most_bytes=1000)
    handler.emit(a_line("0"))
    assert gate.waiting.wait(LIMIT)
    for text in ("1" * 5000, "2"):
        handler.emit(a_line(text))
    gate.opened.set()
    handler.wait_until_written(20)
    assert [line[:1] for line in gate.getvalue().splitlines()] == ["0", "1", "1"]


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        if text == "bad\n":
            raise UnicodeEncodeError("ascii", text, 0, 1, "no")
        return super().write(text)


def test_a_line_that_cannot_be_written_does_not_cost_the_next(caplog: pytest.LogCaptureFixture) -> None:
    stream = Broken()
    handler = BackgroundHandler(stream)
    for text in ("1", "bad", "bad", "2"):
        handler.emit(a_line(text))
    handler.wait_until_written(20)
    assert numbers(stream.getvalue()) == [1, 2]
    assert len(caplog.records) == 1


def test_a_fork_writes_with_a_thread_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("a") as stream:
        handler = BackgroundHandler(stream)
        handler.emit(a_line("1"))
        handler.wait_until_written(20)
        child = os.fork()
        if not child:
            _write_and_exit(handler, "2")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        handler.emit(a_line("3"))
        handler.wait_until_written(20)
    assert numbers(path.read_text()) == [1, 2, 3]


def _write_and_exit(handler: BackgroundHandler, text: str) -> None:
    try:
        handler.emit(a_line(text))
        handler.wait_until_written(20)
    finally:
        os._exit(0)


def test_its_thread_takes_no_signals() -> None:
    """Whoever waits for a signal with `signal.sigtimedwait` must be the only one who can get it."""
    masks: list[set[int]] = []

    class Asking(io.StringIO):
        def write(self, text: str) -> int:
            masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
            return len(text)

    stream: TextIO = Asking()
    handler = BackgroundHandler(stream)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler.emit(a_line("1"))
    handler.wait_until_written(20)
    assert masks[0] >= {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


_ENDING = """
import logging, sys
from sseproxy.logs import configure, flush

configure(level="info", form="text", access=True)
if "writer" in sys.argv:
    logging.getLogger("sseproxy").warning("while it runs")
    flush()

class Last:
    def __del__(self):
        logging.getLogger("sseproxy").error("while it ends")

sys.modules["last"] = Last()
"""


@pytest.mark.parametrize("written_before", ["writer", "nothing"])
def test_a_line_of_an_interpreter_that_ends_neither_holds_it_up_nor_is_lost(written_before: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDING, written_before], stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=True
    )
    assert "while it ends" in ended.stderr


def test_a_full_pipe_does_not_hold_up_an_interpreter_that_ends() -> None:
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, bytes(4096))
            os.set_blocking(writing, True)
            BackgroundHandler(stream).write_last("too late")
    finally:
        os.close(reading)
