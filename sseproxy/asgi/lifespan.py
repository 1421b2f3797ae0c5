"""How does an app learn that its server has been asked to end, while its streams still run?

ASGI's own word for it, ``lifespan.shutdown``, comes when the last response has ended: too late for streams, which do
not end by themselves. ``lifespan.startup`` comes when the server's signal handlers are in place. So ours go before them
there, and away again at the shutdown. Nothing of the server is changed, and its handlers run as ever.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Calls `on_stop` in the event loop, once, when the process is asked to end; then the server hears of it too.

    A signal that nobody handles is left alone: there is no server that would come to an end by it. So are all of them
    outside the main thread, where Python has none.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._loop = asyncio.get_running_loop()
        self._servers: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._heard = False

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _STOP_SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._servers[number] = handler
                signal.signal(number, self._hear)

    def restore(self) -> None:
        """Put the server's handlers back, where nobody else has put one before ours."""
        for number, handler in self._servers.items():
            if signal.getsignal(number) == self._hear:
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._heard and not self._loop.is_closed():
            self._heard = True
            self._loop.call_soon_threadsafe(self._on_stop)
        self._servers[number](number, frame)


class Lifespan:
    """The lifespan of one server process. on_stop: called in the event loop when the server is asked to end."""

    def __init__(self, receive: Receive, send: Send, on_stop: Callable[[], None]) -> None:
        self._server_receive = receive
        self._server_send = send
        self._signals = StopSignals(on_stop)
        self._has_started = False
        self._has_answered = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the app. If it knows no lifespan, we answer for it: the server has to believe in one."""
        try:
            await self._call(app, scope)
            if not self._has_answered:
                await self._stand_in()
        finally:
            self._signals.restore()

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception:
            if self._has_started:  # that is no app which knows no lifespan, but one which cannot start
                raise

    async def _stand_in(self) -> None:
        if not self._has_started:
            await self._receive()
        await self._server_send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._server_send({"type": "lifespan.shutdown.complete"})

    async def _receive(self) -> Message:
        message = await self._server_receive()
        if message["type"] == "lifespan.startup":
            self._has_started = True
            self._signals.install()
        else:
            self._signals.restore()
        return message

    async def _send(self, message: Message) -> None:
        self._has_answered = True
        await self._server_send(message)
