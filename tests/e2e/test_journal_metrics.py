"""Does each metric of runs move when what it counts has happened, in a whole process, and does the log agree?"""

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.run import RunPhase
from sseproxy.metrics.table import METRICS
from sseproxy.runs.counts import Without
from sseproxy.runs.findings import How
from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.scrape import Watched, end_stream, wait_until
from tests.support.sseproxy_process import SseproxyProcess

TAKES_IDS = {"Accept": "text/event-stream"}
BROWSER = {**TAKES_IDS, "Cache-Control": "no-cache"}
COOKIE = {"Cookie": "s=topsecret"}

ROUTES = """\
  - {name: chat, match: {path: /chat}, upstream: URL, journal: {kind: answer, key: 'query:c', login: 'cookie:s',
     resume: {path: '/chat/{key}/stream'}}, limits: {detached: 1}}
  - {name: once, match: {path: /once}, upstream: URL, journal: {kind: answer}}
  - {name: off, match: {path: /off}, upstream: URL, journal: {kind: answer, login: 'cookie:s', detach: off}}
  - {name: idle, match: {path: /idle}, upstream: URL, timeouts: {idle: 1s}, journal: {kind: answer}}
  - {name: feed, match: {path: /feed}, upstream: URL, journal: {kind: feed, login: anyone, detach: off,
     keep: {events: 2}}}
  - {name: short, match: {path: /short}, upstream: URL, journal: {kind: feed, login: anyone, detach: off,
     keep: {age: 300ms}}}
"""

#: With so little memory that there is room for a few runs only.
SMALL = "  - {name: once, match: {path: /once}, upstream: URL, journal: {kind: answer, keep: {bytes: 16KiB}}}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping(Watched):
    upstream: HandUpstream

    def count(self, name: str, **labels: str) -> float:
        """Of the figures of runs."""
        return Watched.value(self, f"journal_{name}", **labels)

    def until(self, wanted: float, name: str, **labels: str) -> None:
        """Wait until that is `wanted`."""
        self.wait_for(wanted, f"journal_{name}", **labels)

    def client(self, target: str, method: str = "GET", **fields: str) -> Request:
        body = b"{}" if method == "POST" else None
        return Request(self.proxy.url, target, method=method, body=body, headers=TAKES_IDS | fields)

    @contextlib.contextmanager
    def run(self, target: str, method: str = "POST", **fields: str) -> Iterator[tuple[Request, Call]]:
        """A client that has made a run, which has one event."""
        with self.client(target, method, **fields) as client, self.upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\n")
            client.wait_for(b"data: 1\n\n")
            yield client, call

    def runs(self) -> list[dict[str, Any]]:
        """The rows of the live list."""
        rows: list[dict[str, Any]] = json.loads(fetch(self.admin, "/streams").body)["runs"]
        return rows

    def row(self, **wanted: object) -> dict[str, Any]:
        """The only row with these values."""
        (found,) = (row for row in self.runs() if wanted.items() <= row.items())
        return found

    def log(self, **wanted: object) -> Mapping[str, Any]:
        """The last line of the log with these values, once there is one."""

        def found(lines: list[str]) -> list[dict[str, Any]]:
            return [line for line in map(json.loads, lines) if wanted.items() <= line.items()]

        return found(self.proxy.stdout.wait_for(lambda lines: bool(found(lines))))[-1]


@contextlib.contextmanager
def keeping(folder: Path, routes: str = ROUTES, *, store: str = "{}", form: str = "json") -> Iterator[Keeping]:
    with HandUpstream() as upstream:
        config = f"""\
server: {{listen: '127.0.0.1:0', drain: {{timeout: 10s, spread: off}}}}
admin: {{listen: '127.0.0.1:0'}}
log: {{format: {form}}}
store: {store}
defaults: {{heartbeat: {{interval: off}}, timeouts: {{write: off}}}}
routes:
{routes.replace("URL", upstream.url)}"""
        (folder / "c.yaml").write_text(config)
        with SseproxyProcess("-c", str(folder / "c.yaml")) as proxy:
            yield Keeping(proxy=proxy, upstream=upstream)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    """Tests come in their order: counters only grow."""
    with keeping(tmp_path_factory.mktemp("runs")) as stand:
        yield stand


def test_all_that_may_happen_is_there_from_the_start(stand: Keeping) -> None:
    stand.until(0, "runs")
    seen = stand.seen
    assert seen.values("sseproxy_journal_runs", "state", at_rest=True) == {
        phase.value for phase in RunPhase if phase is not RunPhase.REFUSED
    }
    assert seen.values("sseproxy_journal_attached_total", "how", at_rest=True) == set(How)
    assert seen.values("sseproxy_journal_unjournalled_total", "why", at_rest=True) == set(Without)
    assert seen.values("sseproxy_journal_gaps_total", "reason", at_rest=True) == set(GapReason)
    assert seen.values("sseproxy_journal_runs_total", "route", at_rest=True) == {
        "chat", "once", "off", "idle", "feed", "short",
    }  # fmt: skip


def test_a_run_from_its_beginning_to_its_end(stand: Keeping) -> None:
    before = stand.count("bytes")
    with stand.client("/chat?c=private", "POST", **COOKIE) as client, stand.upstream.accept() as call:
        stand.until(1, "runs", route="chat", state="opening")
        call.begin()
        call.send(b"data: 1\n\n")
        client.wait_for(b"data: 1\n\n")
        stand.until(1, "runs", route="chat", state="open")
        stand.until(1, "attached_total", route="chat", how="new")
        assert stand.count("bytes") > before
        with stand.client("/chat/private/stream", **COOKIE) as other:
            other.wait_for(b"data: 1\n\n")
            stand.until(1, "attached_total", route="chat", how="joined")
            row = stand.row(route="chat")
            assert (row["kind"], row["state"], row["readers"], row["events"], row["bytes"]) == (
                "answer", "open", 2, 1, 9,
            )  # fmt: skip
            assert row["unread"] is row["reason"] is None
            assert 0 <= row["silence"] == row["last_upstream_byte"] <= row["age"]
            call.finish()
            assert other.read().endswith(b"data: 1\n\n")
        assert client.read().endswith(b"data: 1\n\n")
    stand.until(1, "runs_total", route="chat", reason="upstream_end")
    stand.until(1, "runs", route="chat", state="ended")
    line = stand.log(message="run", route="chat")
    wanted = {"reason": "upstream_end", "events": 1, "bytes": 9, "readers": 2, "unread": 0, "run": line["run"]}
    assert wanted.items() <= line.items()
    assert line["seconds"] >= 0
    assert stand.log(path="/chat", run=line["run"])["journal"] == "new"
    reader = stand.log(path="/chat/-/stream", run=line["run"])
    assert (reader["journal"], reader["seq"]) == ("joined", "1..1")


def test_a_run_that_goes_on_without_a_reader(stand: Keeping) -> None:
    with stand.run("/chat?c=left", **COOKIE) as (client, call):
        client.close()
        wait_until(lambda: stand.row(route="chat", state="open")["unread"] is not None, "the client is seen to leave")
        assert stand.row(route="chat", state="open")["readers"] == 0
        moved = stand.count("detached_seconds_total", route="chat")
        wait_until(lambda: stand.count("detached_seconds_total", route="chat") > moved, "it goes on counting")
        call.send(b"data: 2\n\n")
        with stand.client("/chat/left/stream", **COOKIE) as back:
            back.wait_for(b"data: 2\n\n")
            assert stand.row(route="chat", state="open")["unread"] is None
            held = stand.count("detached_seconds_total", route="chat")
            assert stand.count("detached_seconds_total", route="chat") == held
            call.finish()
            back.read()
    line = stand.log(message="run", route="chat", events=2)
    assert line["unread"] > 0
    assert (line["readers"], line["reason"]) == (2, "upstream_end")


def test_a_client_that_resumes(stand: Keeping) -> None:
    with stand.run("/once") as (client, call):
        call.send(b"data: 2\n\n")
        client.wait_for(b"data: 2\n\n")
        position = client.body.split(b"id: ")[1].split(b"\n")[0].decode()
        with stand.client("/once", "POST", **{"Last-Event-ID": position}) as back:
            back.wait_for(b"data: 2\n\n")
            assert b"data: 1" not in back.body
            stand.until(1, "attached_total", route="once", how="resumed")
            call.finish()
            back.read()
        client.read()
    line = stand.log(path="/once", journal="resumed")
    assert line["seq"] == "2..2"
    text = "\n".join(stand.proxy.stdout.lines)
    assert position.partition(".")[0] not in text


def test_an_operator_ends_a_run(stand: Keeping) -> None:
    with stand.run("/once") as (client, call):
        name = stand.row(route="once", state="open")["id"]
        assert end_stream(stand.admin, name) == 204
        with pytest.raises(Exception, match=r"IncompleteRead|reset"):
            client.read()
        assert b'"type": "killed"' in client.body
        call.wait_until_left()
        assert end_stream(stand.admin, name) == 404
    stand.until(1, "runs_total", route="once", reason="killed")
    stand.proxy.stderr.wait_for(lambda lines: any(f"an operator has ended the run {name}" in line for line in lines))


def test_each_reason_of_an_end_is_counted(stand: Keeping) -> None:
    with stand.run("/chat?c=stopped", **COOKIE) as (client, call):
        with stand.client("/chat/stopped/stream", "DELETE", **COOKIE) as request:
            assert request.status == 204
        call.wait_until_left()
        client.read()
    stand.until(1, "runs_total", route="chat", reason="stopped")
    with stand.run("/idle") as (client, call), pytest.raises(Exception, match=r"IncompleteRead|reset"):
        client.read()
    stand.until(1, "runs_total", route="idle", reason="idle_timeout")
    with stand.run("/off", **COOKIE) as (client, call):
        client.close()
        call.wait_until_left()
    stand.until(1, "runs_total", route="off", reason="abandoned")
    with stand.run("/chat?c=two", **COOKIE) as (client, old):
        client.close()
        wait_until(lambda: stand.row(route="chat", state="open")["readers"] == 0, "the client is seen to leave")
        with stand.run("/chat?c=two", **COOKIE) as (client, call):
            old.wait_until_left()
            call.finish()
            client.read()
    stand.until(1, "runs_total", route="chat", reason="superseded")


def test_a_feed_reopens_sleeps_and_is_forgotten(stand: Keeping) -> None:
    with stand.run("/short", "GET", **BROWSER) as (client, call):
        call.finish()
        stand.until(1, "runs", route="short", state="reopening")
        client.close()
    stand.until(1, "runs_total", route="short", reason="abandoned")
    assert "asleep" in stand.seen.values("sseproxy_journal_runs", "state") or stand.count("runs", route="short") == 0


def test_gaps(stand: Keeping) -> None:
    with stand.run("/feed", "GET", **BROWSER) as (client, call):
        first = client.body.split(b"data: 1")[0].split(b"id: ")[-1].split(b"\n")[0].decode()
        for number in range(2, 6):
            call.send(b"data: %d\n\n" % number)
            client.wait_for(b"data: %d\n\n" % number)  # what comes at once is kept or dropped at once
        with stand.client("/feed", **BROWSER, **{"Last-Event-ID": first}) as late:
            late.wait_for(b"data: 5\n\n")
            stand.until(1, "gaps_total", reason="trimmed")
        unknown = "A" * 11 + ".1-3"
        with stand.client("/feed", **BROWSER, **{"Last-Event-ID": unknown}) as foreign:
            foreign.wait_for(b"data: 5\n\n")
            stand.until(1, "gaps_total", reason="unknown")
        call.finish()
        with stand.upstream.accept() as again:
            again.begin()
            again.send(b"data: 6\n\n")
            client.wait_for(b"data: 6\n\n")
            stand.until(1, "gaps_total", reason="upstream")
            client.close()
            stand.until(1, "runs", route="feed", state="asleep")


def test_requests_that_are_served_without_a_journal(stand: Keeping, tmp_path: Path) -> None:
    with stand.run("/off") as (client, call):  # no login
        call.finish()
        client.read()
    stand.until(1, "unjournalled_total", route="off", why="identity")
    with keeping(tmp_path, SMALL, store="{memory: 64KiB}") as small, contextlib.ExitStack() as stack:
        for number in range(1, 20):
            stack.enter_context(small.run("/once"))
            if small.count("unjournalled_total", route="once", why="memory"):
                assert number > 1
                assert small.count("bytes") <= small.count("bytes_limit") == 65536
                break
        else:
            pytest.fail("there is always room")


def test_nothing_is_named_that_leads_to_a_run(stand: Keeping) -> None:
    """Comes behind the tests above."""
    page = fetch(stand.admin, "/metrics").body + fetch(stand.admin, "/streams").body
    said = page.decode() + "\n".join([*stand.proxy.stdout.lines, *stand.proxy.stderr.lines])
    for secret in ("topsecret", "private", "left/stream", "AAAAAAAAAAA"):
        assert secret not in said


def test_a_drain(stand: Keeping) -> None:
    """The last one: requests find no journal any more, and answers that nobody reads are broken off."""
    with stand.run("/chat?c=drained", **COOKIE) as (client, call), stand.run("/once") as (reader, reading):
        client.close()
        wait_until(lambda: stand.row(route="chat", state="open")["readers"] == 0, "the client is seen to leave")
        stand.proxy.send_signal(signal.SIGTERM)
        wait_until(lambda: any("draining" in line for line in stand.proxy.stderr.lines), "it drains")
        reading.finish()
        reader.read()
        call.wait_until_left()
        assert stand.proxy.wait() == 0
    assert stand.log(message="run", route="chat", reason="drain")["events"] == 1
    assert stand.log(message="run", route="feed", reason="drain")["events"] == 6


def test_each_metric_of_runs_was_seen_to_move(stand: Keeping) -> None:
    """Comes behind the tests above."""
    names = {metric.name for metric in METRICS if metric.name.startswith("sseproxy_journal_")}
    assert names - stand.seen.names == set()


def test_the_line_of_a_run_as_text(tmp_path: Path) -> None:
    with keeping(tmp_path, form="text") as stand:
        with stand.run("/once") as (client, call):
            call.finish()
            client.read()
        [line] = stand.proxy.stdout.wait_for(lambda lines: any("run " in line for line in lines))[-1:]
        assert "run=1 reason=upstream_end" in "\n".join(stand.proxy.stdout.lines), line
