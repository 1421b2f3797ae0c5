"""Which values does a request have for the parts of keys and logins, and which of them count?"""

import json
from typing import Any

import pytest

from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import Peer
from sseproxy.core.journal.identity import read_parts
from sseproxy.core.routes import AuthorizePolicy, Route, Upstream
from sseproxy.http1.requests import ParsedRequest
from sseproxy.proxy.inbound import ClientRequest, read_request
from sseproxy.proxy.journal.request_parts import RequestParts
from tests.support.journal_policies import part

UPSTREAM = Upstream("http", "127.0.0.1", 9000)
STRANGER = Peer("192.0.2.1", "http", False)
GATEWAY = Peer("192.0.2.1", "http", True)
JSON = (b"Content-Type", b"application/json")


def value(
    written: str,
    *fields: tuple[bytes, bytes],
    target: str = "/a",
    host: bytes = b"a.test",
    body: bytes | None = None,
    peer: Peer = STRANGER,
    identity: dict[str, bytes] | None = None,
    **route: Any,
) -> bytes | None:
    """What a part stands for; ``None`` if it is missing."""
    headers = [(b"Host", host), *fields]
    if body is not None:
        headers.append((b"Content-Length", b"%d" % len(body)))
    inbound = read_request(ParsedRequest("GET" if body is None else "POST", target, "1.1", headers, upgrades=False))
    request = ClientRequest(inbound, None, peer, peer.address, identity or {})
    parts = RequestParts(request, Route("r", UPSTREAM, **route), body)
    found = read_parts([part(written)], parts.values)
    return None if found is None else found[0]


# The URL.


@pytest.mark.parametrize(
    ("host", "target"),
    [
        (b"A.TEST", "/a/b?c=1&d"),
        (b"a.test", "/%61/b?c=1&d"),
        (b"a.test", "/a/b?last-event-id=57&c=1&d"),
        (b"a.test", "/a/b?c=1&d&lastEventId=AAAAAAAAAAA.1-57"),
        (b"other.test", "http://a.test/a/b?c=1&d"),
    ],
)
def test_what_is_the_same_url(host: bytes, target: str) -> None:
    assert value("url", target=target, host=host) == value("url", target="/a/b?c=1&d")


@pytest.mark.parametrize(
    ("host", "target"),
    [
        (b"b.test", "/a/b?c=1&d"),
        (b"a.test:81", "/a/b?c=1&d"),
        (b"a.test", "/a/B?c=1&d"),
        (b"a.test", "/a/b?d&c=1"),
        (b"a.test", "/a/b?c=%31&d"),
        (b"a.test", "/a/b?c=1&d&"),
        (b"a.test", "/a/b"),
        (b"a.test", "/a%2Fb?c=1&d"),
        # What services read in several ways, and the proxy passes on as it came.
        (b"a.test", "/a//b?c=1&d"),
        (b"a.test", "/a/x/../b?c=1&d"),
        (b"a.test", "/a/%2e/b?c=1&d"),
    ],
)
def test_what_is_another_url(host: bytes, target: str) -> None:
    assert value("url", target=target, host=host) != value("url", target="/a/b?c=1&d")


def test_the_host_behind_a_gateway_is_the_one_that_it_names() -> None:
    named = (b"X-Forwarded-Host", b"b.test")
    assert value("url", named) == value("url")
    assert value("url", named, peer=GATEWAY) != value("url", peer=GATEWAY)


# Query, fields, cookies, authorize.


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("room=1", b"1"),
        ("a&ro%6Fm=a+b%26", b"a b&"),
        ("room=1&room=1", None),
        ("room=1&%72oom=2", None),
        ("room=", None),
        ("room", None),
        ("Room=1", None),
    ],
)
def test_a_parameter(query: str, expected: bytes | None) -> None:
    assert value("query:room", target=f"/a?{query}") == expected


def test_a_field() -> None:
    assert value("header:X-Team", (b"x-TEAM", b"red")) == b"red"
    assert value("header:X-Team") is None
    assert value("header:X-Team", (b"X-Team", b"")) is None
    assert value("header:X-Team", (b"X-Team", b"red"), (b"x-team", b"red")) is None


def test_a_field_that_some_services_take_for_it() -> None:
    assert value("header:X-Team", (b"X_Team", b"red")) is None
    assert value("header:X-Team", (b"X-Team", b"red"), (b"X_Team", b"blue")) is None


@pytest.mark.parametrize("name", [b"X-Forwarded-User", b"X-Real-IP", b"Forwarded"])
def test_what_only_a_gateway_may_say(name: bytes) -> None:
    """No upstream hears it from any other peer."""
    written = f"header:{name.decode()}"
    assert value(written, (name, b"me")) is None
    assert value(written, (name, b"me"), peer=GATEWAY) == b"me"


def test_what_the_service_says_goes_before_what_the_client_says() -> None:
    authorize = AuthorizePolicy(UPSTREAM, take=(("user", "X-User"),))
    assert value("header:X-User", (b"X-User", b"me"), authorize=authorize) is None
    assert value("auth:user", (b"X-User", b"me"), authorize=authorize, identity={"user": b"you"}) == b"you"
    assert value("auth:user", authorize=authorize) is None


def test_a_cookie() -> None:
    assert value("cookie:s", (b"Cookie", b'a=1; s="x"')) == b"x"
    assert value("cookie:s", (b"Cookie", b"s=x; s=y")) is None
    assert value("cookie:s", (b"Cookie", b"s=x"), (b"Cookie", b"s=x")) is None
    assert value("cookie:s", (b"Cookie", b"s=")) is None
    assert value("cookie:s") is None


def test_the_header_that_the_route_makes_of_a_cookie() -> None:
    auth, cookie = CookieAuth("token"), (b"Cookie", b"token=x")
    assert value("header:Authorization", cookie, auth=auth) == b"Bearer x"
    assert value("header:Authorization", cookie, (b"Authorization", b"own"), auth=auth) == b"own"
    assert value("header:Authorization", cookie) is None
    assert value("header:X-Team", cookie, auth=auth) is None
    assert value("header:Authorization", auth=auth) is None


# Members of the body.


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("x", b"x"),
        ("\u00e9\u2028", "\u00e9\u2028".encode()),
        ("\ud800", b"\xed\xa0\x80"),
        (17, b"17"),
        (-1, b"-1"),
        (2**70, b"1180591620717411303424"),
        (True, b"true"),
        (False, b"false"),
        ("", None),
        (1.0, None),
        (None, None),
        ([1], None),
        ({"id": 1}, None),
        ("x" * 257, None),
    ],
)
def test_a_member(member: object, expected: bytes | None) -> None:
    body = json.dumps({"a": {"id": "no"}, "id": member, "b": 1}).encode()
    assert value("body:id", JSON, body=body) == expected
    assert value("body:id", body=body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"id": "x"',
        b'["id"]',
        b'{"ID": "x"}',
        b'{"id": "x", "id": "x"}',
        b'{"id": "x", "\\u0069d": "y"}',
        b'{"id": [], "id": "y"}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
    ],
)
def test_a_member_that_is_missing(body: bytes) -> None:
    assert value("body:id", JSON, body=body) is None


def test_a_body_that_is_not_looked_into() -> None:
    body = b'{"id": "x"}'
    assert value("body:id", (b"Content-Encoding", b"gzip"), body=body) is None
    assert value("body:id", (b"Content-Type", b"multipart/form-data"), body=body) is None
    assert value("body:id") is None


def test_a_member_behind_a_long_conversation() -> None:
    body = b'{"messages": [' + b'"",' * 349_000 + b'""], "id": "x"}'
    assert value("body:id", JSON, body=body) == b"x"


def test_a_url_is_text_whatever_is_in_it() -> None:
    assert value("url", target="/a?b={|}^`\\") != value("url", target="/a?b={|}^`")
