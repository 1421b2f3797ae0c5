"""Who is let in by a certificate, and where does the proxy get in with its own? Real peers on both sides."""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sseproxy.demo.nginx import unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.support.blocking_client import Request, fetch
from tests.support.certificates import Certificate, new_authority, new_certificate, new_expired_certificate
from tests.support.curl import Curl
from tests.support.echo_upstream import EchoUpstream, echo_of
from tests.support.hand_upstream import HandUpstream
from tests.support.nginx import nginx_running
from tests.support.patience import LIMIT
from tests.support.sseproxy_process import SseproxyProcess

RECIPES = Path(__file__).parents[2] / "docs/recipes.md"

#: What a client gets that is refused: an alert, or the end of its connection, also where it has sent its request.
REFUSED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)


@dataclass(frozen=True, slots=True)
class Certificates:
    """authority has signed server, client and other_client, long ago expired; stranger is signed by another one."""

    folder: Path
    authority: Certificate
    other_authority: Certificate
    server: Certificate
    client: Certificate
    other_client: Certificate
    expired: Certificate
    stranger: Certificate

    def shown(self, name: str) -> ssl.SSLContext:
        """What a client speaks TLS with that shows the certificate `name`, or none if that is empty."""
        if not name:
            return self.authority.client_context()
        return self.authority.client_context_with(getattr(self, name))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = new_authority(folder), new_authority(folder, "other")
    return Certificates(
        folder=folder,
        authority=authority,
        other_authority=other,
        server=new_certificate(folder, authority, "server", "DNS:localhost,IP:127.0.0.1"),
        client=new_certificate(folder, authority, "client", "DNS:client.test"),
        other_client=new_certificate(folder, authority, "other-client", "DNS:client.test"),
        expired=new_expired_certificate(folder, authority, "expired", "DNS:client.test"),
        stranger=new_certificate(folder, other, "stranger", "DNS:client.test"),
    )


# From the client to the proxy.


@pytest.fixture(scope="module")
def upstream() -> Iterator[HandUpstream]:
    with HandUpstream() as upstream:
        yield upstream


def config_of(certificates: Certificates, upstream: HandUpstream, path: Path, *, level: str = "debug") -> str:
    """The path of a configuration whose clients must show a certificate."""
    tls = {
        "certificate": str(certificates.server.certificate),
        "key": str(certificates.server.key),
        "client_ca": str(certificates.authority.certificate),
    }
    config = {
        "server": {"listen": ["127.0.0.1:0", f"unix:{path}/proxy.sock"], "tls": tls},
        "admin": {"listen": "127.0.0.1:0"},
        "log": {"level": level},
        "routes": [{"upstream": upstream.url, "heartbeat": {"interval": "20ms"}}],
    }
    (path / "sseproxy.yaml").write_text(json.dumps(config))
    return str(path / "sseproxy.yaml")


@pytest.fixture(scope="module")
def proxy(
    certificates: Certificates, upstream: HandUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SseproxyProcess]:
    config = config_of(certificates, upstream, tmp_path_factory.mktemp("clients"))
    with SseproxyProcess("-c", config) as process:
        yield process


def test_a_client_with_a_certificate_gets_its_stream(
    certificates: Certificates, upstream: HandUpstream, proxy: SseproxyProcess
) -> None:
    with Request(proxy.url, "/events", tls=certificates.shown("client")) as request, upstream.accept() as call:
        call.begin()
        request.read_until(lambda body: body.count(b": heartbeat") >= 2)
        call.send(b"data: 1\n\n")
        request.read_until(lambda body: b"data: 1\n\n" in body)
        call.finish()
        request.read()
        assert not [name for name in call.fields if b"cert" in name or b"ssl" in name], "no field tells of it"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ("", "it shows no certificate"),
        ("stranger", "it shows a certificate that is refused: unable to get local issuer certificate"),
        ("expired", "it shows a certificate that is refused: certificate has expired"),
    ],
)
def test_a_client_without_the_right_certificate_is_refused(
    certificates: Certificates, proxy: SseproxyProcess, shown: str, why: str, version: ssl.TLSVersion
) -> None:
    context = certificates.shown(shown)
    context.minimum_version = context.maximum_version = version
    before = len(proxy.stderr.lines)
    with pytest.raises(REFUSED):
        fetch(proxy.url, "/secret", tls=context)
    said = f"TLS handshake with 127.0.0.1 failed: {why}"
    proxy.stderr.wait_for(lambda lines: any(said in line for line in lines[before:]))
    assert "/secret" not in proxy.stdout.text


def test_clients_that_are_refused_are_one_warning(
    certificates: Certificates, upstream: HandUpstream, tmp_path: Path
) -> None:
    with SseproxyProcess("-c", config_of(certificates, upstream, tmp_path, level="info")) as proxy:
        for shown in ("stranger", "", "expired", ""):
            with pytest.raises(REFUSED):
                fetch(proxy.url, "/", tls=certificates.shown(shown))
        with Request(proxy.url, "/", tls=certificates.shown("client")) as request, upstream.accept() as call:
            call.answer(b"hello")
            assert request.read() == b"hello"
    warnings = [line for line in proxy.stderr.lines if "is refused" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        "127.0.0.1 is refused: it shows a certificate that is refused: unable to get local issuer certificate "
        "(server.tls.client_ca)"
    )
    assert "handshake" not in proxy.stderr.text


def test_a_client_that_resumes_its_session_is_let_in(
    certificates: Certificates, upstream: HandUpstream, proxy: SseproxyProcess
) -> None:
    context, port = certificates.shown("client"), int(proxy.url.rpartition(":")[2])
    session, was_resumed = None, False
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with upstream.accept() as call:
                call.answer(b"hello")
            received = b""
            while data := secure.recv(4096):
                received += data
            assert received.endswith(b"hello")
            was_resumed, session = bool(secure.session_reused), secure.session
    assert was_resumed


def test_admin_listener_and_unix_sockets_ask_for_no_certificate(upstream: HandUpstream, proxy: SseproxyProcess) -> None:
    _, unix, admin = proxy.urls
    assert admin.startswith("http://")
    assert fetch(admin, "/healthz").status == 200
    with Request(unix, "/local") as request, upstream.accept() as call:
        call.answer(b"hello")
        assert request.read() == b"hello"


def test_curl_shows_its_certificate(certificates: Certificates, upstream: HandUpstream, proxy: SseproxyProcess) -> None:
    pair = ("--cert", str(certificates.client.certificate), "--key", str(certificates.client.key))
    with Curl("--cacert", str(certificates.authority.certificate), *pair, proxy.url) as curl, upstream.accept() as call:
        call.begin()
        call.send(b"data: 1\n\n")
        curl.wait_for_body(lambda body: b"data: 1\n\n" in body)
        call.finish()
        assert curl.wait() == 0
    with Curl("--cacert", str(certificates.authority.certificate), proxy.url) as curl:
        assert curl.wait() != 0


@pytest.mark.parametrize("shown", ["client", "stranger", ""])
def test_nginx_in_front_shows_its_certificate(
    certificates: Certificates, upstream: HandUpstream, proxy: SseproxyProcess, shown: str
) -> None:
    sock = listener()
    port = port_of(sock)
    pair = getattr(certificates, shown) if shown else None
    lines = [] if pair is None else [f"proxy_ssl_certificate {pair.certificate};"]
    lines += [] if pair is None else [f"proxy_ssl_certificate_key {pair.key};"]
    http = f"""
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {certificates.authority.certificate};
    proxy_ssl_name localhost;
    {" ".join(lines)}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {proxy.url}; }} }}
    """
    with nginx_running(unprivileged(http), sock):
        if shown != "client":
            assert fetch(f"http://127.0.0.1:{port}", "/").status == 502
            return
        with Request(f"http://127.0.0.1:{port}", "/events") as request, upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\n")
            request.read_until(lambda body: b"data: 1\n\n" in body)
            call.finish()
            request.read()


# From the proxy to the upstream.


@pytest.fixture(scope="module")
def nginx_upstream(certificates: Certificates) -> Iterator[str]:
    """The URL of an nginx that lets in whom the authority has signed, and answers with the name in the certificate."""
    sock = listener()
    port = port_of(sock)
    http = f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificates.server.certificate};
        ssl_certificate_key {certificates.server.key};
        ssl_client_certificate {certificates.authority.certificate};
        ssl_verify_client on;
        location / {{ return 200 $ssl_client_s_dn; }}
    }}
    """
    with nginx_running(unprivileged(http), sock):
        yield f"https://127.0.0.1:{port}"


def test_the_recipe_for_nginx(certificates: Certificates, tmp_path: Path) -> None:
    section = RECIPES.read_text(encoding="utf-8").partition("\n## mTLS between nginx and sseproxy\n")[2]
    (location,), (config,) = (re.findall(rf"(?ms)^```{kind}\n(.*?)^```", section)[:1] for kind in ("nginx", "yaml"))
    for name in ("nginx", "sseproxy", "app"):
        new_certificate(tmp_path, certificates.authority, name, f"DNS:{name}.internal")
    (tmp_path / "ca.pem").write_bytes(certificates.authority.certificate.read_bytes())
    app = Certificate(tmp_path / "app.pem", tmp_path / "app.key")
    with EchoUpstream("app", tls=app.server_context_for(certificates.authority)) as upstream:
        config = config.replace("https://127.0.0.1:9443", upstream.url).replace("127.0.0.1:8443", "127.0.0.1:0")
        (tmp_path / "c.yaml").write_text(config)
        with SseproxyProcess("-c", str(tmp_path / "c.yaml")) as proxy:
            sock = listener()
            port = port_of(sock)
            location = re.sub(r"\b\w+\.(pem|key);", lambda found: f"{tmp_path}/{found[0]}", location)
            location = location.replace("https://127.0.0.1:8443", proxy.url)
            http = f"server {{ listen 127.0.0.1:{port}; {location} }}"
            with nginx_running(unprivileged(http), sock):
                answer = fetch(f"http://127.0.0.1:{port}", "/")
                assert answer.status == 200
                assert echo_of(answer)["fields"]["x-forwarded-for"] == "127.0.0.1, 127.0.0.1", "nginx is trusted"


def tls_of(certificates: Certificates, shown: str) -> dict[str, object]:
    """The `tls` of a route that shows the certificate `shown`, or none."""
    tls: dict[str, object] = {"ca": str(certificates.authority.certificate)}
    if shown:
        pair: Certificate = getattr(certificates, shown)
        tls |= {"certificate": str(pair.certificate), "key": str(pair.key)}
    return tls


@pytest.fixture(scope="module")
def proxy_with_certificates(
    certificates: Certificates, nginx_upstream: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SseproxyProcess]:
    with ExitStack() as stack:
        urls = {"nginx": nginx_upstream}
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = certificates.server.server_context_for(certificates.authority)
            context.minimum_version = context.maximum_version = version
            urls[version.name] = stack.enter_context(EchoUpstream(version.name, tls=context)).url
        plain = stack.enter_context(EchoUpstream("plain")).url
        routes = [
            {
                "match": {"path": f"/{name}/{shown or 'none'}"},
                "upstream": url,
                "tls": tls_of(certificates, shown),
            }
            for name, url in urls.items()
            for shown in ("client", "other_client", "stranger", "")
        ] + [
            {
                "match": {"path": f"/authorize/{shown or 'none'}"},
                "upstream": plain,
                "authorize": {"url": f"{nginx_upstream}/who", "tls": tls_of(certificates, shown)},
            }
            for shown in ("client", "")
        ]
        config: Path = tmp_path_factory.mktemp("upstreams") / "sseproxy.yaml"
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": routes}))
        with SseproxyProcess("-c", str(config)) as process:
            yield process


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_an_upstream_that_asks_for_a_certificate(proxy_with_certificates: SseproxyProcess, version: str) -> None:
    answer = fetch(proxy_with_certificates.url, f"/{version}/client")
    assert answer.status == 200
    assert echo_of(answer)["upstream"] == version


@pytest.mark.parametrize("shown", ["stranger", "none"])
@pytest.mark.parametrize(("version", "error"), [("TLSv1_2", "tls_protocol_error"), ("TLSv1_3", "tls_alert_received")])
def test_an_upstream_that_refuses_the_certificate(
    proxy_with_certificates: SseproxyProcess, version: str, error: str, shown: str
) -> None:
    path = f"/{version}/{shown}"
    answer = fetch(proxy_with_certificates.url, path)
    assert answer.status == 502
    assert error in str(answer.field("Proxy-Status"))
    proxy_with_certificates.stdout.wait_for(
        lambda lines: any(path in line and "alert" in line.lower() for line in lines)
    )


def test_nginx_lets_the_proxy_in(proxy_with_certificates: SseproxyProcess) -> None:
    assert fetch(proxy_with_certificates.url, "/nginx/client").body == b"CN=client"
    refused = fetch(proxy_with_certificates.url, "/nginx/none")
    assert refused.status == 400
    assert b"No required SSL certificate was sent" in refused.body


def test_routes_with_different_certificates_share_no_connection(proxy_with_certificates: SseproxyProcess) -> None:
    for _ in range(4):
        assert fetch(proxy_with_certificates.url, "/nginx/client").body == b"CN=client"
        assert fetch(proxy_with_certificates.url, "/nginx/other_client").body == b"CN=other-client"
        assert fetch(proxy_with_certificates.url, "/nginx/none").status == 400


def test_the_service_that_authorizes_is_shown_a_certificate_of_its_own(
    proxy_with_certificates: SseproxyProcess,
) -> None:
    assert fetch(proxy_with_certificates.url, "/authorize/client").status == 200
    assert fetch(proxy_with_certificates.url, "/authorize/none").status == 503


def test_a_tunnel_shows_the_certificate(certificates: Certificates, tmp_path: Path) -> None:
    config = tmp_path / "sseproxy.yaml"
    with HandUpstream(tls=certificates.server.server_context_for(certificates.authority)) as upstream:
        route = {"upstream": upstream.url, "tls": tls_of(certificates, "client")}
        config.write_text(json.dumps({"server": {"listen": "127.0.0.1:0"}, "routes": [route]}))
        with SseproxyProcess("-c", str(config)) as proxy:
            port = int(proxy.url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
                with upstream.accept() as call:
                    assert isinstance(call.connection, ssl.SSLSocket)
                    assert call.connection.getpeercert()
                    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
                    call.connection.sendall(head + b"hello")
                    received = b""
                    while not received.endswith(b"hello"):
                        data = client.recv(4096)
                        assert data, received
                        received += data
                    assert received.startswith(b"HTTP/1.1 101 ")
