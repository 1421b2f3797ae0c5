"""How does a proxy inside another server begin, drain and end, with a lifespan and without one?"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import Mount

from sseproxy.asgi.types import ASGIApp, Message
from sseproxy.engine.observer import AccessRecord, Observer
from sseproxy.proxy import ReverseProxy
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.backing.readiness import Status
from sseproxy.proxy.library.embedded import EmbeddedProxy
from sseproxy.proxy.library.loop_proxy import LoopProxy, Phase
from sseproxy.proxy.on_asgi import AsgiDoor
from tests.support.asgi_exchange import Exchange
from tests.support.inside import alive, run_on
from tests.support.patience import LIMIT
from tests.support.raw_upstream import OK, RawUpstream, Visit, replies
from tests.support.settled import eventually

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
EVENT_SOURCE = [(b"host", b"a.test"), (b"accept", b"text/event-stream"), (b"cache-control", b"no-cache")]


def ask(app: ASGIApp, *, method: str = "GET", path: str = "/", fields: Any = ()) -> Exchange:
    return Exchange(app, method=method, path=path, headers=[(b"host", b"a.test"), *fields])


def event_source(app: ASGIApp) -> Exchange:
    return Exchange(app, headers=EVENT_SOURCE).start()


async def silent(visit: Visit) -> None:
    """One event, and then silence."""
    await visit.request()
    await visit.send(STREAM)
    await visit.closed.wait()


def url(upstream: RawUpstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


class Server:
    """Handles signals as an ASGI server does, and runs the lifespan of an app."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.said: list[Message] = []
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def handle(self, number: int, _: object) -> None:
        self.heard.append(number)

    async def start(self, app: ASGIApp) -> None:
        async def call() -> None:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._inbox.get, self._hear)

        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.create_task(call())
        await eventually(lambda: bool(self.said))

    async def shut_down(self) -> None:
        assert self._task is not None
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        async with asyncio.timeout(LIMIT):
            await self._task

    async def _hear(self, message: Message) -> None:
        self.said.append(message)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    previous = {number: signal.signal(number, server.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield server
    left = {number: signal.getsignal(number) for number in previous}
    for number, handler in previous.items():
        signal.signal(number, handler)
    assert left == dict.fromkeys(previous, server.handle)


@contextlib.asynccontextmanager
async def streaming(**options: Any) -> AsyncIterator[tuple[ReverseProxy, RawUpstream, Exchange]]:
    """A proxy with one stream of an `EventSource` under way."""
    async with RawUpstream.serve(silent) as upstream:
        proxy = ReverseProxy(url(upstream), heartbeat=None, **options)
        stream = event_source(proxy)
        await eventually(lambda: stream.body == b"data: 1\n\n")
        assert proxy.open_streams == 1
        yield proxy, upstream, stream
        await proxy.close()
        assert proxy.open_streams == 0


class TestBeginning:
    async def test_the_first_request_begins_it(self) -> None:
        async with RawUpstream.serve(replies(OK)) as upstream:
            proxy = ReverseProxy(url(upstream))
            answer = await ask(proxy, path="/a").run()
            assert (answer.status, answer.body) == (200, b"ok")
            assert upstream.requests[0].target == b"/a"
            await proxy.close()
            await upstream.visits[0].wait_closed()

    def test_it_can_be_made_where_no_event_loop_runs(self) -> None:
        assert ReverseProxy("http://127.0.0.1:9").open_streams == 0

    async def test_it_is_closed_once_and_can_be_opened_again(self) -> None:
        async with RawUpstream.serve(replies(OK)) as upstream:
            proxy = ReverseProxy(url(upstream))
            await proxy.close()  # nothing has begun
            async with proxy:
                assert (await ask(proxy).run()).status == 200
            await proxy.close()
            with pytest.raises(
                RuntimeError, match=r"^ReverseProxy has been closed in this event loop: start\(\) opens"
            ):
                await ask(proxy).run()
            async with proxy as again:
                assert again is proxy
                assert (await ask(proxy).run()).status == 200

    async def test_two_that_close_it_wait_for_the_same_end(self) -> None:
        async with streaming(drain=0) as (proxy, _, stream):
            first, second = asyncio.create_task(proxy.close()), asyncio.create_task(proxy.close())
            await asyncio.gather(first, second)
            await eventually(lambda: stream.task is not None and stream.task.done())

    async def test_a_mounted_one_needs_no_call(self) -> None:
        async with RawUpstream.serve(replies(OK)) as upstream:
            proxy = ReverseProxy(url(upstream))
            app = Starlette(routes=[Mount("/v1", proxy)])
            assert (await ask(app, path="/v1/models").run()).body == b"ok"
            assert upstream.requests[0].target == b"/v1/models"
            await proxy.close()

    async def test_it_does_not_keep_the_context_of_the_first_request(self) -> None:
        request = ContextVar("request", default="none")
        seen: list[str] = []

        def new_door(app: ProxyApp) -> ProxyApp:
            seen.append(request.get())
            return app

        request.set("the first")
        async with EmbeddedProxy("http://127.0.0.1:9", {}, new_door) as proxy:
            assert proxy.here().door is proxy.here().app
        assert seen == ["none"]

    def test_without_asyncio_it_says_so(self) -> None:
        async def call() -> None:
            await ask(ReverseProxy("http://127.0.0.1:9")).call()

        with pytest.raises(RuntimeError, match=r"^ReverseProxy: no event loop of asyncio runs here"):
            trio.run(call)

    async def test_a_certificate_that_has_gone_fails_the_start(
        self, tls_files: tuple[Path, Path], tmp_path: Path
    ) -> None:
        authority = tmp_path / "ca.pem"
        authority.write_bytes(tls_files[0].read_bytes())
        proxy = ReverseProxy("https://127.0.0.1:9", tls={"ca": authority})
        authority.unlink()
        with pytest.raises(OSError, match=r"."):
            await proxy.start()

    async def test_a_websocket_is_refused(self) -> None:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        async with ReverseProxy("http://127.0.0.1:9") as proxy:
            await proxy({"type": "websocket", "path": "/", "headers": []}, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


class TestLifespan:
    async def test_it_begins_and_ends_with_the_server(self, server: Server) -> None:
        async with RawUpstream.serve(replies(OK)) as upstream:
            proxy = ReverseProxy(url(upstream))
            await server.start(proxy)
            assert (await ask(proxy).run()).status == 200
            await server.shut_down()
            await upstream.visits[0].wait_closed()
        assert [message["type"] for message in server.said] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]

    async def test_one_that_cannot_begin_says_why(
        self, server: Server, tls_files: tuple[Path, Path], tmp_path: Path
    ) -> None:
        authority = tmp_path / "ca.pem"
        authority.write_bytes(tls_files[0].read_bytes())
        proxy = ReverseProxy("https://127.0.0.1:9", tls={"ca": authority})
        authority.unlink()
        await server.start(proxy)
        assert server.said[0]["type"] == "lifespan.startup.failed"
        assert server.said[0]["message"].startswith("ReverseProxy: ")
        with pytest.raises(OSError, match=r"."):
            await server.shut_down()

    async def test_what_is_under_way_at_the_shutdown_is_drained(self, server: Server) -> None:
        async with RawUpstream.serve(silent) as upstream:
            proxy = ReverseProxy(url(upstream), drain="60s", drain_spread=0)
            await server.start(proxy)
            stream = event_source(proxy)
            await eventually(lambda: stream.body == b"data: 1\n\n")
            await server.shut_down()
            await stream.finish()
        assert stream.body.startswith(b"data: 1\n\nretry: ")


class TestDrain:
    async def test_a_stop_signal_drains_and_reaches_the_server(self, server: Server) -> None:
        """No lifespan is needed: the first request has put the handler in its place."""
        async with streaming(drain="60s", drain_spread=0) as (proxy, upstream, stream):
            signal.raise_signal(signal.SIGTERM)
            await stream.finish()
            assert stream.body.startswith(b"data: 1\n\nretry: ")
            await upstream.visits[0].wait_closed()
            assert proxy.readiness().status is Status.DRAINING
            assert server.heard == [signal.SIGTERM]

    async def test_what_does_not_end_in_time_breaks(self, server: Server) -> None:
        async with RawUpstream.serve(silent) as upstream:
            proxy = ReverseProxy(url(upstream), drain=0.01)
            answer = ask(proxy, method="POST", fields=[(b"accept", b"text/event-stream")]).start()
            await eventually(lambda: answer.body == b"data: 1\n\n")
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Exception, match="broken off"):
                await answer.finish()
            assert b'"type": "drain"' in answer.body
            assert not answer.is_whole
            await proxy.close()

    async def test_a_request_that_waits_for_its_response_is_answered_at_the_end(self, server: Server) -> None:
        async with RawUpstream.serve(lambda visit: visit.wait_closed()) as upstream:
            proxy = ReverseProxy(url(upstream), drain=0.01)
            answer = ask(proxy, method="POST").start()
            await upstream.visit()
            signal.raise_signal(signal.SIGTERM)
            await answer.finish()
            assert answer.status == 503
            await proxy.close()

    async def test_off_leaves_signals_alone(self, server: Server) -> None:
        async with streaming(drain="off") as (proxy, _, stream):
            signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == server.handle
            await asyncio.sleep(0)
            assert proxy.readiness().status is Status.READY
            await proxy.close()
            await stream.finish()
            assert b"retry: " in stream.body

    async def test_the_app_may_begin_it(self) -> None:
        async with streaming() as (proxy, _, stream):
            with pytest.raises(ValueError, match=r"^timeout: "):
                proxy.begin_drain(timeout="soon")
            proxy.begin_drain(timeout="off", spread=0)
            await stream.finish()
            assert b"retry: " in stream.body


class TestEventLoops:
    def test_each_has_connections_of_its_own(self) -> None:
        """Two threads, each with a loop and a stream; the one that ends leaves the other alone."""
        proxy: list[ReverseProxy] = []
        ready, closed, looked = threading.Barrier(2), threading.Event(), threading.Event()

        async def live(number: int) -> None:
            async with RawUpstream.serve(silent) as upstream:
                if number == 0:
                    proxy.append(ReverseProxy(routes=[{"upstream": url(upstream)}]))
                await eventually(lambda: bool(proxy))
                stream = event_source(proxy[0])
                await eventually(lambda: stream.body.startswith(b"data: 1\n\n"))
                await asyncio.to_thread(ready.wait, LIMIT)
                if number == 0:
                    assert proxy[0].open_streams == 2
                    proxy[0].begin_drain(spread=0)
                    await stream.finish()
                    await proxy[0].close()
                    assert proxy[0].open_streams == 1
                    closed.set()
                    await asyncio.to_thread(looked.wait, LIMIT)  # the upstream of both is here
                else:
                    await asyncio.to_thread(closed.wait, LIMIT)
                    assert stream.task is not None
                    assert not stream.task.done()
                    looked.set()
                    stream.leave()
                    await stream.finish()
                    await proxy[0].close()

        errors: list[BaseException] = []

        def run(number: int) -> None:
            try:
                asyncio.run(live(number))
            except BaseException as error:
                errors.append(error)
                raise

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert errors == []
        assert proxy[0].open_streams == 0

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_a_loop_that_ends_closes_what_was_not_closed(self, loop: str) -> None:
        """A mounted app gets no lifespan."""
        made: list[LoopProxy[AsgiDoor]] = []

        async def once() -> None:
            async with RawUpstream.serve(replies(OK)) as upstream:
                proxy = ReverseProxy(url(upstream))
                assert (await ask(proxy).run()).status == 200
                made.append(proxy.here())

        handler = signal.getsignal(signal.SIGINT)  # of whatever runs the tests
        run_on(loop, once)
        assert made[0].phase is Phase.CLOSED
        assert signal.getsignal(signal.SIGINT) is handler

    def test_loops_that_have_ended_are_forgotten(self) -> None:
        """As when a test client of a framework runs a loop for each request."""
        proxy: list[ReverseProxy] = []

        async def once() -> None:
            async with RawUpstream.serve(replies(OK)) as upstream:
                if not proxy:
                    proxy.append(ReverseProxy(url(upstream)))
                await ask(proxy[0]).run()

        before = alive(LoopProxy)["LoopProxy"]
        for _ in range(3):
            asyncio.run(once())
        assert alive(LoopProxy)["LoopProxy"] - before <= 1

    def test_runs_in_a_file_come_from_one_loop_into_the_next(self, tmp_path: Path) -> None:
        async def answers(visit: Visit) -> None:
            await visit.request()
            await visit.send(STREAM + b"data: [DONE]\n\n")

        async def ask_for_it() -> bytes:
            async with RawUpstream.serve(answers) as upstream:
                proxy = self.with_file(tmp_path, url(upstream))
                answer = await ask(proxy, method="POST", fields=[(b"accept", b"text/event-stream")]).run()
                await eventually(lambda: proxy.open_streams == 0)
                return answer.headers[b"content-location"]

        async def read(path: bytes) -> bytes:
            proxy = self.with_file(tmp_path, "http://127.0.0.1:9")
            return (await ask(proxy, path=path.decode(), fields=[(b"accept", b"text/event-stream")]).run()).body

        where = asyncio.run(ask_for_it())
        assert (tmp_path / "runs").exists()
        assert b"data: 1\n\n" in asyncio.run(read(where))

    @staticmethod
    def with_file(folder: Path, upstream: str) -> ReverseProxy:
        return ReverseProxy(upstream, journal={"kind": "answer"}, store={"file": folder / "runs"})


class Noting(Observer):
    """Notes what has been answered."""

    def __init__(self) -> None:
        self.answered_with: list[int | None] = []

    def answered(self, record: AccessRecord) -> None:
        self.answered_with.append(record.status)


class TestWhatIsSeen:
    async def test_observers_hear_of_all_that_comes_behind_them(self) -> None:
        early, late = Noting(), Noting()
        async with RawUpstream.serve(replies(OK)) as upstream:
            proxy = ReverseProxy(url(upstream))
            proxy.add_observer(early)
            async with proxy:
                await ask(proxy).run()
                proxy.add_observer(late)
                await ask(proxy).run()
        assert (early.answered_with, late.answered_with) == ([200, 200], [200])

    async def test_a_redis_that_was_never_reached_is_away(self) -> None:
        options: dict[str, Any] = {"redis": {"stream": "news"}, "store": {"url": "redis://127.0.0.1:9"}}
        async with ReverseProxy(**options) as proxy:
            found = proxy.readiness()
            assert (found.status, found.away) == (Status.AWAY, ["redis"])

    async def test_without_redis_it_is_ready_until_it_drains(self) -> None:
        async with ReverseProxy("http://127.0.0.1:9") as proxy:
            assert proxy.readiness().status is Status.READY
            proxy.begin_drain()
            assert proxy.readiness().status is Status.DRAINING
        assert proxy.readiness().status is Status.DRAINING

    async def test_prometheus_counts_from_the_first_page_on(self) -> None:
        async with RawUpstream.serve(replies(OK)) as upstream, ReverseProxy(url(upstream), name="chat") as proxy:
            await ask(proxy).run()
            page, kind = await proxy.metrics()
            assert kind.startswith("text/plain")
            assert b'sseproxy_streams_open{phase="open",route="chat"} 0.0' in page
            await ask(proxy).run()
            page, kind = await proxy.metrics("application/openmetrics-text")
            assert kind.startswith("application/openmetrics-text")
            assert b'sseproxy_requests_total{code="200",route="chat"} 1.0' in page
