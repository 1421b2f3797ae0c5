"""How does an app learn that its server has been asked to end, while its streams still run?

ASGI's own word for it, ``lifespan.shutdown``, comes when the last response has ended: too late for streams, which do
not end by themselves. ``lifespan.startup`` comes when the server's signal handlers are in place. So the middleware puts
its handlers before them there, and removes them at the shutdown. The server's handlers run as ever.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from enum import Enum, auto
from types import FrameType

from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


# Rules
# 1. Where no handler in Python is there for SIGTERM, all signals are left alone: its default ends the process, so there
#    is no server that would drain. That of SIGINT alone is Python's, or asyncio's, which has to stay in its place. So
#    are all signals outside the main thread, where Python has no handlers.
# 2. `on_stop` is called once, in the event loop; the server's handler is called for each signal, behind it.
# 3. The server's handlers come back at the end, unless another library has put its own in place meanwhile: to restore
#    them then would remove that one.


class StopSignals:
    """Calls `on_stop` in the running event loop when the process is asked to end (SIGINT, SIGTERM)."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop: Callable[[], None] | None = on_stop  # until it is called
        self._loop = asyncio.get_running_loop()
        self._servers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def install(self) -> None:
        """Put handlers before those of the server."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or not callable(signal.getsignal(signal.SIGTERM)):
            return
        for number in _STOP_SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._servers[number] = handler
                signal.signal(number, self.handle)

    def restore(self) -> None:
        """Put the server's handlers back (rule 3)."""
        for number, handler in self._servers.items():
            if signal.getsignal(number) == self.handle:
                signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in whatever the main thread was doing."""
        if self._on_stop is not None and not self._loop.is_closed():
            on_stop, self._on_stop = self._on_stop, None
            self._loop.call_soon_threadsafe(on_stop)
        self._servers[number](number, frame)


class LifespanState(Enum):
    """What the app has done with its lifespan."""

    NOT_READ = auto()
    STARTING = auto()  # it has received `lifespan.startup`
    ANSWERED = auto()  # it has sent something


class Lifespan:
    """The lifespan of one server process. on_stop: called in the event loop when the server is asked to end."""

    def __init__(self, receive: Receive, send: Send, on_stop: Callable[[], None]) -> None:
        self._server_receive = receive
        self._server_send = send
        self._signals = StopSignals(on_stop)
        self._state = LifespanState.NOT_READ

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the app. If it supports no lifespan, answer the server for it, which else would send no shutdown."""
        try:
            try:
                await app(scope, self.receive, self.send)
            except Exception:
                if self._state is not LifespanState.NOT_READ:  # it supports lifespans, and cannot start, or end
                    raise
            if self._state is not LifespanState.ANSWERED:
                if self._state is LifespanState.NOT_READ:
                    await self.receive()
                await self._server_send({"type": "lifespan.startup.complete"})
                await self.receive()
                await self._server_send({"type": "lifespan.shutdown.complete"})
        finally:
            self._signals.restore()

    async def receive(self) -> Message:
        """The app's `receive`."""
        message = await self._server_receive()
        if message["type"] == "lifespan.startup":
            if self._state is LifespanState.NOT_READ:
                self._state = LifespanState.STARTING
            self._signals.install()
        else:
            self._signals.restore()
        return message

    async def send(self, message: Message) -> None:
        """The app's `send`."""
        self._state = LifespanState.ANSWERED
        await self._server_send(message)
