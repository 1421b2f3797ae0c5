"""Does the dashboard of a running process see all of its streams, and does its own stream hold where it should?"""

import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.many_streams import ManyStreams
from tests.support.scrape import end_stream
from tests.support.sseproxy_process import SseproxyProcess

STREAM = {"Accept": "text/event-stream"}


@contextlib.contextmanager
def proxy(folder: Path, upstream: str, *, workers: int = 1) -> Iterator[SseproxyProcess]:
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": workers, "drain": {"timeout": "4s"}},
        "admin": {"listen": "127.0.0.1:0"},
        "routes": [
            {"name": "down", "match": {"prefix": "/down"}, "upstream": "http://127.0.0.1:9"},
            {"name": "chat", "upstream": upstream, "heartbeat": {"interval": "15s"}, "timeouts": {"idle": "5m"}},
        ],
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with SseproxyProcess("-c", str(folder / "c.yaml")) as process:
        yield process


class Dashboard:
    """A dashboard without a screen."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._seen = 0

    def next(self) -> dict[str, Any]:
        """The next snapshot."""
        body = self._request.read_until(lambda body: body.find(b"\n\n", self._seen) >= 0)
        end = body.index(b"\n\n", self._seen) + 2
        event, self._seen = body[self._seen : end], end
        if not event.startswith(b"data: "):
            return self.next()
        snapshot: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
        return snapshot

    def wait_for(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next snapshot that fulfils `condition`. AssertionError: none of many does."""
        seen: dict[str, Any] = {}
        for _ in range(60):
            if condition(seen := self.next()):
                return seen
        raise AssertionError(seen)


@contextlib.contextmanager
def dashboard(process: SseproxyProcess, query: str = "") -> Iterator[Dashboard]:
    with Request(process.urls[-1], f"/events{query}", headers=STREAM) as request:
        assert request.status == 200
        yield Dashboard(request)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_sees_all_streams(tmp_path: Path, workers: int) -> None:
    with ManyStreams() as streams, proxy(tmp_path, streams.url, workers=workers) as process:
        with dashboard(process) as seen:
            empty = seen.next()
            assert (empty["total"]["open"], empty["rows"], empty["workers"]) == (0, [], workers)
            assert [route["route"] for route in empty["routes"]] == ["chat", "down"]
            streams.open(process.url, [f"/a/{number}" for number in range(20)])
            full = seen.wait_for(lambda seen: seen["total"]["open"] == 20)
            assert {row["path"] for row in full["rows"]} == {f"/a/{number}" for number in range(20)}
            assert len({row["id"].partition("-")[0] for row in full["rows"]}) == workers
            assert full["matched"] == 20
            row = full["rows"][0]
            assert (row["route"], row["peer"], row["phase"], row["events"]) == ("chat", "127.0.0.1", "open", 1)
            assert (row["heartbeat_interval"], row["silence_limit"]) == (15, 300)
            for _ in range(4):
                streams.send("/a/7")
            seen.wait_for(lambda seen: any(row["path"] == "/a/7" and row["events"] == 5 for row in seen["rows"]))
            assert end_stream(process.urls[-1], row["id"]) == 204
            assert fetch(process.url, "/down").status == 502
            after = seen.wait_for(lambda seen: seen["total"]["open"] == 19 and len(seen["ended"]) == 2)
            assert {reason: sum(counts) for reason, counts in after["ended"].items()} == {"killed": 1, "5xx": 1}
            assert row["id"] not in {row["id"] for row in after["rows"]}
            streams.leave()
            last = seen.wait_for(lambda seen: seen["total"]["open"] == 0)
            assert sum(last["ended"]["client_gone"]) == 19
            [chat] = [route for route in last["routes"] if route["route"] == "chat"]
            assert (chat["ended"], chat["broken"], chat["errors"]) == (20, 1, 0)
        with dashboard(process) as later:
            assert sum(later.next()["ended"]["client_gone"]) == 19, "what was before it was opened"


def test_a_filter_is_one_of_this_dashboard(tmp_path: Path) -> None:
    with ManyStreams() as streams, proxy(tmp_path, streams.url) as process:
        streams.open(process.url, [f"/a/{number}" for number in range(120)])
        with dashboard(process, "?filter=/a/7&order=age") as some, dashboard(process) as every:
            found = some.wait_for(lambda seen: seen["total"]["open"] == 120)
            assert {row["path"] for row in found["rows"]} == {"/a/7", *(f"/a/7{number}" for number in range(10))}
            assert found["matched"] == 11
            other = every.next()
            assert (other["matched"], len(other["rows"])) == (120, 50)


def test_the_page_and_who_may_open_it(tmp_path: Path) -> None:
    with proxy(tmp_path, "http://127.0.0.1:9") as process:
        admin = process.urls[-1]
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        page = fetch(admin, "/", headers=link)
        assert page.status == 200
        assert page.body.startswith(b"<!doctype html>")
        assert "frame-ancestors 'none'" in (page.field("Content-Security-Policy") or "")
        assert (page.field("Referrer-Policy"), page.field("X-Content-Type-Options")) == ("no-referrer", "nosniff")
        assert page.field("Cache-Control") == "no-store"
        assert fetch(admin, "/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status == 403
        assert fetch(admin, "/events", headers=link).status == 403
        assert fetch(admin, "/events", headers={"Sec-Fetch-Site": "same-site"}).status == 403
        assert fetch(admin, "/events", headers={"Origin": "http://127.0.0.1:1"}).status == 403
        assert fetch(admin, "/events", headers={"Host": "evil.example"}).status == 421
        with Request(admin, "/events", method="HEAD") as head:
            assert head.status == 405


def test_stuck_scrapers_do_not_end_a_dashboard(tmp_path: Path) -> None:
    with proxy(tmp_path, "http://127.0.0.1:9") as process, contextlib.ExitStack() as stuck, dashboard(process) as seen:
        seen.next()
        address = ("127.0.0.1", int(process.urls[-1].rpartition(":")[2]))
        for _ in range(50):
            client = stuck.enter_context(socket.create_connection(address))
            client.sendall(b"GET /streams HTTP/1.1\r\n")
        assert fetch(process.urls[-1], "/healthz").status == 200
        for _ in range(2):
            seen.next()


def test_a_drain_is_shown_and_does_not_wait_for_dashboards(tmp_path: Path) -> None:
    with ManyStreams() as streams, proxy(tmp_path, streams.url) as process, dashboard(process) as seen:
        streams.open(process.url, ["/a"])
        seen.wait_for(lambda seen: seen["total"]["open"] == 1)
        process.send_signal(signal.SIGTERM)
        seen.wait_for(lambda seen: seen["total"]["draining"] == 1)
        assert process.wait() == 0
