"""Is each end of a stream counted for its reason, and does the access log name the same one?

With a table of all reasons: one that is added without a scene here fails.
"""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sseproxy.core.stream.transfer import CloseReason
from tests.support.blocking_client import Request
from tests.support.blocking_peer import CHUNKED_STREAM, LAST_CHUNK, chunk
from tests.support.fault_stand import Stand, standing
from tests.support.scrape import end_stream, scrape, streams, value, wait_until
from tests.support.unreachable import Unreachable

EVENT = b"data: one\n\n"
STREAM = ["Accept: text/event-stream"]
BROWSER = [*STREAM, "Cache-Control: no-cache"]

#: Fails on what a service may send, as a fault of sseproxy's own would.
DEFECT = """
from sseproxy.core.stream.session import StreamSession

_forward = StreamSession.forward

def forward(self, data, now, **options):
    if b"defect" in data:
        raise RuntimeError("a defect")
    return _forward(self, data, now, **options)

StreamSession.forward = forward
"""

ROUTES = """
plain
idle     timeouts: {idle: 100ms}
max      timeouts: {max_duration: 100ms}
stall    timeouts: {write: 500ms}
late     timeouts: {response: 300ms} | heartbeat: {before_response: 20ms, interval: 20ms}
silent   upstream: SILENT | timeouts: {connect: 300ms} | heartbeat: {before_response: 20ms, interval: 20ms}
tickets  tickets: {path: /_tickets}
"""


def upstream_end(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("plain"), EVENT)
    upstream.send(LAST_CHUNK)
    client.read_body()


def upstream_error(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("plain"), EVENT)
    upstream.reset()
    client.read_body()


def internal_error(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("plain"), EVENT)
    upstream.send_events(b"data: defect\n\n")
    client.read_body()


def idle_timeout(stand: Stand) -> None:
    client, _ = stand.stream(stand.path("idle"), EVENT)
    client.read_body()


def max_duration(stand: Stand) -> None:
    client, _ = stand.stream(stand.path("max"), EVENT)
    client.read_body()


def response_timeout(stand: Stand) -> None:
    client, _ = stand.ask(stand.path("late"), headers=STREAM)
    client.read_head()
    client.read_body()


def connect_error(stand: Stand) -> None:
    client = stand.client()
    client.ask(stand.path("silent"), headers=STREAM)
    client.read_head()
    client.read_body()


def client_gone(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("plain"), EVENT)
    client.close()
    upstream.read_to_end()


def client_error(stand: Stand) -> None:
    """Its request is still under way when the stream begins, and then breaks off."""
    client = stand.client()
    head = f"POST {stand.path('plain')} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head.encode() + chunk(b"x"))
    upstream = stand.upstream.accept()
    upstream.send(CHUNKED_STREAM + chunk(EVENT))
    client.read_until(EVENT)
    client.send(b"no length\r\n")
    client.read_to_end()


def client_stalled(stand: Stand) -> None:
    client, upstream = stand.ask(stand.path("stall"), receive_buffer=4096)
    upstream.send(CHUNKED_STREAM)
    upstream.send_until_stuck(chunk(b"data: " + b"x" * 1000 + b"\n\n"))
    upstream.read_to_end()
    client.close()


def killed(stand: Stand) -> None:
    client, _ = stand.stream(stand.path("plain"), EVENT)
    [row] = streams(stand.proxy.urls[-1])
    assert end_stream(stand.proxy.urls[-1], row["id"]) == 204
    client.read_body()


def stopped(stand: Stand) -> None:
    """The ticket of the stream is deleted."""
    with Request(stand.proxy.url, f"/_tickets{stand.path('tickets')}", method="POST", body=b"x") as request:
        ticket = json.loads(request.read())["url"]
    client = stand.client()
    client.ask(ticket, headers=STREAM)
    upstream = stand.upstream.accept()
    upstream.send(CHUNKED_STREAM + chunk(EVENT))
    client.read_until(EVENT)
    with Request(stand.proxy.url, ticket, method="DELETE") as request:
        assert request.status == 204
    client.read_until(LAST_CHUNK)


#: How each reason comes about.
SCENES: dict[CloseReason, Callable[[Stand], None]] = {
    CloseReason.UPSTREAM_END: upstream_end,
    CloseReason.UPSTREAM_ERROR: upstream_error,
    CloseReason.INTERNAL_ERROR: internal_error,
    CloseReason.IDLE_TIMEOUT: idle_timeout,
    CloseReason.MAX_DURATION: max_duration,
    CloseReason.RESPONSE_TIMEOUT: response_timeout,
    CloseReason.CONNECT_ERROR: connect_error,
    CloseReason.CLIENT_GONE: client_gone,
    CloseReason.CLIENT_ERROR: client_error,
    CloseReason.CLIENT_STALLED: client_stalled,
    CloseReason.KILLED: killed,
    CloseReason.STOPPED: stopped,
}

#: Those that have a test of their own, and where.
ELSEWHERE = {
    CloseReason.DRAIN: "below",
    CloseReason.BEHIND: "test_redis_metrics.py",
    CloseReason.SUPERSEDED: "test_journal_metrics.py: of a run, since no reader is left",
    CloseReason.ABANDONED: "test_journal_metrics.py: likewise",
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Unreachable() as unreachable:
        routes = ROUTES.replace("SILENT", unreachable.silent_url)
        with standing(routes, tmp_path_factory.mktemp("reasons"), defects=DEFECT) as stand:
            yield stand


def counted(admin: str) -> Counter[str]:
    """How many streams have ended, by reason."""
    ended = (
        (dict(labels), number) for (name, labels), number in scrape(admin).items() if name.endswith("streams_total")
    )
    found: Counter[str] = Counter()
    for labels, number in ended:
        if "reason" in labels:
            found[labels["reason"]] += int(number)
    return found


def test_each_reason_has_its_scene() -> None:
    assert SCENES.keys() | ELSEWHERE.keys() == set(CloseReason)


@pytest.mark.parametrize("reason", SCENES, ids=lambda reason: reason.value)
def test_an_end_is_counted_once_and_for_its_reason(stand: Stand, reason: CloseReason) -> None:
    admin = stand.proxy.urls[-1]
    before, logged = counted(admin), len(stand.proxy.stdout.lines)
    SCENES[reason](stand)
    wait_until(lambda: counted(admin).total() > before.total(), f"the end of {reason} is counted")
    assert counted(admin) - before == {reason.value: 1}
    # A ticket has lines of its own; and a line may come later than the figures.
    wait_until(
        lambda: f'"reason": "{reason.value}"' in "\n".join(stand.proxy.stdout.lines[logged:]), f"{reason} is logged"
    )


def test_the_log_and_the_metrics_agree(stand: Stand) -> None:
    """Comes behind the tests above."""
    counts = counted(stand.proxy.urls[-1])

    def logged(lines: list[str]) -> Counter[str]:
        return Counter(line["reason"] for line in map(json.loads, lines) if "events" in line)

    stand.proxy.stdout.wait_for(lambda lines: logged(lines).total() >= counts.total())  # they come a little later
    assert counts == logged(stand.proxy.stdout.lines)


def test_a_drain_shows_in_the_phase_of_what_goes_on_and_in_the_reason_of_what_has_ended(tmp_path: Path) -> None:
    with standing("plain", tmp_path, drain="{timeout: 30s, spread: off}") as stand:
        admin = stand.proxy.urls[-1]
        answer, answering = stand.stream(stand.path("plain"), EVENT)
        feed, _ = stand.stream(stand.path("plain"), EVENT, headers=BROWSER)
        assert value(admin, "sseproxy_streams_open", phase="open") == 2
        assert value(admin, "sseproxy_streams_open", phase="draining") == 0
        stand.proxy.send_signal(signal.SIGTERM)
        assert feed.read_body().is_whole
        wait_until(lambda: value(admin, "sseproxy_streams_total", reason="drain") == 1, "the feed is counted")
        assert value(admin, "sseproxy_streams_open", phase="draining") == 1
        assert value(admin, "sseproxy_streams_open") == 1
        answering.send(LAST_CHUNK)
        assert answer.read_body().is_whole
        assert stand.proxy.wait() == 0
