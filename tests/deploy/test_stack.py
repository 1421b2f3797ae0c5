"""Do the files of the Compose stack work together: app, sseproxy, nginx and Redis, all on this machine?"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sseproxy.demo.nginx import unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.support.blocking_client import Request
from tests.support.nginx import nginx_running
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer, free_port
from tests.support.sseproxy_process import SseproxyProcess

STACK = Path(__file__).parents[2] / "deploy/compose"


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextlib.contextmanager
def app() -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "THINK": "1"}
    with subprocess.Popen([sys.executable, STACK / "app.py"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: accepts(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[str, RedisServer]]:
    """The URL of nginx, and Redis."""
    with contextlib.ExitStack() as running:
        redis = running.enter_context(RedisServer())
        environment = {"APP_URL": running.enter_context(app()), "REDIS_URL": redis.url}
        arguments = ["-c", str(STACK / "sseproxy.yaml"), "--listen", "127.0.0.1:0", "--before-response", "200ms"]
        process = running.enter_context(SseproxyProcess(*arguments, environment=environment))
        gateway = listener()
        url = f"127.0.0.1:{port_of(gateway)}"
        server = (STACK / "nginx.conf").read_text()
        for name, here in (("listen 80;", f"listen {url};"), ("http://sseproxy:8080", process.url)):
            assert name in server
            server = server.replace(name, here)
        running.enter_context(nginx_running(unprivileged(server), gateway))
        yield f"http://{url}", redis


def test_an_answer_is_kept_alive_while_the_app_thinks(stack: tuple[str, RedisServer]) -> None:
    body = json.dumps({"stream": True}).encode()
    fields = {"Content-Type": "application/json"}
    with Request(stack[0], "/v1/chat/completions", method="POST", body=body, headers=fields) as request:
        answer = request.read()
        assert request.status == 200
    assert answer.startswith(b":")
    assert answer.endswith(b"data: [DONE]\n\n")
    assert b'"content": "Forty"' in answer


def test_a_message_reaches_its_user_and_no_other(stack: tuple[str, RedisServer]) -> None:
    url, redis = stack
    with Request(url, "/inbox", headers={"Accept": "text/event-stream"}) as stranger:
        assert stranger.status == 401
    fields = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Cookie": "user=alice"}
    with Request(url, "/inbox", headers=fields) as inbox:
        assert inbox.status == 200
        inbox.wait_for(b"id:")  # its place in the stream: what comes from now on is for it
        with redis.client() as client:
            client.xadd("inbox:bob", {"data": b"not for alice"})
            client.xadd("inbox:alice", {"data": b"hello"})
        inbox.wait_for(b"data: hello")
        assert b"not for alice" not in inbox.body
