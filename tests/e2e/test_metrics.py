"""Does each metric move when, and only when, what it counts has happened to a running process?"""

import contextlib
import json
import os
import platform
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sseproxy import __version__
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import Phase
from sseproxy.metrics.table import METRICS, Kind
from tests.support import processes
from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.scrape import Watched, scrape, streams, wait_until
from tests.support.sseproxy_process import SseproxyProcess

STREAM = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand(Watched):
    """The upstream is that of its routes; the first segment of a path names one."""

    upstream: HandUpstream

    @contextlib.contextmanager
    def stream(self, target: str, data: bytes = b"data: x\n\n") -> Iterator[tuple[Request, Call]]:
        """A stream that has begun."""
        with Request(self.proxy.url, target, headers=STREAM) as request, self.upstream.accept() as call:
            call.begin()
            call.send(data)
            yield request, call


@contextlib.contextmanager
def watched(folder: Path, workers: int = 1) -> Iterator[Stand]:
    options: dict[str, dict[str, object]] = {
        "plain": {"heartbeat": {"interval": "off"}},
        "beat": {"heartbeat": {"interval": "20ms"}},
        "early": {"heartbeat": {"interval": "20ms", "before_response": "20ms"}},
        "blank": {"heartbeat": {"interval": "20ms", "form": "blank"}},
        "short": {"heartbeat": {"interval": "20ms"}, "limits": {"line": "16B"}},
        "done": {"heartbeat": {"interval": "20ms"}, "dialect": "openai-chat"},
        "idle": {"timeouts": {"idle": "1s"}},
        "patient": {"timeouts": {"idle": "60s"}},
        "down": {},
    }
    with HandUpstream() as upstream:
        routes = [
            {
                "name": name,
                "match": {"prefix": f"/{name}"},
                "upstream": "http://127.0.0.1:9" if name == "down" else upstream.url,
                "dialect": "generic",
                **more,
            }
            for name, more in options.items()
        ]
        config = {
            "server": {"listen": "127.0.0.1:0", "workers": workers},
            "admin": {"listen": "127.0.0.1:0"},
            "routes": routes,
        }
        (folder / "c.yaml").write_text(json.dumps(config))
        with SseproxyProcess("-c", str(folder / "c.yaml")) as proxy:
            yield Stand(proxy=proxy, upstream=upstream)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Each test has a route of its own."""
    with watched(tmp_path_factory.mktemp("metrics")) as stand:
        yield stand


def test_a_stream_is_counted_while_it_is_open_and_when_it_has_ended(shared: Stand) -> None:
    route = {"route": "plain"}
    before = shared.value("connections")
    with shared.stream("/plain", b"data: 1\n\ndata: 2\n\n") as (request, call):
        request.wait_for(b"data: 2\n\n")
        assert shared.value("streams_open", **route, phase="open") == 1
        assert shared.value("connections") >= before + 1
        assert shared.value("events_total", **route) == 2
        assert shared.value("bytes_total", **route, direction="in") == 18
        assert shared.value("bytes_total", **route, direction="out") == 18
        assert shared.value("first_byte_seconds_count", **route) == 1
        assert shared.value("stream_seconds_count", **route) == 0
        assert shared.value("streams_total", **route) == 0
        call.send(b"data: 3\n\n")
        call.finish()
        request.read()
    shared.wait_for(1, "streams_total", **route, reason="upstream_end")
    assert shared.value("streams_open", **route) == 0
    assert shared.value("events_total", **route) == 3
    assert shared.value("bytes_total", **route) == 54
    for name in ("first_byte_seconds", "stream_seconds", "longest_silence_seconds"):
        assert shared.value(f"{name}_count", **route) == 1
    shared.wait_for(1, "requests_total", **route, code="200")
    assert shared.value("undeclared_streams_total", **route) == 0


def test_each_end_has_its_reason(shared: Stand) -> None:
    with shared.stream("/idle") as (request, _), contextlib.suppress(Exception):
        request.read()
    shared.wait_for(1, "streams_total", route="idle", reason="idle_timeout")
    with shared.stream("/idle") as (request, _):
        request.wait_for(b"data: x")
        request.close()
        wait_until(lambda: shared.value("streams_total", route="idle") == 2, "the second stream has ended")


def test_the_silence_that_lasts_against_its_limit(shared: Stand) -> None:
    def used() -> float:
        return shared.value("silence_used_ratio", route="patient")

    assert used() == 0
    with shared.stream("/patient") as (request, call), shared.stream("/plain") as (feed, _):
        request.wait_for(b"data: x")
        feed.wait_for(b"data: x")
        wait_until(lambda: 0.005 < used() < 1, "a part of the minute is over")
        assert shared.value("silence_used_ratio", route="plain") == 0  # a feed has no limit
        call.finish()
        request.read()
    wait_until(lambda: used() == 0, "no stream is open")


def test_an_end_that_has_not_happened_is_zero(shared: Stand) -> None:
    """Prometheus sees no increase where the first sample of a series is a 1."""
    ends = {
        tuple(sorted(labels)): number
        for (name, labels), number in scrape(shared.admin).items()
        if name == "sseproxy_streams_total" and ("route", "down") in labels
    }
    assert ends == {(("reason", reason.value), ("route", "down")): 0 for reason in CloseReason}


def test_heartbeats_in_an_open_stream(shared: Stand) -> None:
    with shared.stream("/beat") as (request, _):
        request.read_until(lambda body: body.count(b": heartbeat") >= 3)
        assert shared.value("heartbeats_total", route="beat", phase="open") >= 3
        assert shared.value("heartbeats_total", route="beat", phase="waiting") == 0


def test_an_early_answer_and_what_it_would_have_been(shared: Stand) -> None:
    with Request(shared.proxy.url, "/early", headers=STREAM) as request, shared.upstream.accept() as call:
        request.wait_for(b": heartbeat")
        assert shared.value("streams_open", route="early", phase="waiting") == 1
        assert shared.value("heartbeats_total", route="early", phase="waiting") >= 1
        assert 0 < shared.value("silence_used_ratio", route="early") < 1  # of `timeouts.response`
        call.answer(b"busy", status=b"503 Service Unavailable")
        with contextlib.suppress(Exception):
            request.read()
    shared.wait_for(1, "intended_status_total", route="early", code="503")
    assert shared.value("requests_total", route="early", code="200") == 1
    assert shared.value("requests_total", route="early", code="503") == 0


@pytest.mark.parametrize(
    ("route", "data", "why"),
    [
        ("blank", b"data: x\n", "inside_event"),
        ("short", b"data: " + b"x" * 100, "mid_line"),
        ("done", b"data: [DONE]\n\n", "at_end"),
    ],
)
def test_heartbeats_that_are_skipped(shared: Stand, route: str, data: bytes, why: str) -> None:
    with shared.stream(f"/{route}", data):
        name = "heartbeats_skipped_total"
        wait_until(lambda: shared.value(name, route=route, why=why) >= 2, f"{why} is counted")


def test_heartbeats_that_a_stuck_client_cannot_take(shared: Stand) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = shared.proxy.url.partition("://")[2].rpartition(":")
        client.connect((host, int(port)))
        client.sendall(b"GET /beat/stuck HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        with shared.upstream.accept() as call:
            call.begin()
            call.connection.settimeout(1)
            with contextlib.suppress(TimeoutError):
                while True:
                    call.send(b"data: " + b"x" * 60000 + b"\n\n")
            name = "heartbeats_skipped_total"
            wait_until(lambda: shared.value(name, route="beat", why="backpressure") >= 1, "backpressure is counted")


def test_a_stream_that_was_not_asked_for(shared: Stand) -> None:
    with Request(shared.proxy.url, "/blank/undeclared") as request, shared.upstream.accept() as call:
        call.begin()
        call.send(b"data: x\n\n")
        request.wait_for(b"data: x")
        assert shared.value("undeclared_streams_total", route="blank") == 1
        call.finish()
        request.read()


def test_requests_that_are_no_streams(shared: Stand) -> None:
    assert fetch(shared.proxy.url, "/down").status == 502
    assert fetch(shared.proxy.url, "/nowhere").status == 404
    shared.wait_for(1, "requests_total", route="down", code="502")
    shared.wait_for(1, "requests_total", route="-", code="404")
    with Request(shared.proxy.url, "/idle/left") as request, shared.upstream.accept():
        request.close()
        shared.wait_for(1, "requests_total", route="idle", code="none")
    with Request(shared.proxy.url, "/idle/odd") as request, shared.upstream.accept() as call:
        call.answer(b"", status=b"799 Odd")
        request.read()
    shared.wait_for(1, "requests_total", route="idle", code="7xx")


def test_what_runs(shared: Stand) -> None:
    labels = {"version": __version__, "python": platform.python_version()}
    assert shared.value("build_info", **labels) == 1
    assert shared.value("worker_up", worker="0") == 1
    assert shared.value("connections_limit") > shared.value("connections")


def test_no_client_makes_a_series(shared: Stand) -> None:
    """10,000 paths, agents and claimed addresses."""
    host, _, port = shared.proxy.url.partition("://")[2].rpartition(":")
    kept = scrape(shared.admin).keys()
    with socket.create_connection((host, int(port))) as client:
        for begin in range(0, 10_000, 16):
            requests = (
                f"GET /down/{number}?q={number} HTTP/1.1\r\nHost: h{number}\r\nUser-Agent: a{number}\r\n"
                f"X-Forwarded-For: 192.0.2.{number % 256}\r\nCookie: c={number}\r\n\r\n"
                for number in range(begin, begin + 16)
            )
            client.sendall("".join(requests).encode())
            said = b""
            while said.count(b"HTTP/1.1 502") < 16:
                data = client.recv(1 << 16)
                assert data, said
                said += data
    wait_until(lambda: shared.value("requests_total", route="down", code="502") >= 10_000, "all are counted")
    assert len(scrape(shared.admin).keys() - kept) <= 1


def test_all_of_the_table_was_made_to_move(shared: Stand) -> None:
    """Comes behind the tests above; those of Redis, and of runs, have modules of their own."""
    seen = shared.seen
    if "sseproxy_intended_status_total" not in seen.names:
        pytest.skip("this test was chosen alone")
    wanted = {
        metric.name + ("_count" if metric.kind is Kind.HISTOGRAM else "")
        for metric in METRICS
        if not metric.name.startswith(("sseproxy_redis_", "sseproxy_journal_"))
    }
    assert wanted - seen.names == set()
    # Each value of a label that names what has happened; `streams_total` and `draining` are in test_metric_reasons.py.
    phases = {Phase.WAITING.value, Phase.OPEN.value}
    assert seen.values("sseproxy_streams_open", "phase") == phases
    assert seen.values("sseproxy_streams_open", "phase", at_rest=True) == {*phases, Phase.DRAINING.value}
    assert seen.values("sseproxy_heartbeats_total", "phase") == phases
    whys = {"backpressure", "mid_line", "inside_event", "at_end"}
    assert seen.values("sseproxy_heartbeats_skipped_total", "why") == whys
    assert seen.values("sseproxy_bytes_total", "direction") == {"in", "out"}
    assert seen.values("sseproxy_requests_total", "code") >= {"200", "404", "502", "none", "7xx"}


def test_two_workers_are_one_page_and_one_that_is_stuck_or_dies_makes_no_counter_fall(tmp_path: Path) -> None:
    with watched(tmp_path, workers=2) as stand, contextlib.ExitStack() as stack:
        for _ in range(16):  # over the connections, the kernel deals them out to both
            request, _call = stack.enter_context(stand.stream("/plain"))
            request.wait_for(b"data: x")
        assert {stand.value("streams_open", route="plain") for _ in range(8)} == {16}
        assert {stand.value("events_total", route="plain") for _ in range(8)} == {16}
        shares = {row["id"].partition("-")[0] for row in streams(stand.admin)}
        assert shares == {"0", "1"}
        workers = sorted(processes.children(stand.proxy.pid))
        os.kill(workers[1], signal.SIGSTOP)
        try:
            # The stuck one still takes connections: only those that reach the other one are answered.
            wait_until(lambda: _answers(stand) == (16, 1), "one worker answers for both")
        finally:
            os.kill(workers[1], signal.SIGKILL)
        wait_until(lambda: _answers(stand) == (16, 2), "the place is taken again, and nothing is lost")
    assert "Traceback" not in stand.proxy.stderr.text


def _answers(stand: Stand) -> tuple[float, float] | None:
    """How many events all workers have counted, and how many of them answer; ``None``: a stuck one was asked."""
    host, _, port = stand.admin.partition("://")[2].rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(3)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        try:
            while data := client.recv(1 << 16):
                said += data
        except (TimeoutError, ConnectionError):
            return None
    lines = [line.rpartition(b" ") for line in said.split(b"\n")]
    events = sum(float(number) for name, _, number in lines if name.startswith(b"sseproxy_events_total{"))
    up = sum(float(number) for name, _, number in lines if name.startswith(b"sseproxy_worker_up{"))
    return events, up
