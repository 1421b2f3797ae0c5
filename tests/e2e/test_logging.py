"""What a running proxy writes, what it never writes, and what happens when nobody reads it."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, connection_to, fetch
from tests.support.echo_upstream import EchoUpstream
from tests.support.hand_upstream import HandUpstream
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
ANYWHERE = ("--listen", "127.0.0.1:0")
SECRET = "hunter2"

#: Requests with the secret in all places where clients put secrets, and in some where they put it by mistake.
REQUESTS = (
    f"GET /query?token={SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET /header HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nCookie: session={SECRET}\r\n\r\n",
    f"GET /key HTTP/1.1\r\nHost: x\r\nX-Api-Key: {SECRET}\r\nReferer: https://x/?{SECRET}\r\n\r\n",
    f"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}",
    f"GET /unreachable?{SECRET} HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET}\r\n\r\n",
    f"GET /fragment#{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET http://user:{SECRET}@x/absolute?{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET http://[{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET {SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / {SECRET} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"{SECRET} / HTTP/1.1\r\nHost: x\r\n\r\n",
    f"CONNECT {SECRET}:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\n{SECRET} : x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET}\0\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: {SECRET}@x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
    f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {SECRET}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET * 20_000}\r\n\r\n",
)


@pytest.fixture(params=["text", "json"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SseproxyProcess]:
    """A proxy that writes all it ever writes."""
    config = tmp_path / "sseproxy.yaml"
    with EchoUpstream() as upstream:
        routes = [
            {"match": {"prefix": "/unreachable"}, "upstream": "http://127.0.0.1:9"},
            {"match": {"prefix": "/missing"}, "upstream": f"http+unix://{tmp_path}/none.sock"},
            {"upstream": upstream.url},
        ]
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": routes}))
        with SseproxyProcess("-c", str(config), "--log-level", "debug", "--log-format", request.param) as process:
            yield process


def ask(url: str, request: str) -> bytes:
    """Send bytes, and wait until the proxy has answered and closed."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            pass
    return received


def test_secrets_are_in_no_log(process: SseproxyProcess) -> None:
    for request in REQUESTS:
        ask(process.url, request)
    answer = fetch(process.url, f"/last?{SECRET}", headers={"Cookie": SECRET})
    assert answer.status == 200
    process.stdout.wait_for(lambda lines: any("/last" in line and "seconds" in line for line in lines))
    assert process.stop() == 0
    assert len(process.stdout.lines) > len(REQUESTS)
    assert SECRET not in process.stdout.text
    assert SECRET not in process.stderr.text
    assert "Traceback" not in process.stderr.text


def test_a_password_in_an_upstream_url_is_not_repeated() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sseproxy", "serve", "--upstream", f"http://user:{SECRET}@127.0.0.1:9"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "--upstream" in done.stderr
    assert SECRET not in done.stderr + done.stdout


def test_the_access_log_for_people_and_for_machines(process: SseproxyProcess) -> None:
    fetch(process.url, "/path?query", headers={"Host": "api.test", "X-Request-Id": "abc-1"})
    fetch(process.url, "/unreachable")
    ended = process.stdout.wait_for(lambda lines: sum("seconds" in line for line in lines) == 2)
    first, second = map(entry_of, (line for line in ended if "seconds" in line))
    wanted = {"peer": "127.0.0.1", "method": "GET", "host": "api.test", "path": "/path", "status": "200"}
    assert first.items() >= {**wanted, "route": "route-3", "reason": "upstream_end", "request_id": "abc-1"}.items()
    assert first["upstream"].startswith("127.0.0.1:")
    assert float(first["seconds"]) >= float(first["first_byte"]) >= 0
    assert "declared" not in first
    wanted = {"status": "502", "reason": "connect_error", "route": "route-1", "upstream": "127.0.0.1:9"}
    assert second.items() >= wanted.items()
    assert second["request_id"]


def entry_of(line: str) -> dict[str, str]:
    """The fields of a line, in either form, and its level."""
    if line.startswith("{"):
        return {name: str(value) for name, value in json.loads(line).items()}
    level, text = re.split(r" +sseproxy\.access ", line.partition(",")[2][4:])
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', text)
    return {"level": level.lower(), **{name: json.loads(value) if value[:1] == '"' else value for name, value in pairs}}


def test_a_stream_in_the_log_from_its_begin_to_its_end(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    with HandUpstream() as upstream:
        route = {"name": "chat", "upstream": upstream.url, "heartbeat": {"interval": "20ms", "before_response": "10ms"}}
        server = {"listen": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"]}
        config.write_text(json.dumps({"server": server, "log": {"level": "debug"}, "routes": [route]}))
        fields = {
            "Accept": "text/event-stream",
            "Host": "a.test",
            "X-Forwarded-For": "192.0.2.7",
            "X-Request-Id": "r/1",
        }
        with SseproxyProcess("-c", str(config)) as proxy:
            with Request(proxy.url, "/v1?x=1", headers=fields) as request, upstream.accept() as call:
                request.wait_for(b": heartbeat")
                [begun] = proxy.stdout.wait_for(lambda lines: len(lines) == 1)
                call.begin()
                call.send(b"data: 1\n\ndata: 2\n\n")
                request.wait_for(b"data: 2")
                call.finish()
                request.read()
            ended = entry_of(proxy.stdout.wait_for(lambda lines: len(lines) == 2)[-1])
    assert "DEBUG   sseproxy.access start peer=127.0.0.1 client=192.0.2.7 method=GET host=a.test path=/v1 " in begun
    assert begun.endswith(f" status=200 route=chat upstream={upstream.url[7:]} request_id=r/1 declared=yes")
    assert (ended["client"], ended["declared"], ended["events"]) == ("192.0.2.7", "yes", "2")
    assert int(ended["heartbeats"]) >= 1
    assert float(ended["seconds"]) >= float(ended["longest_silence"]) > 0
    assert (ended["level"], ended["status"], ended["reason"]) == ("info", "200", "upstream_end")


def test_which_lines_are_warnings(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    with HandUpstream() as upstream:
        early = {"heartbeat": {"interval": "20ms", "before_response": "10ms"}, "timeouts": {"response": "200ms"}}
        routes = [
            {"name": "late", "match": {"prefix": "/late"}, "upstream": upstream.url, **early},
            {"name": "down", "match": {"prefix": "/down"}, "upstream": "http://127.0.0.1:9"},
            {"name": "app", "match": {"prefix": "/app"}, "upstream": upstream.url},
        ]
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": routes}))
        with SseproxyProcess("-c", str(config)) as proxy:
            assert fetch(proxy.url, "/down").status == 502
            assert fetch(proxy.url, "/none").status == 404
            with Request(proxy.url, "/app") as request, upstream.accept() as call:
                call.begin((b"Content-Type: text/plain",), b"503 Service Unavailable")
                call.finish()
                request.read()
                assert request.status == 503
            with (
                Request(proxy.url, "/late", headers={"Accept": "text/event-stream"}) as request,
                upstream.accept(),
                pytest.raises((http.client.HTTPException, ConnectionError)),
            ):
                request.read()
            lines = map(entry_of, proxy.stdout.wait_for(lambda lines: len(lines) == 4))
    said = {line["path"]: (line["level"], line["status"], line.get("intended")) for line in lines}
    assert said == {
        "/down": ("warning", "502", None),
        "/none": ("info", "404", None),
        "/app": ("info", "503", None),
        "/late": ("warning", "200", "504"),
    }


def test_a_line_of_the_log_cannot_be_forged(process: SseproxyProcess) -> None:
    ask(process.url, "GET /a\N{LATIN SMALL LETTER E WITH ACUTE}\x85%0Aforged= HTTP/1.1\r\nHost: x\r\n\r\n")
    fetch(process.url, "/next")
    process.stdout.wait_for(lambda lines: any("/next" in line and "seconds" in line for line in lines))
    assert all(line.isascii() for line in process.stdout.lines)
    assert not any(line.startswith("forged") for line in process.stdout.lines)


def test_without_an_access_log() -> None:
    quiet = (*ANYWHERE, "--no-access-log")
    with EchoUpstream() as upstream, SseproxyProcess("--upstream", upstream.url, *quiet) as process:
        assert fetch(process.url, "/").status == 200
        assert process.stop() == 0
        assert process.stdout.lines == []


@contextlib.contextmanager
def unread(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """A proxy with a pipe for its standard output that nobody reads, small if it can be; its URL; the reading end."""
    reading, writing = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-m", "sseproxy", "serve", *ANYWHERE, "--heartbeat", "20ms", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert process.stderr is not None
    try:
        yield process, process.stderr.readline().split()[-1], reading
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=60)[1]
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        os.close(reading)


def refused(url: str, count: int) -> None:
    """So many requests to an upstream that is not there, over one connection."""
    connection = connection_to(url)
    for number in range(count):
        connection.request("GET", f"/refused/{number}")
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (502, True)
    connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_on_when_its_log_is_full(workers: str, tmp_path: Path) -> None:
    config = tmp_path / "sseproxy.yaml"
    with HandUpstream() as upstream:
        routes = [{"match": {"prefix": "/refused"}, "upstream": "http://127.0.0.1:1"}, {"upstream": upstream.url}]
        says = {"dialect": "auto", "timeouts": {"response": "15m", "idle": "auto"}}  # left out, each gets a warning
        config.write_text(json.dumps({"defaults": says, "routes": routes}))
        with (
            unread("-c", str(config), "--workers", workers) as (_, url, _reading),
            Request(url, "/") as request,
            upstream.accept() as call,
        ):
            call.begin()
            call.send(b"data: 1\n\n")
            request.read_until(lambda body: b"data: 1\n\n" in body)
            refused(url, 1000)
            before = request.body.count(b": heartbeat")
            request.read_until(lambda body: body.count(b": heartbeat") >= before + 3)
            call.send(b"data: 2\n\n")
            request.read_until(lambda body: b"data: 2\n\n" in body)
            call.finish()
            request.read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_everything_is_written_before_the_end(workers: str) -> None:
    with SseproxyProcess("--upstream", "http://127.0.0.1:1", *ANYWHERE, "--workers", workers) as process:
        refused(process.url, 300)
        assert process.stop() == 0
        written = [line.split(" path=")[1].split()[0] for line in process.stdout.lines]
        assert written == [f"/refused/{number}" for number in range(300)]


@pytest.mark.parametrize("ends", [False, True])
def test_what_waited_for_a_reader_is_written_when_one_comes(ends: bool) -> None:
    with unread("--upstream", "http://127.0.0.1:1") as (process, url, reading):
        refused(url, 300)
        if ends:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)  # it must still be there, waiting for a reader
        read = b""
        while read.count(b"\n") < 300 and (data := os.read(reading, 65536)):
            read += data
        assert read.count(b"\n") == 300
        assert b"path=/refused/299 " in read


def test_it_serves_on_when_nobody_reads_its_log() -> None:
    reading, writing = os.pipe()
    with HandUpstream() as upstream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sseproxy", "serve", "--upstream", upstream.url, *ANYWHERE],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        os.close(reading)
        assert process.stderr is not None
        try:
            url = process.stderr.readline().split()[-1]
            for _ in range(3):
                with Request(url, "/") as request, upstream.accept() as call:
                    call.answer(b"served")
                    assert request.read() == b"served"
        finally:
            process.terminate()
            said = process.communicate(timeout=60)[1]
    assert said.count("a log cannot be written: Broken pipe") == 1
    assert "Traceback" not in said
    assert process.returncode in (0, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_warnings_of_the_configuration_are_logged_once_at_the_start(workers: int, tmp_path: Path) -> None:
    config = tmp_path / "sseproxy.yaml"
    server = {"listen": "127.0.0.1:0", "workers": workers, "trusted_proxies": ["::/0"]}
    config.write_text(json.dumps({"server": server, "routes": [{"upstream": "http://127.0.0.1:9"}]}))
    with SseproxyProcess("-c", str(config)) as proxy:
        assert proxy.stop() == 0
        warnings = [line for line in proxy.stderr.lines if "warning: ::/0 trusts strangers" in line]
    assert len(warnings) == 1
    assert "WARNING" in warnings[0]


def test_the_log_says_when_a_drain_begins_and_how_it_has_ended() -> None:
    with HandUpstream() as upstream, SseproxyProcess("--upstream", upstream.url, *ANYWHERE) as proxy:
        with Request(proxy.url, "/") as request, upstream.accept() as call:
            proxy.send_signal(signal.SIGTERM)
            proxy.stderr.wait_for(lambda lines: lines[-1].endswith("draining: 1 requests under way"))
            call.answer(b"whole")
            assert request.read() == b"whole"
        assert proxy.wait() == 0
        assert proxy.stderr.lines[-1].endswith("drained: 1 requests have finished, 0 are broken off")
