"""Is each fault of a set-up that nothing else shows logged, and only once?"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import HandUpstream
from tests.support.patience import LIMIT
from tests.support.scrape import wait_until
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

#: What runs the command line with few descriptors, most of which are in use.
_LIMIT, _IN_USE = 512, 430
_LIMITED = (
    "import os, resource, sys; from sseproxy.cli import main; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({_LIMIT}, {_LIMIT})); "
    f"[os.dup(2) for _ in range({_IN_USE})]; sys.exit(main())"
)


def proxy(
    folder: Path, upstream: HandUpstream, *, workers: int = 1, dialect: str = "generic", **more: object
) -> SseproxyProcess:
    early = {"dialect": dialect, "heartbeat": {"before_response": "10s"}}
    routes = [{"name": name, "match": {"prefix": f"/{name}"}, "upstream": upstream.url, **early} for name in ("a", "b")]
    plain = {"name": "plain", "upstream": upstream.url}
    config = {"server": {"listen": "127.0.0.1:0", "workers": workers}, "routes": [*routes, plain], **more}
    (folder / "c.yaml").write_text(json.dumps(config))
    return SseproxyProcess("-c", str(folder / "c.yaml"))


def stream(process: SseproxyProcess, upstream: HandUpstream, target: str, **headers: str) -> None:
    """A stream from its begin to its end."""
    with Request(process.url, target, headers=headers) as request, upstream.accept() as call:
        call.begin()
        call.send(b"data: 1\n\n")
        request.wait_for(b"data: 1\n\n")
        call.finish()
        request.read()


def warnings(process: SseproxyProcess, words: str) -> list[str]:
    return [line for line in process.stderr.lines if "WARNING" in line and words in line]


def test_streams_that_were_not_declared(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        with proxy(tmp_path, upstream) as process:
            stream(process, upstream, "/a/1", Accept="text/event-stream")
            assert warnings(process, "did not ask for one") == []
            for number in range(3):
                stream(process, upstream, f"/a/{number}")
                stream(process, upstream, f"/b/{number}")
                stream(process, upstream, f"/plain/{number}")
            assert process.stop() == 0
        found = warnings(process, "did not ask for one")
        assert [re.findall(r"route (\S+):", line) for line in found] == [["a"], ["b"]]
        assert all("`stream: always` on this route would" in line for line in found)
        assert sum("declared=no" in line for line in process.stdout.lines) == 9


def test_what_stream_always_could_not_help_is_no_warning(tmp_path: Path) -> None:
    """MCP's `initialize` is never answered early, whatever the route says."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize"}).encode()
    fields = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    with HandUpstream() as upstream, proxy(tmp_path, upstream, dialect="mcp") as process:
        for target in ("/a", "/b"):
            with (
                Request(
                    process.url, target, method="POST", headers={**fields, "Mcp-Method": "initialize"}, body=body
                ) as request,
                upstream.accept() as call,
            ):
                call.begin()
                call.finish()
                request.read()
        assert process.stop() == 0
        assert sum("declared=no" in line for line in process.stdout.lines) == 2
        assert warnings(process, "did not ask for one") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_untrusted_peer_that_speaks_for_others(tmp_path: Path, workers: int) -> None:
    with HandUpstream() as upstream:
        with proxy(tmp_path, upstream, workers=workers) as process:
            for _ in range(20):
                stream(process, upstream, "/plain", **{"X-Forwarded-For": "192.0.2.1"})
            assert process.stop() == 0
        assert 1 <= len(warnings(process, "127.0.0.1 sends X-Forwarded-For and is not trusted")) <= workers


def test_few_descriptors_are_left(tmp_path: Path) -> None:
    with HandUpstream() as upstream, limited(upstream) as (process, url):
        assert process.stderr is not None
        assert fetch_answered(upstream, url)
        with contextlib.ExitStack() as stack:
            for number in range(24):
                request = stack.enter_context(Request(url, f"/{number}"))
                call = stack.enter_context(upstream.accept())
                call.begin()
                call.send(b"data: 1\n\n")
                request.wait_for(b"data: 1\n\n")
            found = next(line for line in iter(process.stderr.readline, "") if "few file descriptors are left" in line)
            used = re.search(r"left: (\d+) of 512 are in use", found)
            assert used is not None
            assert int(used[1]) > _IN_USE + 2 * 24
            assert fetch_answered(upstream, url), "it is a warning, not the end"
        process.terminate()
        assert not any("few file" in line for line in iter(process.stderr.readline, ""))
        assert process.wait(timeout=30) == 0


def fetch_answered(upstream: HandUpstream, url: str) -> bool:
    with Request(url, "/") as request, upstream.accept() as call:
        call.answer(b"ok")
        return request.read() == b"ok"


@contextlib.contextmanager
def limited(upstream: HandUpstream) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A proxy with few descriptors, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LIMITED, "serve", "--upstream", upstream.url, "--listen", "127.0.0.1:0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = next(line for line in iter(process.stderr.readline, "") if "listening on" in line)
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_as_many_connections_as_may_be(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        with proxy(tmp_path, upstream, server={"listen": "127.0.0.1:0", "connections": 1}) as process:
            with Request(process.url, "/plain") as request, upstream.accept() as call:
                call.begin()
                call.send(b"data: 1\n\n")
                request.wait_for(b"data: 1\n\n")
                assert [fetch(process.url, "/plain").status for _ in range(3)] == [503] * 3
            wait_until(lambda: len(warnings(process, "client connections are open")) == 1, "it is warned of")
            assert process.stop() == 0
        assert len(warnings(process, "1 client connections are open, as many as may be")) == 1


def test_a_broken_end_that_nobody_can_see(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with HandUpstream() as upstream:
        with proxy(tmp_path, upstream, server={"listen": f"unix:{path}"}) as process:
            for _ in range(2):
                cut_short_over_http_10(path, upstream)
            wait_until(lambda: len(warnings(process, "HTTP/1.0 over a unix socket")) == 1, "it is warned of")
            assert process.stop() == 0
        assert len(warnings(process, "HTTP/1.0 over a unix socket")) == 1


def cut_short_over_http_10(path: Path, upstream: HandUpstream) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(str(path))
        client.sendall(b"GET /plain HTTP/1.0\r\nHost: a\r\n\r\n")
        with upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\n")
            while b"data: 1" not in client.recv(65536):
                pass
        while client.recv(65536):
            pass


def test_the_manual_has_each_of_them() -> None:
    table = MANUAL.partition("\n### Warnings\n")[2].partition("\n### ")[0]
    rows = re.findall(r"(?m)^\| `(.+?)` \|", table)
    sources = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("sseproxy/proxy/notices.py", "sseproxy/process/descriptors.py")
    )
    given = re.sub(r'"\s*\n\s*"', "", sources)
    for row in rows:
        pattern = re.escape(
            re.sub(r"10\.0\.0\.7|X-Forwarded-For|\bchat\b", "%s", re.sub(r"\b(512|128|1000)\b", "%d", row))
        )
        assert re.search(pattern, given), row
    assert len(rows) == 6
