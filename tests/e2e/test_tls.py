"""TLS on both sides of the proxy, with real certificates."""

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.certificates import Certificate, new_authority, new_certificate
from tests.support.curl import without_heartbeats
from tests.support.echo_upstream import EchoUpstream, echo_of
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.sseproxy_process import SseproxyProcess


@dataclass(frozen=True, slots=True)
class Certificates:
    """authority has signed all but stranger, which another one has signed."""

    authority: Certificate
    loopback: Certificate
    named: Certificate
    stranger: Certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = new_authority(folder), new_authority(folder, "other")
    loopback = "DNS:localhost,IP:127.0.0.1"
    return Certificates(
        authority=authority,
        loopback=new_certificate(folder, authority, "loopback", loopback),
        named=new_certificate(folder, authority, "named", "DNS:api.internal"),
        stranger=new_certificate(folder, other, "stranger", loopback),
    )


# From the client to the proxy.


@pytest.fixture(scope="module")
def upstream() -> Iterator[HandUpstream]:
    with HandUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def https_proxy(
    certificates: Certificates, upstream: HandUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SseproxyProcess]:
    folder = tmp_path_factory.mktemp("https")
    config = folder / "sseproxy.yaml"
    files = {"certificate": str(certificates.loopback.certificate), "key": str(certificates.loopback.key)}
    server = {"listen": ["127.0.0.1:0", f"unix:{folder}/proxy.sock"], "tls": files}
    routes = [{"upstream": upstream.url, "heartbeat": {"interval": "20ms"}}]
    config.write_text(json.dumps({"server": server, "routes": routes}))
    with SseproxyProcess("-c", str(config)) as process:
        yield process


def test_a_stream_over_https(certificates: Certificates, upstream: HandUpstream, https_proxy: SseproxyProcess) -> None:
    trusting = certificates.authority.client_context()
    assert https_proxy.url.startswith("https://")
    with Request(https_proxy.url, "/events", tls=trusting) as request, upstream.accept() as call:
        assert call.fields[b"x-forwarded-proto"] == b"https"
        call.begin()
        call.send(b"data: 1\n\n")
        request.read_until(lambda body: b"data: 1\n\n" in body and body.count(b": heartbeat") >= 3)
        call.send(b"data: 2\n\n")
        request.read_until(lambda body: b"data: 2\n\n" in body)
        call.finish()
        request.read()


def test_a_client_that_leaves_over_https_is_noticed(
    certificates: Certificates, upstream: HandUpstream, https_proxy: SseproxyProcess
) -> None:
    trusting = certificates.authority.client_context()
    with Request(https_proxy.url, "/leaving", tls=trusting) as request, upstream.accept() as call:
        call.begin()
        request.close()
        call.wait_until_left()


def test_only_modern_tls_and_http11_are_offered(certificates: Certificates, https_proxy: SseproxyProcess) -> None:
    context = certificates.authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    port = int(https_proxy.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.selected_alpn_protocol() == "http/1.1"
        assert secure.version() in ("TLSv1.2", "TLSv1.3")


def test_plain_http_on_the_https_port_is_refused_without_noise(https_proxy: SseproxyProcess) -> None:
    port = int(https_proxy.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        try:
            while data := plain.recv(4096):
                received += data
        except ConnectionError:
            pass
    assert b"HTTP/" not in received
    assert "Traceback" not in https_proxy.stderr.text


def test_a_unix_socket_beside_https_speaks_plain_http(upstream: HandUpstream, https_proxy: SseproxyProcess) -> None:
    unix = https_proxy.urls[1]
    assert unix.startswith("unix:")
    with Request(unix, "/local") as request, upstream.accept() as call:
        assert call.fields[b"x-forwarded-proto"] == b"http"
        call.answer(b"hello")
        assert request.read() == b"hello"


# From the proxy to the upstream.


@pytest.fixture(scope="module")
def names_asked_for() -> list[str | None]:
    """The server names that clients of the named upstream have sent."""
    return []


@pytest.fixture(scope="module")
def proxy_to_https(
    certificates: Certificates, names_asked_for: list[str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SseproxyProcess]:
    named = certificates.named.server_context()
    named.sni_callback = lambda _, name, __: names_asked_for.append(name)
    with (
        EchoUpstream("loopback", tls=certificates.loopback.server_context()) as loopback,
        EchoUpstream("named", tls=named) as api,
        EchoUpstream("stranger", tls=certificates.stranger.server_context()) as stranger,
        EchoUpstream("plain") as plain,
    ):
        ca = str(certificates.authority.certificate)
        routes: list[dict[str, object]] = [
            {"match": {"prefix": "/trusted"}, "upstream": loopback.url, "tls": {"ca": ca}},
            {"match": {"prefix": "/named"}, "upstream": api.url, "tls": {"ca": ca, "server_name": "api.internal"}},
            {"match": {"prefix": "/misnamed"}, "upstream": api.url, "tls": {"ca": ca}},
            {"match": {"prefix": "/stranger"}, "upstream": stranger.url, "tls": {"ca": ca}},
            {"match": {"prefix": "/anybody"}, "upstream": stranger.url, "tls": {"verify": False}},
            {"match": {"prefix": "/unverified-name"}, "upstream": api.url, "tls": {"verify": False}},
            {"match": {"prefix": "/system"}, "upstream": loopback.url},
            {"match": {"prefix": "/plain"}, "upstream": plain.url.replace("http://", "https://"), "tls": {"ca": ca}},
        ]
        config: Path = tmp_path_factory.mktemp("upstreams") / "sseproxy.yaml"
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": routes}))
        with SseproxyProcess("-c", str(config)) as process:
            yield process


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        pytest.param("/trusted", "loopback", id="an authority of one's own"),
        pytest.param("/named", "named", id="another name than that in the URL"),
        pytest.param("/anybody", "stranger", id="nothing is verified"),
        pytest.param("/unverified-name", "named", id="nor the name"),
    ],
)
def test_an_https_upstream(proxy_to_https: SseproxyProcess, path: str, upstream: str) -> None:
    answer = fetch(proxy_to_https.url, path)
    assert answer.status == 200
    assert echo_of(answer)["upstream"] == upstream


def test_the_server_name_is_sent(proxy_to_https: SseproxyProcess, names_asked_for: list[str | None]) -> None:
    assert fetch(proxy_to_https.url, "/named").status == 200
    assert "api.internal" in names_asked_for


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("/misnamed", "tls_certificate_error", id="a certificate for somebody else"),
        pytest.param("/stranger", "tls_certificate_error", id="an authority that is not trusted"),
        pytest.param("/system", "tls_certificate_error", id="an authority that this machine does not know"),
        pytest.param("/plain", "tls_protocol_error", id="no TLS at all"),
    ],
)
def test_an_https_upstream_that_cannot_be_trusted(proxy_to_https: SseproxyProcess, path: str, error: str) -> None:
    answer = fetch(proxy_to_https.url, path)
    assert answer.status == 502
    assert answer.field("Content-Type") == "application/problem+json"
    assert error in str(answer.field("Proxy-Status"))
    assert b"127.0.0.1" not in answer.body, "our own network is nobody's business"
    proxy_to_https.stdout.wait_for(
        lambda lines: any(f"path={path} " in line and "reason=connect_error" in line for line in lines)
    )


def test_a_stream_from_an_https_upstream_that_dies_is_not_whole(certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "sseproxy.yaml"
    context = certificates.loopback.server_context()
    with HandUpstream(tls=context) as upstream:
        route = {"upstream": upstream.url, "tls": {"ca": str(certificates.authority.certificate)}}
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": [route]}))
        with SseproxyProcess("-c", str(config)) as proxy:
            with Request(proxy.url, "/") as request:
                with upstream.accept() as call:
                    call.begin()
                    call.send(b"data: 1\n\n")
                    request.read_until(lambda body: body == b"data: 1\n\n")
                with pytest.raises((ConnectionError, http.client.IncompleteRead)):
                    request.read()
            proxy.stdout.wait_for(lambda lines: any("reason=upstream_error" in line for line in lines))


def send_all(call: Call, events: list[bytes]) -> None:
    for event in events:
        call.send(event)


def test_backpressure_over_https_loses_nothing(
    certificates: Certificates, upstream: HandUpstream, https_proxy: SseproxyProcess
) -> None:
    events = [b"data: %d %s\n\n" % (number, b"x" * 65_000) for number in range(60)]
    with (
        Request(https_proxy.url, "/large", tls=certificates.authority.client_context()) as request,
        upstream.accept() as call,
        ThreadPoolExecutor(1) as pool,
    ):
        call.begin()
        sending = pool.submit(send_all, call, events)
        request.read_until(lambda body: len(body) > 1_000_000)
        sending.add_done_callback(lambda _: call.finish())
        request.read()
    assert b"".join(events) == without_heartbeats(request.body)
