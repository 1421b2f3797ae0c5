"""Does each request become a span, does the upstream hear of it, and does no request wait for the collector?"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.otlp_collector import Collector, Received
from tests.support.patience import LIMIT
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=x"}
STREAM = {"Accept": "text/event-stream"}
SECRET = "hunter2"


@contextlib.contextmanager
def traced(
    folder: Path, upstream: HandUpstream, environment: Mapping[str, str], *, traces: bool = True, workers: int = 1
) -> Iterator[SseproxyProcess]:
    """A proxy; /down leads to a service that is not there."""
    routes = [
        {"name": "down", "match": {"prefix": "/down"}, "upstream": "http://127.0.0.1:9"},
        {"name": "chat", "upstream": upstream.url, "dialect": "generic"},
    ]
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": workers},
        "telemetry": {"traces": traces},
        "routes": routes,
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with SseproxyProcess("-c", str(folder / "c.yaml"), environment=environment) as process:
        yield process


def answered(process: SseproxyProcess, upstream: HandUpstream, target: str, headers: Mapping[str, str]) -> Call:
    """One request with a short stream for an answer; returns what the upstream got."""
    with Request(process.url, target, headers={**STREAM, **headers}) as request, upstream.accept() as call:
        call.begin()
        call.send(b"data: 1\n\ndata: 2\n\n")
        request.wait_for(b"data: 2\n\n")
        call.finish()
        request.read()
    return call


def test_a_span_says_what_the_log_says_and_the_upstream_is_its_child(tmp_path: Path) -> None:
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment) as proxy,
    ):
        fields = {**TRACED, "Host": "api.test:8443", "X-Request-Id": "abc-1", "Authorization": SECRET, "Cookie": SECRET}
        call = answered(proxy, upstream, f"/v1/chat?key={SECRET}", fields)
        [span] = collector.wait_for(lambda spans: len(spans) == 1)
        lines = proxy.stdout.wait_for(lambda lines: any("request_id=abc-1" in line for line in lines))
        [line] = [line for line in lines if "request_id=abc-1" in line]
    assert (span.name, span.trace, span.parent, span.is_error) == ("GET chat", TRACE, PARENT, False)
    assert call.fields[b"traceparent"] == f"00-{TRACE}-{span.id}-01".encode()
    assert call.fields[b"tracestate"] == b"vendor=x"
    assert [call.head.lower().count(name) for name in (b"\r\ntraceparent:", b"\r\ntracestate:")] == [1, 1]
    assert f" trace_id={TRACE} " in line
    assert SECRET not in str(span) + proxy.stderr.text
    seconds = span.attributes.pop("sseproxy.longest_silence")
    assert isinstance(seconds, float)
    assert span.attributes == {
        "http.request.method": "GET",
        "url.path": "/v1/chat",
        "url.scheme": "http",
        "server.address": "api.test",
        "server.port": 8443,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "http.response.status_code": 200,
        "sseproxy.route": "chat",
        "sseproxy.upstream": upstream.url.removeprefix("http://"),
        "sseproxy.reason": "upstream_end",
        "sseproxy.request_id": "abc-1",
        "sseproxy.declared": "yes",
        "sseproxy.events": 2,
        "sseproxy.bytes": 18,
        "sseproxy.heartbeats": 0,
    }
    assert span.began_at <= span.events["sseproxy.first_byte"] <= span.ended_at
    assert span.resource["service.name"] == "sseproxy"


def test_a_client_without_a_trace_begins_one(tmp_path: Path) -> None:
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment) as proxy,
    ):
        for number, said in enumerate(
            ({}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}), 1
        ):
            call = answered(proxy, upstream, "/", said)
            span = collector.wait_for(lambda spans, number=number: len(spans) == number)[-1]  # type: ignore[misc]
            assert span.parent == ""
            version, trace, parent, flags = call.fields[b"traceparent"].decode().split("-")
            assert (version, trace, parent) == ("00", span.trace, span.id)
            assert int(flags, 16) & 1, "it is sampled"


def test_a_fault_is_one(tmp_path: Path) -> None:
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment) as proxy,
    ):
        assert fetch(proxy.url, "/down").status == 502
        with Request(proxy.url, "/", headers=STREAM) as request, upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\n")
            request.wait_for(b"data: 1\n\n")
            call.connection.close()
            with pytest.raises(Exception, match=r"IncompleteRead|reset"):
                request.read()
        refused, broken = collector.wait_for(lambda spans: len(spans) == 2)
    assert (refused.name, refused.is_error, refused.attributes["error.type"]) == ("GET down", True, "connect_error")
    assert refused.attributes["http.response.status_code"] == 502
    assert "connect" in refused.message
    assert (broken.is_error, broken.attributes["error.type"]) == (True, "upstream_error")
    assert broken.attributes["http.response.status_code"] == 200


def test_no_request_costs_the_spans_of_others(tmp_path: Path) -> None:
    """What clients write may be nothing that OTLP can hold."""
    strange = b"GET /< HTTP/1.1\r\nHost: a\r\n\r\n"
    with Collector() as collector, HandUpstream() as upstream:
        late = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}  # all in one batch
        with traced(tmp_path, upstream, late) as proxy:
            answered(proxy, upstream, "/", {"Host": "a:" + "9" * 40})
            with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=LIMIT) as client:
                client.sendall(strange)
                assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
            assert proxy.stop() == 0
        assert [span.attributes.get("http.response.status_code") for span in collector.spans] == [200, 400]
        assert "Failed" not in proxy.stderr.text


def test_switched_off_the_trace_goes_on_as_it_came(tmp_path: Path) -> None:
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment, traces=False) as proxy,
    ):
        call = answered(proxy, upstream, "/", TRACED)
        assert call.fields[b"traceparent"] == TRACED["traceparent"].encode()
        assert call.fields[b"tracestate"] == b"vendor=x"
        assert proxy.stop() == 0
        assert "trace_id" not in proxy.stdout.text
        assert collector.spans == []


@pytest.mark.parametrize(
    ("variables", "sent", "flags"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0, b"00"),
        ({"OTEL_SDK_DISABLED": "true"}, 0, b"01"),
        ({"OTEL_SERVICE_NAME": "mine"}, 1, b"01"),
    ],
)
def test_what_the_variables_of_the_sdk_say_holds(
    tmp_path: Path, variables: Mapping[str, str], sent: int, flags: bytes
) -> None:
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, {**collector.environment, **variables}) as proxy,
    ):
        call = answered(proxy, upstream, "/", TRACED)
        version, trace, parent, sampled = call.fields[b"traceparent"].split(b"-")
        assert (version, trace, sampled) == (b"00", TRACE.encode(), flags)
        assert (parent == PARENT.encode()) is ("OTEL_SDK_DISABLED" in variables)
        assert proxy.stop() == 0
    assert [span.resource["service.name"] for span in collector.spans] == ["mine"] * sent


def test_each_worker_sends_its_own(tmp_path: Path) -> None:
    count = 20
    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment, workers=2) as proxy,
    ):
        for _ in range(count):
            answered(proxy, upstream, "/", {})
        assert proxy.stop() == 0
        spans = collector.wait_for(lambda spans: len(spans) == count)
        log = proxy.stdout.text
    assert len({span.id for span in spans}) == count
    # Ids of requests begin with what is a worker's own.
    ids = [str(span.attributes["sseproxy.request_id"]) for span in spans]
    assert len({name.partition("-")[0] for name in ids}) == 2
    assert all(f"request_id={name} trace_id={span.trace} " in log for name, span in zip(ids, spans, strict=True))


def test_the_last_spans_are_sent_at_the_end(tmp_path: Path) -> None:
    with Collector() as collector, HandUpstream() as upstream:
        late = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with traced(tmp_path, upstream, late) as proxy:
            answered(proxy, upstream, "/", {})
            assert collector.spans == []
            assert proxy.stop() == 0
        assert len(collector.spans) == 1


def test_a_collector_that_hangs_holds_up_no_request_and_no_end(tmp_path: Path) -> None:
    with Collector() as collector, HandUpstream() as upstream:
        collector.gate.clear()
        small = {**collector.environment, "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
        with traced(tmp_path, upstream, small) as proxy:
            for _ in range(40):
                assert fetch(proxy.url, "/down").status == 502
            assert proxy.stop(limit=30) == 0
            said = proxy.stderr.text
        assert "the last spans were not taken within 3 s, and are lost" in said
        assert said.count("Queue full") == 1
        assert collector.spans == []


def test_a_collector_that_is_away_is_complained_of_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder, HandUpstream() as upstream:
        port = placeholder.getsockname()[1]
        placeholder.close()
        away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "20"}
        with traced(tmp_path, upstream, {**away, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}) as proxy:
            for _ in range(3):
                answered(proxy, upstream, "/", {})
                proxy.stderr.wait_for(lambda lines: any("Failed to export" in line for line in lines))
            assert proxy.stop() == 0
            for complaint in ("Failed to export spans batch code", "Failed to export spans batch due"):
                assert proxy.stderr.text.count(complaint) <= 1


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_SCHEDULE_DELAY"])
def test_a_variable_that_makes_no_sense_costs_no_request(tmp_path: Path, variable: str) -> None:
    with HandUpstream() as upstream, traced(tmp_path, upstream, {variable: "soon"}) as proxy:
        answered(proxy, upstream, "/", {})
        assert proxy.stop(limit=60) == 0
    lines = [line for line in proxy.stderr.lines if re.search(r"\b(ERROR|WARNING)\b", line)]
    assert any("soon" in line or variable in line for line in lines), lines


_WITHOUT = "import sys; sys.modules['opentelemetry.sdk'] = None; from sseproxy.cli import main; sys.exit(main())"


def test_without_the_extra_check_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("telemetry:\n  traces: true\nroutes:\n  - upstream: http://127.0.0.1:9\n")
    for command in ("check", "serve"):
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT, command, "-c", str(tmp_path / "c.yaml")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert "c.yaml:2:11: telemetry.traces: needs the Python packages opentelemetry-sdk and" in said
        assert "pip install 'sseproxy[otel]'" in said
        assert "Traceback" not in said


def test_times_are_those_of_the_request(tmp_path: Path) -> None:
    """A span begins with its request and ends with its response, not when it is sent."""

    def of(span: Received) -> float:
        return (span.ended_at - span.began_at) / 1e9

    with (
        Collector() as collector,
        HandUpstream() as upstream,
        traced(tmp_path, upstream, collector.environment) as proxy,
    ):
        answered(proxy, upstream, "/", {})
        [span] = collector.wait_for(lambda spans: len(spans) == 1)
        [line] = proxy.stdout.wait_for(lambda lines: len(lines) == 1)
        found = re.search(r" seconds=([\d.]+)", line)
        assert found is not None
        assert of(span) == pytest.approx(float(found[1]), abs=0.001)
