"""Does a real Prometheus, with the files of deploy/, read what sseproxy tells it, and raise the right alert?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request
from tests.support.hand_upstream import HandUpstream
from tests.support.prometheus import Prometheus, prometheus
from tests.support.scrape import wait_until
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.watch_files import QUERIES

#: Streams that end badly: more than the few that the alert lets pass.
_BAD = 12

Stand = tuple[Prometheus, SseproxyProcess, HandUpstream]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with HandUpstream() as upstream:
        routes = [
            {"name": "broken", "match": {"prefix": "/broken"}, "upstream": upstream.url},
            {"name": "other", "upstream": upstream.url},
        ]
        config = {"server": {"listen": "127.0.0.1:0"}, "admin": {"listen": "127.0.0.1:0"}, "routes": routes}
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        with SseproxyProcess("-c", str(tmp_path / "c.yaml")) as proxy:
            target = proxy.urls[-1].removeprefix("http://")
            with prometheus(target) as asked:
                wait_until(lambda: asked.query("sseproxy_build_info") != [], "Prometheus has read the page once")
                yield asked, proxy, upstream


def test_an_alert_fires_for_what_has_happened_and_no_other(stand: Stand) -> None:
    asked, proxy, upstream = stand
    assert asked.firing() == []
    for _ in range(_BAD):
        with Request(proxy.url, "/broken", headers={"Accept": "text/event-stream"}) as request:
            with upstream.accept() as call:
                call.begin()
                call.send(b"data: x\n\n")
            request.wait_for(b"event: error")
    with Request(proxy.url, "/other", headers={"Accept": "text/event-stream"}) as request, upstream.accept() as call:
        call.begin()
        call.send(b"data: x\n\n")
        request.wait_for(b"data: x")
        wait_until(lambda: asked.firing() != [], "an alert fires")
        assert {(alert["alertname"], alert["route"], alert["reason"]) for alert in asked.firing()} == {
            ("SseproxyStreamsEndBadly", "broken", "upstream_error")
        }
        seen = {title: asked.query(filled(text)) for title, text in QUERIES}  # each is one that Prometheus takes
        assert [
            title for title in ("Open streams", "Bad ends in 5 minutes", "Why streams end") if not seen[title]
        ] == []
        assert float(seen["Open streams"][0]["value"][1]) == 1
    proxy.stop()
    wait_until(lambda: "SseproxyDown" in {alert["alertname"] for alert in asked.firing()}, "it is seen to be gone")


def filled(query: str) -> str:
    """The query of a panel, with its variables as they are when the dashboard opens."""
    filled = query.replace("$__rate_interval", "1m")
    for name in ("job", "instance", "route"):
        filled = filled.replace(f"${name}", ".*")
    return filled
