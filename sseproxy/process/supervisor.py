"""How do several worker processes share one port, and live and end together?"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sseproxy.logs import LOGGER
from sseproxy.process.stopping import StopTimes
from sseproxy.process.systemd import Notifier
from sseproxy.process.workers import PARENT_SIGNALS, WorkerMain, Workers

_log = logging.getLogger(LOGGER)

#: Seconds that workers get to end after a second signal, before they are killed.
_LAST_MOMENT = 3.0

#: How long workers without a drain limit are waited for, in seconds.
_NO_LIMIT = 10.0**9

#: Seconds between two looks at the clock, and while the workers' answers to a reload are waited for.
_LOOK_EVERY = 0.25
_LOOK_SOON = 0.01

# The parent of the workers waits for one thing at a time: a signal, for a quarter of a second at most.
#
# Plan
#   starting   All workers are forked. Each reports through a pipe when it listens. If one dies before that, all others
#              are killed and the exit code is 1: a configuration that cannot run must not look like one that does.
#   running    A worker that dies is started again, later and later if it dies early. SIGHUP has the configuration read
#              here, once, and sent to all; a worker that starts later begins with it. Where systemd watches, workers
#              are asked whether they answer, and one that is stuck is killed: the others go on, and so do their
#              streams. systemd itself hears of this process alone.
#   stopping   From the first SIGTERM or SIGINT. `on_stopping` closes what only the parent holds, and every worker gets
#              SIGTERM. For `delay` the workers still accept connections; then `on_draining` closes what all of them
#              share, and they drain. A second signal, or the end of their time, sends SIGTERM again, which ends a
#              worker at once, and SIGKILL follows `_LAST_MOMENT` seconds later.
#
# Invariants
#   1. `PARENT_SIGNALS` are blocked here from before the first fork, and taken by `sigtimedwait`. No handler runs, so
#      no signal is lost between a test and the wait behind it.
#   2. Once `_stopping_since` is set it stays set, and no worker is started any more.
#   3. The run ends when it is stopping and no worker is alive; until then every death is collected.
#
# Hazards
#   - Several deaths may come as one SIGCHLD, or with none that is seen (it is blocked while another is pending): all
#     workers are asked for after every wait, also after one that timed out.
#   - A worker that has not taken the first SIGTERM yet gets one for two, and only begins to drain at the second. So
#     the second is repeated at every look until the worker is gone or killed.
#   - A second signal moves `_stopping_since` back by `_time_to_end`: "at once" and "the time is over" are one state.


@dataclass(slots=True)
class Supervisor:
    """The parent of the workers. It serves nothing itself.

    serve: see `WorkerMain`. stop_times: how long the workers may take, asked for when they are to end.
    on_stopping: called in the parent when a signal asks it to end, before the workers are asked.
    on_draining: called when the delay is over.
    on_reload: reads the configuration again, and returns what the workers are sent; ``None``: nothing.
    on_reloaded: called when all workers have answered to that.
    status: what holds, in a few words.
    """

    workers: int
    stop_times: Callable[[], StopTimes]
    serve: WorkerMain
    notifier: Notifier
    on_stopping: Callable[[], None] = lambda: None
    on_draining: Callable[[], None] = lambda: None
    on_reload: Callable[[], bytes | None] = lambda: None
    on_reloaded: Callable[[], None] = lambda: None
    status: Callable[[], str] = str
    _stopping_since: float | None = field(default=None, init=False)
    _delay: float = field(default=0.0, init=False)
    _time_to_end: float = field(default=_NO_LIMIT, init=False)
    _alive_at: float = field(default=0.0, init=False)
    _is_reloading: bool = field(default=False, init=False)

    def run(self, *, on_ready: Callable[[], None]) -> int:
        """Start the workers and stay until all have ended. Returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
        workers = Workers(self.workers, self.serve)
        workers.start()
        if not workers.wait_until_ready():
            workers.send(signal.SIGKILL)
            while workers.are_alive:
                signal.sigtimedwait((signal.SIGCHLD,), _LOOK_EVERY)
                workers.reap()
            return 1
        on_ready()
        self.notifier.ready(self.status())
        while workers.are_alive or self._stopping_since is None:
            received = signal.sigtimedwait(PARENT_SIGNALS, self.next_look(now=time.monotonic()))
            if received is not None and received.si_signo == signal.SIGHUP:
                self.reload(workers)
            elif received is not None and received.si_signo != signal.SIGCHLD:
                self.stop(workers)
            self.look(workers, now=time.monotonic())
        return 0

    def reload(self, workers: Workers) -> None:
        """Let the workers serve by what the configuration says now."""
        if self._stopping_since is not None:
            _log.warning("reload: ignored, the workers are draining")
            return
        self.notifier.reloading()
        message = self.on_reload()
        if message is None:
            self.notifier.ready(self.status())
            return
        workers.tell(message)
        self._is_reloading = True

    def stop(self, workers: Workers) -> None:
        """Let the workers drain; called again, let them end at once."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self._is_reloading = False  # whatever the workers still owe an answer to, they will not report it
            times = self.stop_times()
            self._delay, self._time_to_end = times.delay, _NO_LIMIT if times.end is None else times.end
            self.notifier.stopping(None if times.end is None else times.end + 2 * _LAST_MOMENT)
            self.on_stopping()
            if not self._delay:
                self.on_draining()
        else:
            self._stopping_since = time.monotonic() - self._time_to_end
        workers.send(signal.SIGTERM)

    def next_look(self, *, now: float) -> float:
        """Return the seconds until `look` should be called, at the latest."""
        if self._is_reloading:
            return _LOOK_SOON
        delayed_until = now if self._stopping_since is None else self._stopping_since + self._delay
        return min(_LOOK_EVERY, delayed_until - now) if delayed_until > now else _LOOK_EVERY

    def look(self, workers: Workers, *, now: float) -> None:
        """Collect the dead, and do what is due at `now`, a monotonic time in seconds."""
        self.watch(workers, now=now)
        dead = workers.reap()
        if self._stopping_since is None:
            for worker, code in dead:
                worker.schedule_restart(now=now)
                _log.error("worker %d ended with %d, starting it again in %g s", worker.index, code, worker.delay)
            workers.restart_dead()
            return
        if now >= self._stopping_since + self._delay:
            self.on_draining()
        if now > self._stopping_since + self._time_to_end + _LAST_MOMENT:
            workers.send(signal.SIGKILL)
        elif now > self._stopping_since + self._time_to_end:
            workers.send(signal.SIGTERM)

    def watch(self, workers: Workers, *, now: float) -> None:
        """Send the workers what waits for them, find those that are stuck, and report to systemd."""
        all_have_answered = workers.look(now=now)
        if self._stopping_since is None and self._is_reloading and all_have_answered:
            self._is_reloading = False
            self.on_reloaded()
            self.notifier.ready(self.status())
        watchdog = self.notifier.watchdog
        if watchdog is not None and now >= self._alive_at + watchdog / 2:
            self._alive_at = now
            self.notifier.alive()
            if self._stopping_since is None:
                workers.ask(patience=watchdog, now=now)
