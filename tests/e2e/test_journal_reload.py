"""What becomes of runs whose route a SIGHUP takes away, or gives another journal?"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.reloading import Reloadable, reloadable
from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream

ONE, TWO = {"Cookie": "s=one"}, {"Cookie": "s=two"}
STREAM = {"Accept": "text/event-stream"}


def route(upstream: HandUpstream, **journal: Any) -> dict[str, Any]:
    kept = {"kind": "answer", "login": ["cookie:s"], **journal}
    return {"name": "chat", "match": {"path": "/chat"}, "upstream": upstream.url, "journal": kept}


def other(upstream: HandUpstream) -> dict[str, Any]:
    return {"name": "other", "match": {"prefix": "/other"}, "upstream": upstream.url}


@contextlib.contextmanager
def run(proxy: Reloadable, upstream: HandUpstream, target: str = "/chat") -> Iterator[tuple[str, Request, Call]]:
    """The URL of a run that has one event, its client, and its upstream."""
    body = b"{}" if target.startswith("/chat") else None
    method = "GET" if body is None else "POST"
    with (
        Request(proxy.url, target, method=method, body=body, headers=ONE | STREAM) as client,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\n")
        client.wait_for(b"data: 1\n\n")
        url = client.field("Content-Location")
        assert url is not None
        yield url, client, call


def change(key: str, upstream: HandUpstream) -> list[dict[str, Any]]:
    """What the file says of routes after the reload."""
    return {
        "gone": [other(upstream)],
        "without a journal": [{key: value for key, value in route(upstream).items() if key != "journal"}],
        "another login": [route(upstream, login=["header:X-User"])],
        "another kind": [route(upstream, kind="feed", key=["query:q"])],
        "another path": [route(upstream, resume={"path": "/elsewhere/{run}"})],
    }[key]


@pytest.mark.parametrize("what", ["gone", "without a journal", "another login", "another kind", "another path"])
def test_runs_live_to_their_end_and_so_do_their_urls(tmp_path: Path, what: str) -> None:
    with (
        HandUpstream() as upstream,
        reloadable(tmp_path, routes=[route(upstream)]) as proxy,
        run(proxy, upstream) as one,
    ):
        url, client, call = one
        with run(proxy, upstream) as (second, stopped, stopping):
            proxy.reload(routes=change(what, upstream))
            call.send(b"data: 2\n\n")
            client.wait_for(b"data: 2\n\n")
            with Request(proxy.url, url, headers=ONE | STREAM) as reader:
                reader.wait_for(b"data: 2\n\n")
                assert fetch(proxy.url, url, headers=TWO).status == 404
                call.finish()
                assert reader.read().count(b"data: ") == 2
            client.read()
            with Request(proxy.url, second, method="DELETE", headers=ONE) as request:
                assert request.status == 204
            stopping.wait_until_left()
            stopped.read()


def test_a_feed_that_has_become_an_answer_is_not_joined_by_it(tmp_path: Path) -> None:
    feed = {"kind": "feed", "key": ["query:q"], "login": ["cookie:s"]}
    answer = {"kind": "answer", "key": ["query:q"], "login": ["cookie:s"], "again": "join"}
    with HandUpstream() as upstream:
        before = {**route(upstream), "match": {"path": "/feed"}, "journal": feed}
        with reloadable(tmp_path, routes=[before]) as proxy, run(proxy, upstream, "/feed?q=1") as (url, client, _):
            proxy.reload(routes=[{**before, "journal": answer}])
            with run(proxy, upstream, "/feed?q=1") as (another, _, call):
                assert another != url
                call.finish()
            with Request(proxy.url, url, method="DELETE", headers=ONE) as request:
                assert request.status == 405  # no client ends a feed
            client.close()


def test_new_limits_are_those_of_new_runs(tmp_path: Path) -> None:
    with (
        HandUpstream() as upstream,
        reloadable(tmp_path, routes=[route(upstream)]) as proxy,
        run(proxy, upstream) as one,
    ):
        _, old, kept = one
        proxy.reload(routes=[route(upstream, detach="off")])
        with run(proxy, upstream) as (_, new, call):
            new.close()
            call.wait_until_left()
        old.close()
        # The old one, which goes on to its end, is not stopped: by now it would have been.
        kept.send(b"data: 2\n\n")
        with run(proxy, upstream) as (_, new, call):
            new.close()
            call.wait_until_left()
        kept.send(b"data: 3\n\n")
        kept.finish()
