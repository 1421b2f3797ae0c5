"""Which bytes does the upstream get for a request? (RFC 9110 sections 7.6 and 10.1, RFC 7239)"""

import socket
import ssl
from pathlib import Path

import pytest

from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import MOST_MEMBERS, HeaderRules
from sseproxy.core.http.via import MOST_INSTANCES
from sseproxy.core.routes import Route, Upstream, UpstreamTLS
from sseproxy.core.stream.plan import StreamMode
from sseproxy.http1.policy import HeadLimits
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.proxy_server import SILENT, ProxyServer, route_to, stage
from tests.support.raw_upstream import RawUpstream, replies

#: What the proxy says about a client on IPv4 that asked for a.test; the last fields of every request.
SIGNED = (
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
    b'Forwarded: for=127.0.0.1;host="a.test";proto=http\r\nX-Request-Id: made-here\r\nVia: 1.1 sseproxy-test\r\n'
)


def ask(*fields: bytes, line: bytes = b"GET /a HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: a.test", *fields]) + b"\r\n\r\n" + body


async def sent(*fields: bytes, line: bytes = b"GET /a HTTP/1.1", body: bytes = b"", **options: object) -> Message:
    """The request as the upstream got it."""
    async with stage(replies(), **options) as on:  # type: ignore[arg-type]
        response = await on.client.ask(ask(*fields, line=line, body=body))
        assert response.status == 200, response
        [request] = on.upstream.requests
        assert bytes(on.upstream.visits[0].received).startswith(request.head)
        return request


async def test_nothing_is_added_but_the_signature() -> None:
    request = await sent()
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\n" + SIGNED + b"\r\n"


async def test_fields_go_on_as_they_are() -> None:
    fields = [
        b"user-agent: x",
        b"X-CamelCase_1: a",
        b"x-empty: ",
        b"X-Twice: a",
        b"X-Twice: b",
        b"Cookie: a=1; b=2",
        b"Cookie: c=3",
        b"Authorization: Bearer abc",
        b"Last-Event-ID: \xe2\x82\xac",
        b"X-Obs: caf\xe9 \xff\x80",
        b"X-Tab: a\tb",
        b'X-Quoted: "a\\"b"',
        b"Accept-Encoding: gzip, br",
        b"Cache-Control: no-cache",
        b"Range: bytes=0-1",
        b"Max-Forwards: 3",
    ]
    request = await sent(*fields)
    assert request.head == b"\r\n".join([b"GET /a HTTP/1.1", b"Host: a.test", *fields, SIGNED, b""])


@pytest.mark.parametrize(
    "field",
    [
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy-Authenticate: x",
        b"TE: trailers",
        b"Trailer: X-A",
        b"Upgrade: h2c",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Connection: Upgrade",
    ],
)
async def test_hop_by_hop_fields_stay_here(field: bytes) -> None:
    request = await sent(field, b"X-A: b")
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\n" + SIGNED + b"\r\n"


async def test_fields_that_connection_names_stay_here() -> None:
    request = await sent(
        b"Connection: x-one , X-TWO", b"X-One: 1", b"x-two: 2", b"X-Three: 3", b"connection: x-four", b"X-Four: 4"
    )
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-Three: 3\r\n" + SIGNED + b"\r\n"


@pytest.mark.parametrize(
    "name",
    [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"Via", b"Host", b"Content-Length"],
)
async def test_a_client_cannot_take_away_what_the_proxy_says(name: bytes) -> None:
    request = await sent(b"Connection: " + name, b"Content-Length: 2", line=b"GET /a HTTP/1.1", body=b"hi")
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\n" + SIGNED + b"Content-Length: 2\r\n\r\n"


#: Fields that mean something to whoever reads the request in the end.
FOR_EVERYBODY = [
    "Authorization",
    "Cookie",
    "Content-Type",
    "Content-MD5",
    "Cache-Control",
    "Accept",
    "Accept-Language",
    "User-Agent",
    "Referer",
    "Range",
    "If-None-Match",
    "Last-Event-ID",
    "Origin",
    "Mcp-Session-Id",
    "X-Request-Id",
    "Traceparent",
    "Sec-Fetch-Site",
    "X-Stainless-Lang",
    "Anthropic-Version",
    "X-Api-Key",
]


@pytest.mark.parametrize("name", [*FOR_EVERYBODY, *(name.replace("-", "_") for name in FOR_EVERYBODY if "-" in name)])
async def test_connection_takes_away_nothing_that_is_for_everybody(name: str) -> None:
    request = await sent(b"Connection: " + name.lower().encode(), name.encode() + b": x")
    assert request.one(name.encode()) == b"x"


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"X-Forwarded-Prefix",
        b"X_Forwarded_Prefix",
        b"x-forwarded_PORT",
        b"Forwarded",
        b"Via",
        b"X-Real-IP",
        b"X_Real_IP",
    ],
)
async def test_connection_does_not_take_away_what_a_trusted_proxy_says(name: bytes) -> None:
    """CVE-2022-31813: a gateway that passes on its client's `Connection` would lose what it says itself."""
    said = await sent(name + b": 192.0.2.1", trusted=("127.0.0.0/8",))
    request = await sent(b"Connection: close, " + name, name + b": 192.0.2.1", trusted=("127.0.0.0/8",))
    assert request.one(name) == said.one(name)
    assert (request.one(name) or b"").startswith(b"192.0.2.1")


async def test_connection_does_not_take_away_what_the_route_goes_by() -> None:
    """With its own X-Login gone, the request would go on in the name of the cookie."""
    request = await sent(
        b"Connection: x-login",
        b"X-Login: own",
        b"Cookie: sid=other",
        auth=CookieAuth("sid", header="X-Login", format="{value}"),
    )
    assert request.one(b"X-Login") == b"own"


async def test_as_many_connection_options_as_are_allowed() -> None:
    options = b", ".join(b"x-%d" % number for number in range(MOST_MEMBERS - 1))
    request = await sent(b"Connection: x-a", b"Connection: " + options, b"X-0: 1", b"X-A: 2")
    assert (request.one(b"X-0"), request.one(b"X-A")) == (None, None)


async def test_more_connection_options_are_refused() -> None:
    async with stage(replies()) as on:
        response = await on.client.ask(ask(b"Connection: close" + b"," * MOST_MEMBERS))
        assert response.status == 400
        assert not on.upstream.requests


async def test_a_client_cannot_take_away_the_framing_of_chunks() -> None:
    request = await sent(
        b"Connection: Transfer-Encoding",
        b"Transfer-Encoding: Chunked",
        line=b"POST /a HTTP/1.1",
        body=b"2\r\nhi\r\n0\r\n\r\n",
    )
    assert request.head.endswith(SIGNED + b"Transfer-Encoding: chunked\r\n\r\n")
    assert request.body == b"hi"


async def test_as_many_and_as_long_fields_as_are_allowed() -> None:
    fields = [b"X-%d: %b" % (number, b"v" * 100) for number in range(HeadLimits().fields - 2)]
    request = await sent(b"X-Long: " + b"x" * 9000, *fields)
    assert request.one(b"X-Long") == b"x" * 9000
    assert request.one(b"X-253") == b"v" * 100


# Who asked. Untrusted peers' words are replaced, trusted peers' kept.

SAID = [
    b"X-Forwarded-For: 192.0.2.1",
    b"x-forwarded-for: 192.0.2.2, 192.0.2.3",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: outer.test",
    b"Forwarded: for=192.0.2.1;proto=https",
    b"Via: 1.1 outer",
    b"via: 2 inner",
]
KEPT = (
    b"X-Forwarded-For: 192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n"
    b'X-Forwarded-Host: outer.test\r\nForwarded: for=192.0.2.1;proto=https, for=127.0.0.1;host="a.test";proto=http\r\n'
    b"X-Request-Id: made-here\r\nVia: 1.1 outer, 2 inner, 1.1 sseproxy-test\r\n"
)


@pytest.mark.parametrize("trusted", [(), ("192.0.2.0/24", "::1/128")])
async def test_what_an_untrusted_peer_says_is_replaced(trusted: tuple[str, ...]) -> None:
    request = await sent(*SAID, trusted=trusted)
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\n" + SIGNED + b"\r\n"


async def test_what_a_trusted_peer_says_is_appended_to() -> None:
    request = await sent(*SAID, trusted=("127.0.0.0/8",))
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\n" + KEPT + b"\r\n"


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
@pytest.mark.parametrize(
    "via", [b"1.1 sseproxy-test", b"1.1 a, HTTP/1.1 SSEPROXY-TEST (x), 2 b", b"1.1 a\r\nVia: 1.1 sseproxy-test"]
)
async def test_a_request_that_comes_back_is_refused(via: bytes, trusted: tuple[str, ...]) -> None:
    async with stage(replies(), trusted=trusted) as on:
        response = await on.client.ask(ask(b"Via: " + via))
        assert response.status == 508
        assert response.one(b"Content-Type") == b"application/problem+json"
        assert response.one(b"Proxy-Status") == b"sseproxy; error=proxy_loop_detected"
        assert on.upstream.visits == []


@pytest.mark.parametrize(
    ("via", "kept"),
    [
        (b"1.1 sseproxy", b""),
        (b"sseproxy-test", b""),
        (b"1.1 x-sseproxy-test", b""),
        (b"1.1 sseproxy-" + b"a" * 33, b""),
        (b"", b""),
        (b"1.1 sseproxy-other", b"1.1 sseproxy-other, "),
        (
            b"1.0 outer, 2 SSEPROXY-Other (x), 1.1 sseproxy-2\r\nVia: 1.1 sseproxy-2",
            b"1.1 sseproxy-other, 1.1 sseproxy-2, ",
        ),
    ],
)
async def test_others_of_the_same_name_are_no_loop(via: bytes, kept: bytes) -> None:
    assert (await sent(b"Via: " + via)).one(b"Via") == kept + b"1.1 sseproxy-test"


KEEPS, REMOVES, SETS = HeaderRules(), HeaderRules(remove=("Via",)), HeaderRules(set=(("via", "1.1 gateway"),))


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
@pytest.mark.parametrize(
    ("rules", "others"),
    [
        (KEEPS, b"1.1 outer, 1.1 sseproxy-other"),
        (REMOVES, b"1.1 sseproxy-other"),
        (SETS, b"1.1 gateway, 1.1 sseproxy-other"),
    ],
    ids=["keeps", "removes", "sets"],
)
async def test_no_rule_hides_an_instance(rules: HeaderRules, others: bytes, trusted: tuple[str, ...]) -> None:
    via = b"Via: 1.1 outer, 1.1 sseproxy-other"
    request = await sent(via, trusted=trusted, request_headers=rules)
    kept = others if trusted else others.replace(b"1.1 outer, ", b"")
    assert request.all(b"Via") == [kept + b", 1.1 sseproxy-test"]


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
@pytest.mark.parametrize("rules", [(KEEPS, KEEPS), (REMOVES, KEEPS), (KEEPS, SETS), (REMOVES, REMOVES), (SETS, SETS)])
async def test_a_loop_of_two_proxies_ends(rules: tuple[HeaderRules, HeaderRules], trusted: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as left, socket.create_server(("127.0.0.1", 0)) as right:
        ports = [sock.getsockname()[1] for sock in (left, right)]
        to_left, to_right = (
            Route("default", Upstream("http", "127.0.0.1", port), heartbeat=SILENT, request_headers=each)
            for port, each in zip(ports, rules, strict=True)
        )
        async with (
            ProxyServer.serve(to_right, trusted=trusted, listener=left, instance="left"),
            ProxyServer.serve(to_left, trusted=trusted, listener=right, instance="right"),
            AsyncPeer.connect(ports[0]) as client,
        ):
            for _ in range(2):
                assert (await client.ask(ask())).status == 508


async def test_a_request_that_has_passed_too_many_proxies_is_refused() -> None:
    """Each of so many names may be dropped, or there would be no limit; then a loop of more would never end."""
    names = b", ".join(b"1.1 sseproxy-%d" % number for number in range(MOST_INSTANCES))
    assert (await sent(b"Via: " + names)).one(b"Via") == names + b", 1.1 sseproxy-test"
    async with stage(replies()) as on:
        assert (await on.client.ask(ask(b"Via: " + names + b", 1.1 sseproxy-more"))).status == 508
        assert on.upstream.visits == []


async def test_a_proxy_that_is_its_own_upstream(tmp_path: Path) -> None:
    upstream = Upstream("http+unix", socket_path=str(tmp_path / "proxy"))
    async with (
        ProxyServer.serve(Route("default", upstream, heartbeat=SILENT), socket_path=tmp_path / "proxy"),
        AsyncPeer.connect_unix(tmp_path / "proxy") as client,
    ):
        for _ in range(2):
            assert (await client.ask(ask())).status == 508


OTHERS = [
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Forwarded-Ssl",
    "X-Forwarded-Server",
    "X-Forwarded-Scheme",
    "X-Forwarded-User",
    "X-Forwarded-Uri",
    "X-Forwarded-By-Something-New",
    "X-Real-IP",
]


@pytest.mark.parametrize("name", [*OTHERS, *(name.replace("-", "_") for name in OTHERS), "x_forwarded-PORT"])
async def test_whatever_else_an_untrusted_peer_says_in_the_name_of_a_proxy_is_removed(name: str) -> None:
    request = await sent(name.encode() + b": /evil", b"X-ForwardedFor: 1", b"X-Really: 1")
    assert request.head == b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-ForwardedFor: 1\r\nX-Really: 1\r\n" + SIGNED + b"\r\n"


@pytest.mark.parametrize("name", OTHERS)
async def test_whatever_else_a_trusted_peer_says_goes_on(name: str) -> None:
    request = await sent(name.encode() + b": /app", trusted=("127.0.0.0/8",))
    assert request.one(name.encode()) == b"/app"


async def test_a_peer_that_should_be_trusted_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with stage(replies()) as on:
        await on.client.ask(ask())
        assert not caplog.messages
        for _ in range(3):
            await on.client.ask(ask(b"X-Forwarded-Proto: https", b"x-forwarded-for: 192.0.2.1"))
    [record] = [record for record in caplog.records if record.name == "sseproxy"]
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "127.0.0.1 sends X-Forwarded-Proto, x-forwarded-for and is not trusted, so these fields are replaced or "
        "removed; if it is your gateway, add it to server.trusted_proxies: [127.0.0.1]"
    )


@pytest.mark.parametrize("name", ["Forwarded", "forwarded", "X-Real-IP", "x-real-ip", "X-Forwarded-Prefix"])
async def test_a_gateway_is_warned_of_by_whichever_field_it_sends(name: str, caplog: pytest.LogCaptureFixture) -> None:
    await sent(name.encode() + b": 192.0.2.1")
    [record] = [record for record in caplog.records if record.name == "sseproxy"]
    assert record.getMessage().startswith(f"127.0.0.1 sends {name} and is not trusted")


@pytest.mark.parametrize("name", ["Via", "From", "X-Real-IPs", "X-Forwarded", "Forwarded-By", "X-Request-Id"])
async def test_no_other_field_shows_a_gateway(name: str, caplog: pytest.LogCaptureFixture) -> None:
    await sent(name.encode() + b": 1.1 outer")
    assert not [record for record in caplog.records if record.name == "sseproxy"]


async def test_a_peer_that_is_trusted_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    await sent(b"X-Forwarded-Proto: https", trusted=("127.0.0.0/8",))
    assert not [record for record in caplog.records if record.name == "sseproxy"]


@pytest.mark.parametrize("trusted", [(), ("::1/128",)])
async def test_a_peer_on_ipv6(trusted: tuple[str, ...]) -> None:
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream), host="::1", trusted=trusted) as proxy,
        AsyncPeer.connect(proxy.port, host="::1") as client,
    ):
        await client.ask(ask(b"X-Forwarded-For: 192.0.2.1"))
        [request] = upstream.requests
        assert request.one(b"X-Forwarded-For") == (b"192.0.2.1, ::1" if trusted else b"::1")
        assert request.one(b"Forwarded") == b'for="[::1]";host="a.test";proto=http'


@pytest.mark.parametrize("trusted", [(), ("127.0.0.0/8",)])
async def test_a_peer_on_ipv4_at_a_socket_for_both(trusted: tuple[str, ...]) -> None:
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream), host="::ffff:127.0.0.1", trusted=trusted) as proxy,
        proxy.connect() as client,
    ):
        await client.ask(ask(b"X-Forwarded-For: 192.0.2.1"))
        [request] = upstream.requests
        assert request.one(b"X-Forwarded-For") == (b"192.0.2.1, 127.0.0.1" if trusted else b"127.0.0.1")


async def test_a_peer_on_a_unix_socket_is_trusted(tmp_path: Path) -> None:
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream), socket_path=tmp_path / "proxy") as _,
        AsyncPeer.connect_unix(tmp_path / "proxy") as client,
    ):
        await client.ask(ask(b"X-Forwarded-For: 192.0.2.1"))
        await client.ask(ask())
        said, silent = upstream.requests
        assert said.one(b"X-Forwarded-For") == b"192.0.2.1"
        assert silent.one(b"X-Forwarded-For") is None
        assert silent.one(b"Forwarded") == b'for=unknown;host="a.test";proto=http'


# Where it goes.


@pytest.mark.parametrize("host", [b"a.test:8080", b"A.Test", b"[::1]:80", b"xn--caf-dma.test", b"a_b.test", b"a.test."])
async def test_the_host_is_kept_for_a_plain_upstream(host: bytes) -> None:
    async with stage(replies()) as on:
        await on.client.ask(b"GET / HTTP/1.1\r\nhOST: " + host + b"\r\n\r\n")
        assert on.upstream.requests[0].fields[0] == (b"Host", host)
        assert on.upstream.requests[0].one(b"X-Forwarded-Host") == host


async def test_the_host_is_kept_for_a_unix_socket(tmp_path: Path) -> None:
    route = Route(
        "unix", Upstream("http+unix", socket_path=str(tmp_path / "upstream"), base_path="/base"), heartbeat=SILENT
    )
    async with (
        RawUpstream.serve(replies(), socket_path=tmp_path / "upstream") as upstream,
        ProxyServer.serve(route) as proxy,
        proxy.connect() as client,
    ):
        assert (await client.ask(ask())).status == 200
        assert (await client.ask(ask())).status == 200
        assert upstream.requests[0].head == b"GET /base/a HTTP/1.1\r\nHost: a.test\r\n" + SIGNED + b"\r\n"
        assert len(upstream.visits) == 1


async def test_a_tls_upstream_gets_its_own_name(tls_files: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*tls_files)
    async with RawUpstream.serve(replies(), tls=context) as upstream:
        tls = UpstreamTLS(ca=str(tls_files[0]))
        good = Route("good", Upstream("https", "localhost", upstream.port, tls=tls), heartbeat=SILENT)
        async with ProxyServer.serve(good) as proxy, proxy.connect() as client:
            assert (await client.ask(ask())).status == 200
            [request] = upstream.requests
            assert request.one(b"Host") == b"localhost:%d" % upstream.port
            assert request.one(b"X-Forwarded-Host") == b"a.test"
            assert request.one(b"X-Forwarded-Proto") == b"http"
        strict = Route("strict", Upstream("https", "localhost", upstream.port), heartbeat=SILENT)
        async with ProxyServer.serve(strict) as proxy, proxy.connect() as client:
            response = await client.ask(ask())
            assert response.status == 502
            assert response.one(b"Proxy-Status") == b"sseproxy; error=tls_certificate_error"
            assert len(upstream.requests) == 1


async def test_a_client_on_tls(tls_files: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*tls_files)
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream), tls=context) as proxy,
        AsyncPeer.connect(proxy.port, tls=ssl.create_default_context(cafile=str(tls_files[0]))) as client,
    ):
        assert (await client.ask(ask())).status == 200
        assert upstream.requests[0].one(b"X-Forwarded-Proto") == b"https"
        assert upstream.requests[0].one(b"Forwarded") == b'for=127.0.0.1;host="a.test";proto=https'


async def test_header_rules_come_last() -> None:
    rules = HeaderRules(set=(("X-Team", "blue"), ("Host", "other.test"), ("via", "me")), remove=("cookie", "X-Gone"))
    request = await sent(b"Cookie: a", b"COOKIE: b", b"x-team: red", b"X-Kept: 1", b"x-gone: 2", request_headers=rules)
    assert request.fields[0] == (b"X-Kept", b"1")
    assert request.fields[-3:] == [(b"X-Team", b"blue"), (b"Host", b"other.test"), (b"Via", b"me, 1.1 sseproxy-test")]
    assert not request.all(b"Cookie")
    assert not request.all(b"X-Gone")
    assert request.all(b"Via") == [b"me, 1.1 sseproxy-test"]
    assert request.one(b"Host") == b"other.test"


# Accept-Encoding: a coded event stream could carry no heartbeat.


@pytest.mark.parametrize(
    ("mode", "fields", "method", "expected"),
    [
        (StreamMode.AUTO, [], b"GET", b"br"),
        (StreamMode.AUTO, [b"Accept: */*"], b"GET", b"br"),
        (StreamMode.AUTO, [b"Accept: text/event-stream"], b"GET", b"identity"),
        (StreamMode.AUTO, [b"Accept: application/json, Text/Event-Stream;q=0.9"], b"GET", b"identity"),
        (StreamMode.AUTO, [], b"POST", b"identity"),
        (StreamMode.ALWAYS, [], b"GET", b"identity"),
        (StreamMode.NEVER, [b"Accept: text/event-stream"], b"POST", b"br"),
    ],
)
async def test_accept_encoding(mode: StreamMode, fields: list[bytes], method: bytes, expected: bytes) -> None:
    line = method + b" /a HTTP/1.1"
    request = await sent(b"Accept-Encoding: br", *fields, line=line, stream=mode)
    assert request.one(b"Accept-Encoding") == expected
