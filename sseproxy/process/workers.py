"""Which processes are the workers, and how does one start, report, and die?"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from sseproxy.core.frozen import frozen
from sseproxy.logs import LOGGER, flush
from sseproxy.process.channel import WorkerChannel

_log = logging.getLogger(LOGGER)

#: The signals that the parent takes one by one; the first two are passed on to the workers, as SIGTERM.
PARENT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

#: Seconds before a worker that has died is started again; doubled each time it dies early, up to the limit.
_RESTART_AFTER = 0.5
_RESTART_LIMIT = 30.0
_EARLY = 10.0  # seconds of life


@frozen
class Ties:
    """What ties a worker to its parent.

    report_ready: to call when it is ready. parent: the reading end of a pipe that closes when the parent is no more.
    channel: what the parent wants of it; see `channel.obey`.
    """

    report_ready: Callable[[], None]
    parent: int
    channel: socket.socket


#: What a worker runs until SIGTERM. Takes the worker's index.
WorkerMain = Callable[[int, Ties], None]


@dataclass(slots=True)
class Worker:
    """One place among the workers. pid: of the process that fills it, 0 while there is none. Times are monotonic.

    channel: to that process.
    """

    index: int
    pid: int = 0
    channel: WorkerChannel | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    delay: float = _RESTART_AFTER

    def schedule_restart(self, *, now: float) -> None:
        """Choose the time of the next start, after a death at `now`."""
        lived_long = now - self.started_at > _EARLY
        self.delay = _RESTART_AFTER if lived_long else min(self.delay * 2, _RESTART_LIMIT)
        self.restart_at = now + self.delay


class Workers:
    """The processes that serve, as their parent sees them. `PARENT_SIGNALS` must be blocked before `start`."""

    def __init__(self, count: int, main: WorkerMain) -> None:
        self._main = main
        self._all = [Worker(index) for index in range(count)]
        self._ready, self._alive = os.pipe(), os.pipe()

    @property
    def are_alive(self) -> bool:
        """True while any of the processes exists."""
        return any(worker.pid for worker in self._all)

    def start(self) -> None:
        """Fork all of them."""
        for worker in self._all:
            self._fork(worker)

    def wait_until_ready(self) -> bool:
        """Return True once every worker has reported that it is ready, False as soon as one has died instead."""
        os.set_blocking(self._ready[0], False)
        ready = 0
        while ready < len(self._all):
            if signal.sigtimedwait((signal.SIGCHLD,), 0.02) is not None and (dead := self.reap()):
                for worker, code in dead:
                    _log.error("worker %d ended with %d before it was ready", worker.index, code)
                return False
            try:
                ready += len(os.read(self._ready[0], len(self._all)))
            except BlockingIOError:
                continue
        return True

    def reap(self) -> list[tuple[Worker, int]]:
        """Return the workers that have died since the last call, each with its exit code."""
        dead = []
        # Each is asked for: of several SIGCHLD that are pending the kernel keeps one.
        for worker in self._all:
            pid, status = os.waitpid(worker.pid, os.WNOHANG) if worker.pid else (0, 0)
            if pid:
                worker.pid = 0
                if worker.channel is not None:
                    worker.channel.close()
                    worker.channel = None
                dead.append((worker, os.waitstatus_to_exitcode(status)))
        return dead

    def restart_dead(self) -> None:
        """Start each dead worker whose time has come."""
        for worker in self._all:
            if not worker.pid and time.monotonic() >= worker.restart_at:
                self._fork(worker)

    def tell(self, message: bytes) -> None:
        """Send `message` to every worker; one that takes none now gets it later, and one that is dead never."""
        for worker in self._all:
            if worker.channel is not None:
                worker.channel.send(message, now=time.monotonic())

    def ask(self, *, patience: float, now: float) -> None:
        """Have each worker show that it answers. One that has not for `patience` seconds is stuck, and killed."""
        for worker in self._all:
            if worker.channel is None or not worker.pid:
                continue
            worker.channel.ask(now=now)
            since = worker.channel.silent_since
            if since is not None and now - since > patience:
                _log.error("worker %d is stuck: it has not answered for %g s, and is killed", worker.index, patience)
                os.kill(worker.pid, signal.SIGKILL)
                worker.channel.silent_since = None  # it dies of one signal

    def look(self, *, now: float) -> bool:
        """Take the workers' answers, and send what waits. Return True if none owes an answer."""
        channels = [worker.channel for worker in self._all if worker.channel is not None]
        for channel in channels:
            channel.look(now=now)
        return all(channel.silent_since is None for channel in channels)

    def send(self, number: signal.Signals) -> None:
        """Send `number` to every worker that is alive."""
        for worker in self._all:
            # A pid is valid until `reap` has collected the death, so the signal cannot meet a stranger.
            if worker.pid:
                os.kill(worker.pid, number)

    def _fork(self, worker: Worker) -> None:
        worker.started_at = time.monotonic()
        here, there = socket.socketpair()
        worker.pid = os.fork()
        if worker.pid:
            there.close()
            worker.channel = WorkerChannel(here)
            return
        code = 1
        try:
            # A Ctrl-C goes to all processes of a terminal; the parent passes it on as SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # The parent has the last word on a reload, too: a terminal that closes hangs up on all processes.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENT_SIGNALS)
            # With this copy open, no worker would read the end of the pipe when the parent dies.
            os.close(self._alive[1])
            here.close()
            for other in self._all:
                if other.channel is not None:
                    other.channel.close()
            self._main(worker.index, Ties(lambda: _report(self._ready[1]), self._alive[0], there))
            code = 0
        except Exception:  # noqa: BLE001 - the worker ends here in any case
            _log.exception("worker %d failed", worker.index)
            flush()
        finally:
            # Not `sys.exit`: what the parent has on its stack must not be unwound in the child.
            os._exit(code)


def _report(pipe: int) -> None:
    os.write(pipe, b".")
