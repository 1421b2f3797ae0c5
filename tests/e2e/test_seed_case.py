"""The case that all began with: curl asks for a chat answer, and a gateway in between loses patience."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator

import pytest

from sseproxy.demo.nginx import nginx
from sseproxy.demo.ports import listener, port_of
from tests.e2e.clients.recordings import Cutting, pieces, recording
from tests.support.curl import Curl, count_heartbeats, without_heartbeats
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.programs import require
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import parse

PATH = "/v1/chat/completions"
QUESTION = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "What is SSE?"}]}

ANSWER = recording("openai-chat")
EVENTS = pieces(ANSWER, Cutting.EVENTS)

#: What the service's own head looks like, hop-by-hop fields and all.
SERVICE_HEAD = (
    b"Date: Mon, 24 Nov 2025 16:02:03 GMT",
    b"Content-Type: text/event-stream; charset=utf-8",
    b"Keep-Alive: timeout=5",
    b"Cache-Control: private",
    b"openai-processing-ms: 312",
    b"Set-Cookie: __cf_bm=1; path=/",
    b"Set-Cookie: _cfuvid=2; path=/",
    b"x-request-id: req_0123456789",
)

#: Seconds that the gateway waits for the upstream, and how many heartbeats last longer than that for certain.
PATIENCE = 1
HEARTBEAT = 0.1
MANY = 15

NGINX = """\
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {target};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout {patience}s;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx_before(target: str) -> Iterator[str]:
    """nginx with little patience in front of `target`; yields its URL."""
    program = require("nginx")
    sock: socket.socket = listener()
    port = port_of(sock)
    conf = NGINX.format(port=port, target=target, patience=PATIENCE)
    with asyncio.Runner() as runner:
        running = contextlib.AsyncExitStack()
        runner.run(running.enter_async_context(nginx(program, conf, [sock])))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            runner.run(running.aclose())


def the_classic_call(url: str) -> Curl:
    return Curl("-X", "POST", url + PATH, "-H", "Content-Type: application/json", "-d", json.dumps(QUESTION))


@pytest.fixture(scope="module")
def upstream() -> Iterator[HandUpstream]:
    with HandUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy(upstream: HandUpstream) -> Iterator[SseproxyProcess]:
    """As everybody would start it."""
    with SseproxyProcess("--upstream", upstream.url, "--listen", "127.0.0.1:0") as process:
        yield process


@pytest.fixture(scope="module")
def watchful_proxy(upstream: HandUpstream) -> Iterator[SseproxyProcess]:
    """With heartbeats that a gateway of little patience needs, before the response too."""
    times = ("--heartbeat", f"{HEARTBEAT}s", "--before-response", f"{HEARTBEAT}s")
    with SseproxyProcess("--upstream", upstream.url, "--listen", "127.0.0.1:0", *times) as process:
        yield process


def test_the_recording_is_what_the_service_sends() -> None:
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in EVENTS[:-1]]
    assert all(chunk["id"].startswith("chatcmpl-") for chunk in chunks)
    assert any(
        choice["delta"] == {} and choice["finish_reason"] == "stop" for chunk in chunks for choice in chunk["choices"]
    )
    assert EVENTS[-1] == b"data: [DONE]\n\n"


def test_curl_gets_every_event_at_once_and_every_byte(upstream: HandUpstream, proxy: SseproxyProcess) -> None:
    with the_classic_call(proxy.url) as curl, upstream.accept() as call:
        assert call.request_line == b"POST /v1/chat/completions HTTP/1.1"
        assert json.loads(call.body) == QUESTION
        call.begin(SERVICE_HEAD)
        send_one_by_one(call, curl)
        call.finish()
        assert curl.wait() == 0
    assert curl.body == ANSWER


def send_one_by_one(call: Call, curl: Curl) -> None:
    """Send nothing before the client has seen what came before it."""
    sent = b""
    for event in EVENTS:
        call.send(event)
        sent += event
        curl.wait_for_body(is_exactly(sent))


def is_exactly(sent: bytes) -> Callable[[bytes], bool]:
    return lambda body: without_heartbeats(body) == sent


def test_the_head_lets_no_gateway_hold_the_stream_back(upstream: HandUpstream, proxy: SseproxyProcess) -> None:
    with the_classic_call(proxy.url) as curl, upstream.accept() as call:
        call.begin(SERVICE_HEAD)
        call.finish()
        assert curl.wait() == 0
    fields = curl.fields
    assert curl.status == 200
    assert fields["content-type"] == ["text/event-stream; charset=utf-8"]
    directives = {directive.strip() for field in fields["cache-control"] for directive in field.split(",")}
    assert directives >= {"no-cache", "no-transform", "private"}
    assert fields["x-accel-buffering"] == ["no"]
    assert fields["set-cookie"] == ["__cf_bm=1; path=/", "_cfuvid=2; path=/"]
    assert fields["openai-processing-ms"] == ["312"]
    assert fields["x-request-id"] == ["req_0123456789"]
    assert not {"content-length", "content-encoding", "keep-alive", "proxy-connection"} & fields.keys()


# With nginx in front, and a pause that is longer than nginx waits.


def test_before_the_head_nginx_alone_answers_504(upstream: HandUpstream) -> None:
    with nginx_before(upstream.url) as url, the_classic_call(url) as curl, upstream.accept() as call:
        curl.wait()
        assert curl.status == 504
        call.wait_until_left()


def test_between_two_tokens_nginx_alone_cuts_the_answer(upstream: HandUpstream) -> None:
    with nginx_before(upstream.url) as url, the_classic_call(url) as curl, upstream.accept() as call:
        call.begin(SERVICE_HEAD)
        call.send(EVENTS[0])
        curl.wait_for_body(lambda body: body == EVENTS[0])
        code = curl.wait()
        call.wait_until_left()
    assert code == 18, "curl's name for a transfer that is not complete"
    assert curl.body == EVENTS[0]


def test_with_sseproxy_in_between_the_answer_is_whole(upstream: HandUpstream, watchful_proxy: SseproxyProcess) -> None:
    with nginx_before(watchful_proxy.url) as url, the_classic_call(url) as curl, upstream.accept() as call:
        assert json.loads(call.body) == QUESTION
        curl.wait_for_body(lambda body: count_heartbeats(body) >= MANY)
        call.begin(SERVICE_HEAD)
        call.send(EVENTS[0])
        curl.wait_for_body(is_exactly(EVENTS[0]))
        before = count_heartbeats(curl.body)
        curl.wait_for_body(lambda body: count_heartbeats(body) >= before + MANY)
        for event in EVENTS[1:]:
            call.send(event)
        call.finish()
        assert curl.wait() == 0
    assert curl.status == 200
    assert curl.fields["content-type"] == ["text/event-stream"]
    assert without_heartbeats(curl.body) == ANSWER
    assert parse(curl.body).events == parse(ANSWER).events


def test_each_event_passes_sseproxy_and_nginx_at_once(upstream: HandUpstream, watchful_proxy: SseproxyProcess) -> None:
    with nginx_before(watchful_proxy.url) as url, the_classic_call(url) as curl, upstream.accept() as call:
        call.begin(SERVICE_HEAD)
        send_one_by_one(call, curl)
        call.finish()
        assert curl.wait() == 0
    assert without_heartbeats(curl.body) == ANSWER
