"""What does the proxy take from a request that has been parsed, without any connection?"""

import string
from dataclasses import replace
from typing import Any

import pytest

from sseproxy.core.errors import BadRequest, ClientError, ExpectationFailed, MethodRefused
from sseproxy.core.http.fields import HeaderRules, Headers, Peer
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.http1.requests import ParsedRequest
from sseproxy.proxy.inbound import InboundRequest, read_request
from tests.support.journal_policies import feed

PLAIN = Upstream("http", "127.0.0.1", 9000)
HOST = (b"Host", b"a.test")


def read(
    *fields: tuple[bytes, bytes], method: str = "GET", target: str = "/a", version: str = "1.1", upgrades: bool = False
) -> InboundRequest:
    return read_request(ParsedRequest(method, target, version, list(fields), upgrades=upgrades))


def upstream_fields(request: InboundRequest, **route: Any) -> Headers:
    upstream = route.pop("upstream", PLAIN)
    policy = Route("default", upstream, **route)
    accepts = request.stream_request(policy).accepts_stream
    return request.upstream_headers(policy, Peer("192.0.2.1", "http", False), accepts_stream=accepts)


def test_a_plain_request() -> None:
    request = read(HOST, (b"X-A", b"\xe9"), target="/a;b?c=%2F")
    assert (request.method, request.target, request.path) == ("GET", "/a;b?c=%2F", "/a;b")
    assert (request.host, request.body_length, request.has_body) == (b"a.test", None, False)
    assert (request.expects_continue, request.upgrade) == (False, None)
    assert request.headers == [HOST, (b"X-A", b"\xe9")]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_refused_methods(method: str) -> None:
    with pytest.raises(MethodRefused):
        read(HOST, method=method)


@pytest.mark.parametrize(
    ("fields", "length", "has_body"),
    [
        ([(b"content-length", b"0")], 0, True),
        ([(b"Content-Length", b"12")], 12, True),
        ([(b"Content-Length", b"0012")], 12, True),
        ([(b"transfer-encoding", b"Chunked")], None, True),
        ([], None, False),
    ],
)
def test_framing(fields: Headers, length: int | None, has_body: bool) -> None:
    request = read(HOST, *fields, method="POST")
    assert (request.body_length, request.has_body) == (length, has_body)


@pytest.mark.parametrize("value", [b"", b"+1", b"-1", b"1,1", b"1 1", b"0x1", b"1_0", b"\xc2\xb2", b"1" * 19, b"1.0"])
def test_lengths_that_are_none(value: bytes) -> None:
    """The parser refuses most of these before; nothing here relies on it."""
    with pytest.raises(BadRequest):
        read(HOST, (b"Content-Length", value))


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"1"), (b"content-length", b"1")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"")],
        [(b"Transfer-Encoding", b"chunked\x0b")],
        [(b"X-A", b"a\x00")],
        [(b"X-A", b"a\rb")],
        [(b"X\nA", b"b")],
        [HOST],
    ],
)
def test_ambiguous_heads(fields: Headers) -> None:
    with pytest.raises(BadRequest):
        read(HOST, *fields, method="POST")


def test_a_coding_needs_http_11() -> None:
    with pytest.raises(BadRequest):
        read(HOST, (b"Transfer-Encoding", b"chunked"), version="1.0")


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0", ""])
def test_versions(version: str) -> None:
    with pytest.raises(BadRequest):
        read(HOST, version=version)


@pytest.mark.parametrize("host", [b"", b"a", b"a:", b"a:1", b"[::1]", b"[::1]:1", b"A_b-c.d~", b"1.2.3.4:5", b"%61"])
def test_hosts(host: bytes) -> None:
    assert read((b"Host", host)).host == host


@pytest.mark.parametrize(
    "host", [b"a/b", b"a b", b"a,b", b"a@b", b"a:b", b"::1", b"[", b"[]", b"[x]", b"a#", b"\xe9", b"a\t", b"<", b'"']
)
def test_hosts_that_are_none(host: bytes) -> None:
    if host.strip() != host:
        assert read((b"Host", host)).host == host.strip()
    else:
        with pytest.raises(BadRequest):
            read((b"Host", host))


@pytest.mark.parametrize(
    "target", ["a", "", "?", "/a b", "/a\x7f", "/a#", "ftp://a.test/", "//\t", "http:///", "http://a@b.test/"]
)
def test_targets_that_are_none(target: str) -> None:
    with pytest.raises(BadRequest):
        read(HOST, target=target)


@pytest.mark.parametrize("target", ["http://b.test/x", "HTTPS://b.test/x"])
@pytest.mark.parametrize("host", [b"a.test", b"b.test:81", b""])
def test_the_target_says_more_than_host(target: str, host: bytes) -> None:
    """RFC 9112 section 3.2.2: what Host says is ignored, and the upstream gets what the target says."""
    request = read((b"Host", host), target=target)
    assert (request.host, request.target) == (b"b.test", "/x")
    fields = upstream_fields(request)
    assert [value for name, value in fields if name == b"Host"] == [b"b.test"]
    assert (b"X-Forwarded-Host", b"b.test") in fields


#: Every printable character, and how Chromium and Node send it in a path and in a query.
SENT_RAW_IN_PATHS = "!$%&'()*+,-./:;=@[]^_|~" + string.ascii_letters + string.digits
SENT_RAW_IN_QUERIES = SENT_RAW_IN_PATHS + "?\\`{}"


@pytest.mark.parametrize("before", ["/", "/?", "http://a.test/", "http://a.test?"])
def test_what_browsers_send_is_not_refused(before: str) -> None:
    allowed = SENT_RAW_IN_QUERIES if "?" in before else SENT_RAW_IN_PATHS + "?"
    for character in map(chr, range(0x100)):
        if character in allowed:
            assert read(HOST, target=before + character).target.endswith(character)
        elif character < "\x7f":
            with pytest.raises(BadRequest):
                read(HOST, target=before + character)


@pytest.mark.parametrize(
    ("values", "passed_on", "is_last"),
    [([b"3"], [b"2"], False), ([b"1"], [b"0"], False), ([b"0"], [b"0"], True), ([b"010"], [b"9"], False)],
)
def test_options_are_counted_down(values: list[bytes], passed_on: list[bytes], is_last: bool) -> None:
    request = read(HOST, *[(b"max-forwards", value) for value in values], method="OPTIONS")
    assert [value for name, value in request.headers if name.lower() == b"max-forwards"] == passed_on
    assert request.is_last_hop is is_last


@pytest.mark.parametrize("values", [[b"x"], [b"-1"], [b""], [b"1", b"2"], [b"1" * 30]])
def test_what_is_no_number_is_not_counted(values: list[bytes]) -> None:
    fields = [(b"Max-Forwards", value) for value in values]
    request = read(HOST, *fields, method="OPTIONS")
    assert (request.headers, request.is_last_hop) == ([HOST, *fields], False)


def test_other_methods_are_not_counted() -> None:
    request = read(HOST, (b"Max-Forwards", b"0"))
    assert (request.headers, request.is_last_hop) == ([HOST, (b"Max-Forwards", b"0")], False)


def test_a_control_character_is_placed_but_not_quoted() -> None:
    with pytest.raises(BadRequest) as raised:
        read(HOST, (b"X-Secret", b"hunter2\x01"))
    assert str(raised.value) == "A header field contains a control character: field 2 of the head"


def test_a_missing_host() -> None:
    assert read(version="1.0").host == b""
    assert read(version="1.0", target="http://b.test:1/x?y").host == b"b.test:1"
    with pytest.raises(BadRequest):
        read()


@pytest.mark.parametrize(
    ("value", "expected"), [(b"100-continue", True), (b"100-Continue ", True), (b"", False), (b",", False)]
)
def test_expectations(value: bytes, expected: bool) -> None:
    assert read(HOST, (b"Expect", value)).expects_continue is expected


@pytest.mark.parametrize("value", [b"x", b"100-continue, x", b"100-continue;a=b", b"200-ok"])
def test_expectations_that_cannot_be_met(value: bytes) -> None:
    with pytest.raises(ExpectationFailed):
        read(HOST, (b"Expect", value))


@pytest.mark.parametrize(
    ("connection", "upgrade", "expected"),
    [
        (b"Upgrade", b"websocket", b"websocket"),
        (b"keep-alive, UPGRADE", b"WebSocket", b"WebSocket"),
        (b"upgrade", b"x/1, y", b"x/1, y"),
        (b"upgrade", b"h2c", None),
        (b"upgrade", b"websocket, H2C", None),
        (b"upgrade", b"", None),
        (b"keep-alive", b"websocket", None),
    ],
)
def test_upgrades(connection: bytes, upgrade: bytes, expected: bytes | None) -> None:
    request = read(HOST, (b"Connection", connection), (b"Upgrade", upgrade), upgrades=True)
    assert request.upgrade == expected
    fields = upstream_fields(request)
    assert [field for field in fields if field[0] in (b"Connection", b"Upgrade")] == (
        [] if expected is None else [(b"Connection", b"upgrade"), (b"Upgrade", expected)]
    )


EARLY = Route("default", PLAIN, heartbeat=HeartbeatPolicy(before_response=10.0))


@pytest.mark.parametrize(
    ("mode", "method", "accept", "expected"),
    [
        (StreamMode.AUTO, "GET", b"text/event-stream", True),
        (StreamMode.AUTO, "GET", b"*/*", False),
        (StreamMode.AUTO, "HEAD", b"text/event-stream", False),
        (StreamMode.ALWAYS, "GET", b"*/*", True),
        (StreamMode.ALWAYS, "HEAD", b"*/*", False),
        (StreamMode.NEVER, "GET", b"text/event-stream", False),
    ],
)
def test_which_requests_declare_a_stream(mode: StreamMode, method: str, accept: bytes, expected: bool) -> None:
    request = read(HOST, (b"Accept", accept), method=method)
    assert request.stream_request(Route("default", PLAIN, stream=mode)).declares is expected


@pytest.mark.parametrize(
    ("dialect", "target", "expected"),
    [
        (Dialect.GEMINI, "/v1beta/models/m:streamGenerateContent?alt=sse", True),
        (Dialect.GEMINI, "/a?key=k&alt=sse&b", True),
        (Dialect.GEMINI, "/a?alt=json", False),
        (Dialect.GEMINI, "/a?salt=sse", False),
        (Dialect.GEMINI, "/alt=sse", False),
        (Dialect.GENERIC, "/a?alt=sse", False),
    ],
)
def test_gemini_declares_a_stream_in_the_query(dialect: Dialect, target: str, expected: bool) -> None:
    request = read(HOST, method="POST", target=target)
    assert request.stream_request(Route("default", PLAIN, dialect=dialect)).declares is expected
    assert not request.stream_request(Route("default", PLAIN, dialect=dialect, stream=StreamMode.NEVER)).declares


def test_a_body_without_a_type_is_looked_at() -> None:
    assert read(HOST, (b"Content-Length", b"2"), method="POST").stream_request(EARLY).wanted_members


@pytest.mark.parametrize(
    ("media", "mode", "expected"),
    [
        (b"application/json", StreamMode.AUTO, True),
        (b"Application/JSON; charset=utf-8", StreamMode.AUTO, True),
        (b"application/vnd.x+json", StreamMode.AUTO, True),
        (b"text/plain", StreamMode.AUTO, True),
        (b"application/x-www-form-urlencoded", StreamMode.AUTO, True),
        (b"", StreamMode.AUTO, True),
        (b"image/png", StreamMode.AUTO, False),
        (b"Multipart/Form-Data; boundary=x", StreamMode.AUTO, False),
        (b"application/octet-stream", StreamMode.AUTO, False),
        (b"application/grpc+json", StreamMode.AUTO, False),
        (b"application/json", StreamMode.NEVER, False),
    ],
)
def test_which_bodies_are_looked_at(media: bytes, mode: StreamMode, expected: bool) -> None:
    request = read(HOST, (b"Content-Type", media), (b"Content-Length", b"2"), method="POST")
    assert bool(request.stream_request(replace(EARLY, stream=mode)).wanted_members) is expected


@pytest.mark.parametrize(
    ("upstream", "host"),
    [
        (PLAIN, b"a.test"),
        (Upstream("https", "b.test", 443), b"b.test"),
        (Upstream("https", "b.test", 8443), b"b.test:8443"),
        (Upstream("https", "::1", 443), b"[::1]"),
        (Upstream("http+unix", socket_path="/x"), b"a.test"),
    ],
)
def test_the_host_for_the_upstream(upstream: Upstream, host: bytes) -> None:
    fields = upstream_fields(read(HOST), upstream=upstream)
    assert [value for name, value in fields if name.lower() == b"host"] == [host]
    assert (b"X-Forwarded-Host", b"a.test") in fields


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ([(b"Host", b"secret/")], "/a"),
        ([HOST], "secret"),
        ([HOST, (b"Content-Length", b"secret")], "/a"),
        ([HOST, (b"Expect", b"secret")], "/a"),
        ([HOST, (b"secret\x01", b"secret")], "/a"),
    ],
)
def test_errors_never_quote_the_request(fields: Headers, target: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(*fields, target=target)
    assert "secret" not in str(caught.value)


# A route with a journal.


def test_no_connection_option_takes_away_what_a_key_or_a_login_goes_by() -> None:
    """The upstream would answer for all who share the stream as if that part had not been there."""
    options = (b"Connection", b"X-Room, X-Team, X-A")
    asked = read(HOST, options, (b"X-Room", b"1"), (b"X-Team", b"2"), (b"X-A", b"3"))
    fields = upstream_fields(asked, journal=feed(login="header:X-Team", key="header:x-room"))
    assert (b"X-Room", b"1") in fields
    assert (b"X-Team", b"2") in fields
    assert (b"X-A", b"3") not in fields


def test_a_feed_is_asked_for_without_what_the_client_is_known_by() -> None:
    asked = read(HOST, (b"Authorization", b"own"), (b"Cookie", b"a=1"), (b"X-A", b"3"))
    rules = HeaderRules(set=(("Authorization", "of the route"),))
    names = ["Host", "X-A", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via"]
    seen = [name.decode() for name, _ in upstream_fields(asked, journal=feed())]
    assert [name for name in seen if name in (*names, "Authorization", "Cookie")] == names
    set_by_route = upstream_fields(asked, journal=feed(), request_headers=rules)
    assert [value for name, value in set_by_route if name == b"Authorization"] == [b"of the route"]
