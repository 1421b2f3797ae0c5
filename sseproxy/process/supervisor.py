"""How do several worker processes share one port, and live and end together?"""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.logs import LOGGER, flush

_log = logging.getLogger(LOGGER)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

#: Seconds before a worker that has died is started again; doubled each time it dies early, up to the limit.
_RESTART_AFTER = 0.5
_RESTART_LIMIT = 30.0
_EARLY = 10.0  # seconds of life

#: Seconds that workers get to end after a second signal, before they are killed.
_LAST_MOMENT = 3.0


@dataclass(slots=True)
class _Worker:
    index: int
    pid: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0
    delay: float = _RESTART_AFTER


@dataclass(slots=True)
class Supervisor:
    """The parent of the workers. It serves nothing itself.

    serve: runs in a worker until SIGTERM; is given the worker's index, a function to call when it is ready, and
    the reading end of a pipe that closes when the parent is no more.
    on_stopping: called in the parent when it is told to end, before the workers are.
    """

    workers: int
    drain_timeout: float
    serve: Callable[[int, Callable[[], None], int], None]
    on_stopping: Callable[[], None] = lambda: None
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _stopping_since: float | None = field(default=None, init=False)
    _ready: tuple[int, int] = field(default=(-1, -1), init=False)
    _alive: tuple[int, int] = field(default=(-1, -1), init=False)

    def run(self, *, on_ready: Callable[[], None]) -> int:
        """Start the workers and stay until all have ended. Returns the exit code."""
        self._ready, self._alive = os.pipe(), os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._workers = [_Worker(index) for index in range(self.workers)]
        for worker in self._workers:
            self._start(worker)
        if not self._all_ready():
            return self._give_up()
        on_ready()
        while any(worker.pid for worker in self._workers) or self._stopping_since is None:
            self._wait()
        return 0

    # Private: workers.

    def _start(self, worker: _Worker) -> None:
        worker.started_at = time.monotonic()
        worker.pid = os.fork()
        if not worker.pid:
            self._live(worker.index)

    def _live(self, index: int) -> None:
        """The life of a worker. A Ctrl-C goes to all processes of a terminal; the parent passes it on."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._alive[1])
            self.serve(index, self._report_ready, self._alive[0])
            code = 0
        except Exception:  # noqa: BLE001 - the worker ends here in any case
            _log.exception("worker %d failed", index)
            flush()
        finally:
            os._exit(code)

    def _report_ready(self) -> None:
        os.write(self._ready[1], b".")

    def _all_ready(self) -> bool:
        """Whether every worker has come up; false as soon as one has died instead."""
        os.set_blocking(self._ready[0], False)
        ready = 0
        while ready < self.workers:
            if signal.sigtimedwait((signal.SIGCHLD,), 0.02) is not None:
                self._reap()
            if any(not worker.pid for worker in self._workers):
                return False
            try:
                ready += len(os.read(self._ready[0], self.workers))
            except BlockingIOError:
                continue
        return True

    def _give_up(self) -> int:
        self._signal_all(signal.SIGKILL)
        while any(worker.pid for worker in self._workers):
            signal.sigtimedwait((signal.SIGCHLD,), 0.1)
            self._reap()
        return 1

    # Private: signals and time.

    def _wait(self) -> None:
        received = signal.sigtimedwait(_SIGNALS, 0.25)
        if received is not None and received.si_signo != signal.SIGCHLD:
            self._stop()
        self._reap()
        if self._stopping_since is None:
            self._restart_dead()
        elif time.monotonic() > self._stopping_since + self.drain_timeout + _LAST_MOMENT:
            self._signal_all(signal.SIGKILL)
        elif time.monotonic() > self._stopping_since + self.drain_timeout:
            # Hazard: a worker that has not seen the first signal yet gets one for both, and would begin to drain.
            self._signal_all(signal.SIGTERM)

    def _stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self.on_stopping()
        else:
            self._stopping_since = time.monotonic() - self.drain_timeout
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._note_death(worker, os.waitstatus_to_exitcode(status))

    def _note_death(self, worker: _Worker, code: int) -> None:
        now = time.monotonic()
        worker.pid = 0
        if self._stopping_since is None:
            lived_long = now - worker.started_at > _EARLY
            worker.delay = _RESTART_AFTER if lived_long else min(worker.delay * 2, _RESTART_LIMIT)
            worker.restart_at = now + worker.delay
            _log.error("worker %d ended with %d, starting it again in %g s", worker.index, code, worker.delay)

    def _restart_dead(self) -> None:
        for worker in self._workers:
            if not worker.pid and time.monotonic() >= worker.restart_at:
                self._start(worker)
