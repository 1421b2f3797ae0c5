"""How far has a process been asked to end, and what comes before its drain?"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.http1.handshake import TlsAcceptor
from sseproxy.http1.listener import ClientConnections
from sseproxy.http1.sockets import accept_waiting

#: Seconds for which a worker accepts longer than its parent says: the parent removes the files of unix sockets, which
#: all workers share, and no connection may be left in the queue of one that no worker accepts from.
_BEHIND_PARENT = 0.25

#: Seconds that the last clients who were accepted have to send their requests. Behind a delay only: without one,
#: requests are refused anyway.
LAST_REQUESTS = 0.25

#: A listening socket, the connections that it brings, and what accepts them.
Entrance = tuple[socket.socket, ClientConnections, "asyncio.Server | TlsAcceptor"]


class StopRequest:
    """A request to end: asked once, the process drains; asked again, it ends at once.

    Must be made while the event loop runs.
    """

    def __init__(self) -> None:
        self._drain = asyncio.Event()
        self._at_once = asyncio.Event()

    def ask(self) -> None:
        """Ask for the next step."""
        if self._drain.is_set():
            self._at_once.set()
        self._drain.set()

    async def wait_for_drain(self) -> None:
        """Wait until the process should drain."""
        await self._drain.wait()

    async def wait_for_end(self, *, within: float | None = None) -> None:
        """Wait until the process should end at once; for `within` seconds at most, if that is given."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._at_once.wait()

    @contextlib.contextmanager
    def by_signals(self, numbers: Sequence[signal.Signals]) -> Iterator[None]:
        """Let each of `numbers` ask. Behind the ``with`` block they are ignored for good.

        A late one must not turn the exit status of a process that has ended in order into a signal death.
        """
        loop = asyncio.get_running_loop()
        for number in numbers:
            loop.add_signal_handler(number, self.ask)
        try:
            yield
        finally:
            # Without the mask a signal could come between the two calls, when its default action kills the process.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_delay(delay: float, workers: int) -> float:
    """Return how long one process of `workers` accepts connections after the signal, if its parent does for `delay`."""
    return delay + _BEHIND_PARENT if delay and workers > 1 else delay


@frozen
class StopTimes:
    """How long processes take from the signal on, in seconds.

    delay: until they drain. end: until what is left is aborted; ``None``: there is no limit.
    """

    delay: float
    end: float | None

    @classmethod
    def of(cls, delay: float, timeout: float | None, workers: int) -> "StopTimes":
        """Return the times of processes that drain for `timeout`."""
        before = worker_delay(delay, workers) + (LAST_REQUESTS if delay else 0.0)
        return cls(delay, None if timeout is None else before + timeout)


async def close_entrances(
    entrances: Iterable[Entrance], stop: StopRequest, *, close_sockets: Callable[[], None], was_delayed: bool
) -> None:
    """Accept no more. Who is connected already can send a request, if `was_delayed`.

    close_sockets: closes the listening sockets, so that clients who come later are refused.
    """
    # Accepting ends before the sockets close: each server has a copy, and a port lives as long as one does.
    entrances = list(entrances)
    for _, _, server in entrances:
        server.close()
    # Hazard: a client that waits in the queue of a socket when it closes is reset, and has perhaps sent its request.
    # So the queues are emptied in the same turn of the event loop. What comes in the microseconds between is lost.
    waiting = [(sock, make) for listener, make, _ in entrances for sock, _ in accept_waiting(listener)]
    close_sockets()
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.connect_accepted_socket(make, sock) for sock, make in waiting), return_exceptions=True)
    if was_delayed:
        await stop.wait_for_end(within=LAST_REQUESTS)
