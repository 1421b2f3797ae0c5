"""Does the app hear that its server is asked to end, and does the server still hear it too?"""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.lifespan import StopSignals
from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send


class Server:
    """Handles signals, and runs the lifespan of an app."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.said: list[str] = []
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()

    def handle(self, number: int, _: object) -> None:
        self.heard.append(number)

    async def run(self, app: ASGIApp) -> "asyncio.Task[None]":
        """The lifespan, up to the app's answer to its start."""
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self._inbox.put_nowait({"type": "lifespan.startup"})
        task = asyncio.get_running_loop().create_task(_call(app, scope, self._inbox.get, self._hear))
        while not self.said and not task.done():  # noqa: ASYNC110 - a turn of the loop is all there is to wait for
            await asyncio.sleep(0)
        return task

    def shut_down(self) -> None:
        self._inbox.put_nowait({"type": "lifespan.shutdown"})

    async def _hear(self, message: Message) -> None:
        self.said.append(message["type"].removeprefix("lifespan."))


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    previous = {number: signal.signal(number, server.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield server
    left = {number: signal.getsignal(number) for number in previous}
    for number, handler in previous.items():
        signal.signal(number, handler)
    assert left == dict.fromkeys(previous, server.handle)


async def knows(scope: Scope, receive: Receive, send: Send) -> None:
    for what in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{what}"
        await send({"type": f"lifespan.{what}.complete"})


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("only HTTP is spoken here")


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    """Has nothing to say."""


class Counting(SSEKeepaliveMiddleware):
    """Notes what it is asked to do."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, drain="3s")
        self.drains: list[tuple[Duration, Duration]] = []

    def begin_drain(self, *, timeout: Duration = "25s", spread: Duration = "5s") -> None:
        self.drains.append((timeout, spread))
        super().begin_drain(timeout=timeout, spread=spread)


@pytest.mark.parametrize("app", [knows, raises, returns])
async def test_a_signal_drains_once_and_reaches_the_server(server: Server, app: ASGIApp) -> None:
    middleware = Counting(app)
    task = await server.run(middleware)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert server.heard == [signal.SIGTERM, signal.SIGINT]
    assert middleware.drains == []  # a signal may come at any moment: what it does to streams is done by the event loop
    await asyncio.sleep(0)
    assert middleware.drains == [(3.0, 3.0)]
    server.shut_down()
    await task
    assert server.said == ["startup.complete", "shutdown.complete"]


async def test_an_app_that_cannot_start_says_so_unchanged(server: Server) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})
        raise RuntimeError("no")

    task = await server.run(SSEKeepaliveMiddleware(app, drain="3s"))
    with pytest.raises(RuntimeError, match=r"^no$"):
        await task
    assert server.said == ["startup.failed"]


async def test_an_app_that_falls_over_when_it_starts_does_not_seem_to_have_started(server: Server) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("the database is not there")

    task = await server.run(SSEKeepaliveMiddleware(app, drain="3s"))
    with pytest.raises(RuntimeError, match="the database is not there"):
        await task
    assert server.said == []


async def test_without_drain_nothing_is_touched(server: Server) -> None:
    task = await server.run(SSEKeepaliveMiddleware(knows))
    assert signal.getsignal(signal.SIGTERM) == server.handle
    server.shut_down()
    await task


async def test_a_handler_that_was_put_before_ours_stays(server: Server) -> None:
    later = []
    signals = StopSignals(lambda: None)
    signals.install()
    ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: later.append(number))
    signals.restore()
    signal.raise_signal(signal.SIGTERM)
    assert later == [signal.SIGTERM]
    assert server.heard == []
    assert callable(ours)
    ours(signal.SIGTERM, None)  # which somebody may still call
    assert server.heard == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, server.handle)


async def test_a_signal_that_nobody_handles_keeps_its_meaning(server: Server) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signals = StopSignals(lambda: None)
    signals.install()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signals.restore()
    signal.signal(signal.SIGTERM, server.handle)


async def test_outside_the_main_thread_there_are_no_signals(server: Server) -> None:
    signals = StopSignals(lambda: None)
    thread = threading.Thread(target=signals.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == server.handle


@pytest.mark.parametrize("name", ["drain", "drain_spread"])
def test_a_wrong_duration_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: "):
        SSEKeepaliveMiddleware(knows, **{name: "soon"})  # type: ignore[arg-type]
