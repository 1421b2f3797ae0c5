"""Does the probe find the fault of a chain whose fault is known, and nothing wrong with one that has none?

Each chain has the origin of `sseproxy probe --serve` behind it, and is made of real programs where these install.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from sseproxy.demo.sidecar import sidecar
from sseproxy.probe.command import probe
from sseproxy.probe.cures import Fault
from sseproxy.probe.diagnosis import Finding
from sseproxy.probe.origin import serving
from sseproxy.probe.report import Report
from sseproxy.probe.target import read_target
from tests.support.gateways import caddy, capped, deaf, haproxy, impatient, nginx_chain

# As short as the probe measures at all, and long enough for what ends after a while.
_TOTAL, _LONGER = 2.0, 3.0
_HTTP11 = 'proxy_http_version 1.1; proxy_set_header Connection "";'
_GZIP = "gzip on; gzip_types text/event-stream; gzip_proxied any;"

Chain = Callable[[int], AbstractAsyncContextManager[int]]


async def examined(chain: Chain, path: str = "/", total: float = _TOTAL) -> Report:
    async with (
        serving("127.0.0.1", 0, lambda _: None) as url,
        chain(int(url.rpartition(":")[2])) as port,
    ):
        return await probe(read_target(f"http://127.0.0.1:{port}{path}"), total)


@contextlib.asynccontextmanager
async def nothing(port: int) -> AsyncIterator[int]:
    yield port


@contextlib.asynccontextmanager
async def cured(port: int) -> AsyncIterator[int]:
    """An impatient gateway with sseproxy behind it."""
    flags = [f"--upstream=http://127.0.0.1:{port}", "--heartbeat=300ms", "--before-response=300ms", "--no-access-log"]
    async with sidecar(flags) as kept, impatient(kept, 1.5) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def compressed_in_front(port: int) -> AsyncIterator[int]:
    """An nginx that compresses, one with the cure that the probe names, and sseproxy."""
    flags = [f"--upstream=http://127.0.0.1:{port}", "--no-access-log"]
    inner, outer = f"{_HTTP11} proxy_pass_header X-Accel-Buffering;", f"{_HTTP11} {_GZIP}"
    async with sidecar(flags) as kept, nginx_chain(kept, inner, outer) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def idle(port: int) -> AsyncIterator[int]:
    """A sseproxy that ends a stream whose service is silent, although it sends heartbeats itself."""
    flags = ["--heartbeat=300ms", "--before-response=300ms", "--idle-timeout=1500ms", "--no-access-log"]
    async with sidecar([f"--upstream=http://127.0.0.1:{port}", *flags]) as kept:
        yield kept


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param(nothing, id="nothing in front"),
        pytest.param(lambda port: nginx_chain(port, f"{_HTTP11} proxy_buffering off;"), id="nginx without buffering"),
        pytest.param(cured, id="an impatient gateway and sseproxy"),
        pytest.param(compressed_in_front, id="a compressing nginx, an nginx that passes the field on, and sseproxy"),
    ],
)
async def test_there_is_nothing_to_complain_of(chain: Chain) -> None:
    report = await examined(chain)
    assert report.findings == (), report.text
    assert report.text.endswith("Nothing to complain of.")
    assert report.facts["ok"] is True
    assert report.facts["chain"]["cut_before_head"] is None
    assert report.facts["chain"]["cut_after_head"] is None
    assert report.facts["chain"]["disconnect_after_head"]["noticed_after"] < 1.5


@pytest.mark.parametrize(
    ("chain", "fault", "directive", "says"),
    [
        pytest.param(
            lambda port: nginx_chain(port, _HTTP11),
            Fault.HEAD_HELD,
            "nginx: proxy_buffering off",
            "in the response cure it",
            id="nginx buffering",
        ),
        pytest.param(
            lambda port: nginx_chain(port, f"{_HTTP11} {_GZIP}"),
            Fault.COMPRESSED,
            "nginx: gzip off",
            "in the response cure it",
            id="nginx gzip",
        ),
        pytest.param(
            lambda port: nginx_chain(port, "proxy_http_version 1.0; proxy_buffering off;"),
            Fault.HTTP10,
            "nginx: proxy_http_version 1.1",
            "an answer that breaks off looks like one that is whole",
            id="nginx HTTP/1.0",
        ),
        pytest.param(
            lambda port: nginx_chain(port, _HTTP11, _HTTP11),
            Fault.HEAD_HELD,
            "proxy_pass_header X-Accel-Buffering",
            "in the response do not cure it",
            id="two nginx in a row",
        ),
        pytest.param(
            lambda port: nginx_chain(port, _HTTP11, f"{_HTTP11} {_GZIP}"),
            Fault.COMPRESSED,
            "of two nginx in a row the inner one needs proxy_pass_header X-Accel-Buffering;",
            "in the response do not cure it",
            id="a compressing nginx in front of another",
        ),
        pytest.param(
            lambda port: nginx_chain(port, "proxy_ignore_headers X-Accel-Buffering;"),
            Fault.LUMPS,
            "take out proxy_ignore_headers X-Accel-Buffering",
            "in the response do not cure it",
            id="nginx that ignores the field",
        ),
        pytest.param(
            haproxy, Fault.DELAYED, "HAProxy: option http-no-delay", "0.2", id="HAProxy without http-no-delay"
        ),
        pytest.param(
            lambda port: caddy(port, site="encode gzip"),
            Fault.HEAD_HELD,
            "Caddy: @plain not header Accept text/event-stream",
            "do not cure it",
            id="Caddy encode",
        ),
        pytest.param(
            lambda port: caddy(port, proxy="flush_interval -1"),
            Fault.DISCONNECT_WHEN_WRITING,
            "Caddy: no flush_interval -1",
            "if it writes meanwhile",
            id="Caddy flush_interval -1",
        ),
        pytest.param(
            deaf, Fault.DISCONNECT_LOST, "proxy_ignore_client_abort off", "does not hear", id="no disconnects"
        ),
        pytest.param(
            lambda port: capped(port, 2.0),
            Fault.LIFETIME,
            "Envoy: timeout: 0s",
            "although it was not silent",
            id="a limit of the whole",
        ),
    ],
)
async def test_the_fault_and_its_cure_are_named(chain: Chain, fault: Fault, directive: str, says: str) -> None:
    report = await examined(chain, total=_LONGER if fault is Fault.LIFETIME else _TOTAL)
    finding = found(report, fault)
    assert says in finding.what
    assert any(directive in str(cure) for cure in finding.cures), report.text


async def test_haproxy_with_http_no_delay_delays_nothing() -> None:
    report = await examined(lambda port: haproxy(port, "option http-no-delay"))
    assert [finding.fault for finding in report.findings] == [Fault.DISCONNECT_WHEN_WRITING], report.text


async def test_what_cures_caddy_is_true() -> None:
    report = await examined(
        lambda port: caddy(port, site="@plain not header Accept text/event-stream\nencode @plain gzip")
    )
    assert [finding.fault for finding in report.findings if finding.fault is Fault.HEAD_HELD] == []


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param(lambda port: impatient(port, 1.5), id="a stand-in"),
        pytest.param(
            lambda port: nginx_chain(port, f"{_HTTP11} proxy_buffering off; proxy_read_timeout 1500ms;"), id="nginx"
        ),
    ],
)
async def test_a_limit_of_silence_is_measured_before_and_behind_the_head(chain: Chain) -> None:
    report = await examined(chain, total=_LONGER)
    assert {finding.fault for finding in report.findings} == {Fault.CUT_BEFORE_HEAD, Fault.CUT_AFTER_HEAD}
    assert "504" in found(report, Fault.CUT_BEFORE_HEAD).what
    assert "broke off" in found(report, Fault.CUT_AFTER_HEAD).what
    measured = report.facts["chain"]
    # Not below, and above only by what a busy machine takes.
    assert 1.4 <= measured["cut_before_head"] < 2.9
    assert 1.4 <= measured["cut_after_head"] < 2.9
    cures = [str(cure) for cure in found(report, Fault.CUT_AFTER_HEAD).cures]
    assert any(cure.startswith("nginx: proxy_read_timeout") for cure in cures)
    assert any("sseproxy" in cure for cure in cures)


@pytest.mark.parametrize(
    "directives",
    [
        pytest.param("", id="buffered, HTTP/1.0"),
        pytest.param(_GZIP, id="compressed, HTTP/1.0"),
        pytest.param(f"{_HTTP11} {_GZIP}", id="compressed, HTTP/1.1"),
    ],
)
async def test_a_limit_of_silence_counts_from_the_event_that_a_hop_held_back(directives: str) -> None:
    report = await examined(lambda port: nginx_chain(port, f"{directives} proxy_read_timeout 1500ms;"), total=_LONGER)
    assert 1.4 <= report.facts["chain"]["cut_after_head"] < 2.9
    assert Fault.LIFETIME not in {finding.fault for finding in report.findings}
    cut = found(report, Fault.CUT_AFTER_HEAD)
    (interval,) = re.findall(r"heartbeat\.interval below ([\d.]+)s", "\n".join(map(str, cut.cures)))
    assert 0.4 <= float(interval) < 1.0


async def test_no_heartbeat_is_recommended_where_heartbeats_came_and_did_not_help() -> None:
    report = await examined(idle, total=_LONGER)
    # Its error event is the end; the broken connection follows a second later.
    assert report.chain is not None
    assert 1.4 <= report.facts["chain"]["cut_after_head"] < report.chain.after.seconds - 0.5
    cut = found(report, Fault.CUT_AFTER_HEAD)
    assert "although heartbeats came" in cut.what
    assert "timeouts.idle" in str(cut.cures[0])
    assert not any("heartbeat.interval" in str(cure) for cure in cut.cures)


async def test_a_limit_that_is_shorter_than_any_measurement() -> None:
    report = await examined(lambda port: impatient(port, 0.4))
    assert {Fault.CUT_BEFORE_HEAD, Fault.CUT_AFTER_HEAD} <= {finding.fault for finding in report.findings}
    assert report.facts["chain"]["disconnect_after_head"] is None
    assert "not measured" in report.text


async def test_hops_that_show_come_first_and_a_query_is_not_repeated() -> None:
    report = await examined(lambda port: nginx_chain(port, _HTTP11), "/v1/events?key=sk-secret")
    assert [str(seen.hop) for seen in report.hops] == ["nginx"]
    cures = found(report, Fault.HEAD_HELD).cures
    assert cures[0].is_seen
    assert not any(cure.is_seen for cure in cures[1:])
    assert report.url.endswith("/v1/events")
    assert "sk-secret" not in report.text + str(report.facts)


def found(report: Report, fault: Fault) -> Finding:
    """The finding of that fault. AssertionError: there is none."""
    for finding in report.findings:
        if finding.fault is fault:
            return finding
    raise AssertionError(f"{fault} was not found:\n{report.text}")
