"""Other people's upstreams: what the usual frameworks stream arrives as they wrote it, and they learn what there is."""

import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.e2e.peers.orders import Order
from tests.support.blocking_client import Request
from tests.support.curl import count_heartbeats, without_heartbeats
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.sseproxy_process import Output, SseproxyProcess
from tests.support.whatwg import Event, parse

ROOT = Path(__file__).parents[2]

#: The peers, and what each of them needs.
PEERS = {
    "flask": ("flask",),
    "fastapi": ("fastapi.sse", "uvicorn"),
    "sse_starlette": ("sse_starlette", "uvicorn"),
    "aiohttp_sse": ("aiohttp_sse",),
}

SENT = (
    Order("send", "plain"),
    Order("send", '{"text": "Grüße, \N{SMILING FACE WITH SMILING EYES}"}', event="named"),
    Order("send", "two\nlines"),
    Order("send", "x" * 9000),
    Order("send", "with id", id="17"),
    Order("send", "the last", event="named", id="18"),
)
SEEN = [
    Event("message", "plain", ""),
    Event("named", '{"text": "Grüße, \N{SMILING FACE WITH SMILING EYES}"}', ""),
    Event("message", "two\nlines", ""),
    Event("message", "x" * 9000, ""),
    Event("message", "with id", "17"),
    Event("named", "the last", "18"),
]
HEARTBEATS = 3


class Peer:
    """An app of `peers`, running. A context manager that ends it."""

    url: str
    told: Output

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.e2e.peers.{self.name}_app"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.told = Output(self._process.stdout)
        lines = self.told.wait_for(bool)
        self.url = f"http://127.0.0.1:{lines[0].removeprefix('listening ')}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.told.close()

    def order(self, run: str, order: Order) -> None:
        """What the stream of `run` does next."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([run, *order]) + "\n")
        self._process.stdin.flush()

    def wait_until(self, run: str, what: str) -> None:
        """Wait until the app has told `what` of a run."""
        self.told.wait_for(lambda lines: f"{run} {what}" in lines)


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    for module in PEERS[request.param]:
        pytest.importorskip(module)
    with Peer(request.param) as peer:
        yield peer


@dataclass(frozen=True, slots=True)
class Proxy:
    """The two ways through one proxy to an app: `calm` has the default heartbeats, `busy` has frequent ones."""

    calm: str
    busy: str
    log: Output


@pytest.fixture(scope="module")
def proxy(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    config = tmp_path_factory.mktemp("peer") / "sseproxy.yaml"
    rewritten = {name: {"match": {"prefix": name}, "rewrite": {"strip_prefix": name}} for name in ("/calm", "/busy")}
    calm = {**rewritten["/calm"], "upstream": peer.url}
    busy = {**rewritten["/busy"], "upstream": peer.url, "heartbeat": {"interval": "20ms"}}
    config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": [calm, busy]}))
    with SseproxyProcess("-c", str(config)) as process:
        yield Proxy(f"{process.url}/calm", f"{process.url}/busy", process.stdout)


_numbers = itertools.count(1)


@pytest.fixture
def run() -> str:
    """A name for the stream of this test."""
    return f"run-{next(_numbers)}"


def stream(url: str, run: str) -> Request:
    return ask(url, f"/stream/{run}")


def ask(url: str, path: str) -> Request:
    """A request for `path` below `url`."""
    return Request(url, urlsplit(url).path + path, headers={"Accept": "text/event-stream"})


def direct(peer: Peer, run: str) -> bytes:
    """The same stream without a proxy."""
    for order in (*SENT, Order("end")):
        peer.order(f"{run}-direct", order)
    with stream(peer.url, f"{run}-direct") as request:
        return request.read()


def has_events(count: int) -> Callable[[bytes], bool]:
    return lambda body: len(parse(body).events) == count


def has_heartbeats(count: int) -> Callable[[bytes], bool]:
    return lambda body: count_heartbeats(body) >= count


def has_pings(count: int) -> Callable[[bytes], bool]:
    return lambda body: body.count(b": ping") >= count


def is_exactly(expected: bytes) -> Callable[[bytes], bool]:
    return lambda body: body == expected


def logged(path: str, reason: str) -> Callable[[list[str]], bool]:
    """Whether the access log says why the stream of `path` ended."""
    return lambda lines: any(f"path={path} " in line and f"reason={reason} " in line for line in lines)


def test_events_arrive_one_by_one_and_byte_by_byte(peer: Peer, proxy: Proxy, run: str) -> None:
    with stream(proxy.calm, run) as request:
        for number, order in enumerate(SENT, 1):
            peer.order(run, order)
            request.read_until(has_events(number))
        peer.order(run, Order("end"))
        assert request.read() == direct(peer, run)
        assert request.status == 200
        assert request.field("X-Accel-Buffering") == "no"
        assert {"no-cache", "no-transform"} <= {part.strip() for part in str(request.field("Cache-Control")).split(",")}
    assert parse(request.body).events == SEEN


def test_silence_is_filled_and_nothing_else_changes(peer: Peer, proxy: Proxy, run: str) -> None:
    with stream(proxy.busy, run) as request:
        for number, order in enumerate(SENT, 1):
            peer.order(run, order)
            request.read_until(has_events(number))
            request.read_until(has_heartbeats(count_heartbeats(request.body) + HEARTBEATS))
        peer.order(run, Order("end"))
        request.read()
    assert parse(request.body).events == SEEN
    assert without_heartbeats(request.body) == direct(peer, run)


def test_the_app_is_told_when_the_client_leaves(peer: Peer, proxy: Proxy, run: str) -> None:
    with stream(proxy.busy, run) as request:
        peer.order(run, SENT[0])
        request.read_until(has_heartbeats(HEARTBEATS))
        peer.wait_until(run, "opened")
    proxy.log.wait_for(logged(f"/busy/stream/{run}", "client_gone"))
    if peer.name == "flask":  # a thread that sleeps learns it from its next words; the very next may go unnoticed
        for _ in range(10):
            peer.order(run, SENT[0])
    peer.wait_until(run, "closed")


def test_an_app_that_fails_before_its_stream_is_quoted(peer: Peer, proxy: Proxy, run: str) -> None:
    with ask(proxy.busy, f"/broken/{run}") as through, ask(peer.url, f"/broken/{run}") as straight:
        assert through.status == straight.status == 500
        assert through.read() == straight.read()
        assert through.field("Content-Type") == straight.field("Content-Type")


def test_an_app_that_fails_in_its_stream_is_not_made_to_look_whole(peer: Peer, proxy: Proxy, run: str) -> None:
    through, seen = ending_of_failure(peer, proxy.busy, run)
    straight, seen_straight = ending_of_failure(peer, peer.url, f"{run}-direct")
    assert through == straight
    assert seen_straight == seen[:1] == SEEN[:1]
    told = [(event.type, "upstream_error" in event.data) for event in seen[1:]]
    assert told == ([] if through == "clean" else [("error", True)])
    # FastAPI's own event streams end in good order when their generator raises: nobody behind it can tell.
    assert through == ("clean" if peer.name == "fastapi" else "broken")
    reason = "upstream_end" if through == "clean" else "upstream_error"
    proxy.log.wait_for(logged(f"/busy/stream/{run}", reason))


def ending_of_failure(peer: Peer, url: str, run: str) -> tuple[str, list[Event]]:
    """Whether a stream that fails after its first event ends ``clean`` or ``broken``, and all its events."""
    with stream(url, run) as request:
        peer.order(run, SENT[0])
        request.read_until(lambda body: parse(body).events == SEEN[:1])
        peer.order(run, Order("fail"))
        try:
            request.read()
            ending = "clean"
        except (http.client.IncompleteRead, ConnectionError):
            ending = "broken"
        return ending, parse(request.body).events


@pytest.mark.parametrize("peer", ["sse_starlette", "aiohttp_sse"], indirect=True)
def test_pings_of_the_app_and_heartbeats_live_side_by_side(peer: Peer, proxy: Proxy, run: str) -> None:
    with ask(proxy.busy, f"/pinged/{run}") as request:
        for number, order in enumerate(SENT, 1):
            request.read_until(has_pings(request.body.count(b": ping") + 2))
            peer.order(run, order)
            request.read_until(has_events(number))
        peer.order(run, Order("end"))
        request.read()
    assert count_heartbeats(request.body) > 0
    assert parse(request.body).events == SEEN


# Spring WebFlux: the wire format of its ServerSentEventHttpMessageWriter, without a JVM.

SPRING = (
    b"data:plain\n\n",
    b'event:named\ndata:{"text":"Gr\xc3\xbc\xc3\x9fe"}\n\n',
    b":heartbeat\n\n",
    b"data:two\ndata:lines\n\n",
    b"event:heartbeat\ndata:\n\n",
    b"id:17\nevent:named\nretry:3000\n:a comment\ndata: one blank\n\n",
    b"data:{}\n\n",
)
SPRING_SEEN = [
    Event("message", "plain", ""),
    Event("named", '{"text":"Grüße"}', ""),
    Event("message", "two\nlines", ""),
    Event("heartbeat", "", ""),
    Event("named", "one blank", "17"),
    Event("message", "{}", "17"),
]


@contextlib.contextmanager
def spring(*arguments: str) -> Iterator[tuple[Request, Call]]:
    """A stream that has begun: the client's side and Spring's."""
    with (
        HandUpstream() as upstream,
        SseproxyProcess("--upstream", upstream.url, "--listen", "127.0.0.1:0", *arguments) as proxy,
        stream(proxy.url, "spring") as request,
        upstream.accept() as call,
    ):
        call.begin([b"Content-Type: text/event-stream;charset=UTF-8"])
        yield request, call


def test_the_wire_format_of_spring_webflux() -> None:
    with spring() as (request, call):
        for number, block in enumerate(SPRING, 1):
            call.send(block)
            request.read_until(is_exactly(b"".join(SPRING[:number])))
        call.finish()
        assert request.read() == b"".join(SPRING)
    assert parse(request.body).events == SPRING_SEEN


def test_spring_webflux_with_heartbeats_in_its_silence() -> None:
    with spring("--heartbeat", "20ms") as (request, call):
        for block in SPRING:
            request.read_until(has_heartbeats(count_heartbeats(request.body) + HEARTBEATS))
            call.send(block)
        call.finish()
        assert without_heartbeats(request.read()) == b"".join(SPRING)
    assert parse(request.body).events == SPRING_SEEN
    assert parse(request.body).retries == [3000]


def test_spring_webflux_is_told_when_the_client_leaves() -> None:
    with spring() as (request, call):
        call.send(SPRING[0])
        request.read_until(is_exactly(SPRING[0]))
        request.close()
        call.wait_until_left()


def test_spring_webflux_breaks_off_in_an_event() -> None:
    with spring() as (request, call):
        call.send(SPRING[0] + SPRING[1][:-1])
        request.read_until(lambda body: body.startswith(SPRING[0]))
        call.connection.close()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            request.read()
    assert parse(request.body).events == SPRING_SEEN[:1]
