"""How is a process that serves asked for another configuration, and how is it seen that its event loop turns?"""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from sseproxy.logs import LOGGER
from sseproxy.process.source import Snapshot, Source, set_up_log
from sseproxy.process.systemd import Notifier

_log = logging.getLogger(LOGGER)

#: Signals that would end a process, and that tools send: to have logs opened again or a program exchanged, when a
#: clock rings, when the power fails. Some systems lack some.
_HARMLESS = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR")

#: Seconds that a process takes beside its drain, at most.
_LAST_WORK = 10.0

#: Lets a process serve by another configuration. Where it raises, nothing has changed.
Apply = Callable[[Snapshot], Awaitable[None]]


class Control(Protocol):
    """How a process is asked for more than its end."""

    def begin(self, apply: Apply) -> None:
        """Have `apply` called from now on. The event loop runs; the caller must call `end` later."""

    def drain(self) -> None:
        """Ask for nothing more: the process drains."""

    async def end(self) -> None:
        """Leave no task and no timer behind."""


def hold_reloads() -> None:
    """Keep SIGHUP for later, until a process can reload; ignore what tools send."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    for name in _HARMLESS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class SignalControl:
    """Reloads a process that serves alone, by SIGHUP. systemd hears of it, and that the event loop turns."""

    # 1. One reload at a time. A signal that comes meanwhile is followed by one more: the last word of the file is read
    #    behind the last signal.
    # 2. Reading happens in a thread: a file of a thousand routes takes a second, in which streams go on.
    # 3. A drain may begin at any moment. What has been read by then is not applied, and said to be ignored.

    def __init__(self, source: Source, notifier: Notifier) -> None:
        self._source = source
        self._notifier = notifier
        self._asked, self._draining = asyncio.Event(), asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    def begin(self, apply: Apply) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        self._work = loop.create_task(self._reload_when_asked(apply))
        self._notifier.ready(self._source.status)
        self._stay_alive()

    def drain(self) -> None:
        self._draining.set()
        limit = self._source.current.config.server.drain_limit
        self._notifier.stopping(None if limit is None else limit + _LAST_WORK)

    async def end(self) -> None:
        # The handler stays until the loop closes, when no other thread is left that could take a signal: without it a
        # late one would be the death of a process that has ended in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
        if self._watch is not None:
            self._watch.cancel()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _reload_when_asked(self, apply: Apply) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            if not self._draining.is_set():
                self._notifier.reloading()
                snapshot = await asyncio.to_thread(self._source.read)
                if snapshot is not None and not self._draining.is_set() and await has_applied(apply, snapshot):
                    self._source.accept(snapshot)
                    self._source.report()
            if self._draining.is_set():
                _log.warning("reload: ignored, the process is draining")
            else:
                self._notifier.ready(self._source.status)

    def _stay_alive(self) -> None:
        if self._notifier.watchdog is not None:
            self._notifier.alive()
            after = self._notifier.watchdog / 2
            self._watch = asyncio.get_running_loop().call_later(after, self._stay_alive)


class ParentControl:
    """Reloads a worker when its parent sends a `Snapshot`, pickled, and answers the parent's questions.

    channel: to the parent; see `channel.obey`.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._apply: Apply | None = None  # once it drains there is none
        self._work: asyncio.Task[None] | None = None

    def begin(self, apply: Apply) -> None:
        self._apply = apply
        from sseproxy.process.channel import obey  # noqa: PLC0415 - a process alone has no parent

        self._work = asyncio.get_running_loop().create_task(obey(self._channel, self._take))

    def drain(self) -> None:
        self._apply = None

    async def end(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _take(self, message: bytes) -> None:
        import pickle  # noqa: PLC0415 - a process that serves alone does without

        snapshot = pickle.loads(message)  # noqa: S301 - the parent alone has the other end of the channel
        if self._apply is not None and await has_applied(self._apply, snapshot):
            set_up_log(snapshot.config.log)


async def has_applied(apply: Apply, snapshot: Snapshot) -> bool:
    """Apply `snapshot`; log what goes wrong, such as a certificate that has gone since it was checked."""
    try:
        await apply(snapshot)
    except OSError as error:
        _log.error("reload: nothing has changed: %s", error)
    except Exception:  # noqa: BLE001 - a defect in a reload must not end the streams
        _log.exception("reload: nothing has changed")
    else:
        return True
    return False
