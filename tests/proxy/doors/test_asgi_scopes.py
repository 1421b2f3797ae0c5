"""Which request does the proxy read in an ASGI scope, and which scopes does it refuse?"""

from typing import Any

import pytest

from sseproxy.core.errors import BadRequest, ClientError, HeadersTooLarge, MethodUnknown
from sseproxy.http1.policy import HeadLimits
from sseproxy.http1.requests import ParsedRequest, RequestParser
from sseproxy.proxy.asgi.scopes import METHODS, client_address, is_unix, read_scope
from sseproxy.proxy.inbound import read_request

HOST = (b"host", b"a.test")


def scope(**changes: Any) -> dict[str, Any]:
    """A GET of ``/a`` as uvicorn describes it, but for `changes`; ``None`` takes a key out."""
    described = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"",
        "root_path": "",
        "headers": [HOST],
        "client": ("192.0.2.7", 4711),
        "server": ("192.0.2.1", 80),
        **changes,
    }
    return {name: value for name, value in described.items() if value is not None}


def read(**changes: Any) -> ParsedRequest:
    return read_scope(scope(**changes), HeadLimits())


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"path": "/a/b;c//", "raw_path": b"/a%2Fb;c//", "query_string": b"x=%20+"}, "/a%2Fb;c//?x=%20+"),
        ({"path": "/a b/\u00fc", "raw_path": None}, "/a%20b/%C3%BC"),
        ({"path": "/a%b", "raw_path": b""}, "/a%25b"),
        ({"path": "/mount/a", "raw_path": b"/mount/a", "root_path": "/mount"}, "/mount/a"),
        ({"path": "/a/b", "raw_path": b"/mount/a%2Fb", "root_path": "/mount"}, "/mount/a%2Fb"),
        ({"path": "/stripped", "raw_path": b"/prefix/stripped"}, "/stripped"),
        ({"path": "/a", "raw_path": b"/a?x=1", "query_string": b"x=1"}, "/a?x=1"),
        ({"path": "/\ufffd", "raw_path": b"/%FF"}, "/%FF"),
        ({"path": "/\ufffd\ufffd", "raw_path": b"/%FF"}, "/%FF"),
        ({"path": "*", "raw_path": b"*", "method": "OPTIONS"}, "*"),
        ({"path": "http://b.test/a", "raw_path": b"http://b.test/a"}, "http://b.test/a"),
        ({"query_string": None}, "/a"),
    ],
    ids=[
        "verbatim",
        "without raw_path",
        "a percent sign without raw_path",
        "mounted",
        "mounted by a framework that takes the prefix off",
        "rewritten by an app in front",
        "raw_path with the query",
        "no UTF-8",
        "no UTF-8, decoded otherwise",
        "the server as a whole",
        "absolute form",
        "without a query",
    ],
)
def test_the_target_is_what_the_client_sent(changes: dict[str, Any], target: str) -> None:
    assert read(**changes).target == target


def test_fields_stay_as_they_are_in_their_order() -> None:
    fields = [HOST, (b"x-b", b"caf\xe9"), (b"x-a", b"1"), (b"x-b", b" two ")]
    assert read(headers=[list(field) for field in fields]).headers == [*fields[:-1], (b"x-b", b"two")]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"method": "FOO"}, MethodUnknown),
        ({"method": "get"}, MethodUnknown),
        ({"method": "GET /"}, BadRequest),
        ({"method": ""}, BadRequest),
        ({"method": "GET\n"}, BadRequest),
        ({"method": "CONNECT"}, ClientError),
        ({"http_version": "0.9"}, BadRequest),
        ({"raw_path": b"/\xff", "path": "/\xff"}, BadRequest),
        ({"raw_path": b"/a b", "path": "/a b"}, BadRequest),
        ({"raw_path": b"/a\r\nX: 1", "path": "/a\r\nX: 1"}, BadRequest),
        ({"raw_path": b"/a#b", "path": "/a#b"}, BadRequest),
        ({"raw_path": b"a", "path": "a"}, BadRequest),
        ({"query_string": b"x=\xff"}, BadRequest),
        ({"query_string": b"x= HTTP/1.1\r\nX: 1"}, BadRequest),
        ({"headers": []}, BadRequest),
        ({"headers": [HOST, (b"host", b"b.test")]}, BadRequest),
        ({"headers": [HOST, HOST]}, BadRequest),
        ({"headers": [(b"host", b"a.test\r\nX: 1")]}, BadRequest),
        ({"headers": [(b"host", b"a.test, b.test")]}, BadRequest),
        ({"headers": [HOST, (b"x\x00", b"1")]}, BadRequest),
        ({"headers": [HOST, (b"x", b"1\x00")]}, BadRequest),
        ({"headers": [HOST, (b"x", b"1\nb: 2")]}, BadRequest),
        ({"headers": [HOST, (b"x\ny", b"1")]}, BadRequest),
        ({"headers": [HOST, (b"content-length ", b"1")]}, BadRequest),
        ({"headers": [HOST, (b"transfer-encoding\t", b"chunked")]}, BadRequest),
        ({"headers": [HOST, (b"x:y", b"1")]}, BadRequest),
        ({"headers": [HOST, (b"", b"1")]}, BadRequest),
        ({"headers": [HOST, (b":path", b"/b")]}, BadRequest),
        ({"headers": [HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")]}, BadRequest),
        ({"headers": [HOST, (b"content-length", b"1"), (b"content-length", b"1")]}, BadRequest),
        ({"headers": [HOST, (b"content-length", b"+1")]}, BadRequest),
        ({"headers": [HOST, (b"content-length", b"1, 1")]}, BadRequest),
        ({"headers": [HOST, (b"transfer-encoding", b"gzip, chunked")]}, BadRequest),
        ({"headers": [HOST, (b"transfer-encoding", b"chunked")], "http_version": "1.0"}, BadRequest),
        ({"headers": [HOST, (b"transfer-encoding", b"chunked")], "http_version": "2"}, BadRequest),
        ({"headers": [HOST, (b"connection", b"x")], "http_version": "2"}, BadRequest),
        ({"headers": [HOST, (b"Upgrade", b"x")], "http_version": "3"}, BadRequest),
        ({"headers": [HOST, (b"host", b"b.test")], "http_version": "2"}, BadRequest),
        ({"headers": [HOST, (b"x", b"x" * 65_536)]}, HeadersTooLarge),
        ({"headers": [HOST, *[(b"x", b"")] * 256]}, HeadersTooLarge),
        ({"path": "/" + "a" * 65_536, "raw_path": b"/" + b"a" * 65_536}, HeadersTooLarge),
    ],
)
def test_what_our_own_server_refuses_is_refused(changes: dict[str, Any], error: type[ClientError]) -> None:
    with pytest.raises(error):
        read_request(read(**changes))


@pytest.mark.parametrize(
    ("said", "version"), [("1.0", "1.0"), ("1", "1.0"), ("1.1", "1.1"), ("2", "1.1"), ("2.0", "1.1"), ("3", "1.1")]
)
def test_a_version_is_one_that_the_proxy_knows(said: str, version: str) -> None:
    assert read(http_version=said).version == version


def test_authority_and_host_of_http_2_are_one_if_they_are_alike() -> None:
    assert read(http_version="2", headers=[HOST, (b"x", b"1"), HOST]).headers == [HOST, (b"x", b"1")]


def test_the_methods_are_those_of_our_own_parser() -> None:
    """And of those that it knows, the ones that our own server takes for HTTP."""
    rtsp = {"DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "RECORD", "REDIRECT", "FLUSH"}
    seen: list[str] = []
    for method in sorted(METHODS | rtsp | {"PRI", "FOO", "GET_PARAMETER", "SET_PARAMETER"}):
        parser = RequestParser(lambda request: seen.append(request.method), lambda _: None, hold=lambda _: None)
        target = b"a.test:1" if method == "CONNECT" else b"/"
        parser.feed(method.encode() + b" " + target + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    assert set(seen) == METHODS


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 4711), "192.0.2.7"),
        (["::1", 80], "::1"),
        (("::ffff:192.0.2.7", 80), "192.0.2.7"),
        (("fe80::1%eth0", 80), "fe80::1%eth0"),
        (("testclient", 50000), "testclient"),
        (('1.2.3.4";for=5.6.7.8', 0), ""),
        (("1.2.3.4, 5.6.7.8", 0), ""),
        (("", 0), ""),
        ((None, None), ""),
        (None, ""),
    ],
)
def test_an_address_can_be_written_into_a_field(client: Any, address: str) -> None:
    assert client_address(scope(client=client)) == address


def test_a_peer_without_an_address_is_on_a_unix_socket_only_if_the_server_is() -> None:
    assert is_unix(scope(client=None, server=("/run/app.sock", None)))
    assert not is_unix(scope(client=None))
    assert not is_unix(scope(client=None, server=None))
    assert not is_unix(scope(server=("/run/app.sock", None)))
