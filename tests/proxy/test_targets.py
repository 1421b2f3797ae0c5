"""Does the request target reach the upstream verbatim? (contract section 2)"""

import pytest

from sseproxy.core.routes import Match
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import RawUpstream, replies

VERBATIM = [
    b"/",
    b"/a%2Fb/../c//d;x=1?q=a+b%20c",
    b"/zz?x=%",
    b"/%zz?x=%",
    b"//evil",
    b"//evil.test/x",
    b"/[b]|c",
    b"/?a={b}`c`\\d^e|f",
    b"/^",
    b"/x?",
    b"/?",
    b"/x?a?b",
    b"/x??",
    b"/./../..",
    b"/%2e%2e/%2E",
    b"/x?q=http://other.test/",
    b"/http://other.test/",
    b"/a:b@c",
    b"/%00%0d%0a",
    b"/a%23b",
    b"/" + b"x" * 9000 + b"?" + b"y" * 9000,
]


def get(target: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.parametrize("target", VERBATIM, ids=lambda target: repr(target[:40]))
async def test_verbatim(target: bytes) -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == target


@pytest.mark.parametrize("target", VERBATIM, ids=lambda target: repr(target[:40]))
async def test_verbatim_behind_a_base_path(target: bytes) -> None:
    async with stage(replies(), base_path="/base/v1") as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == b"/base/v1" + target


@pytest.mark.parametrize(
    ("target", "reduced"),
    [
        (b"http://a.test", b"/"),
        (b"http://a.test/", b"/"),
        (b"http://a.test/x%2Fy?q=1", b"/x%2Fy?q=1"),
        (b"http://a.test?q=1", b"/?q=1"),
        (b"http://a.test//x", b"//x"),
        (b"HTTP://A.TEST/x", b"/x"),
        (b"https://a.test/x", b"/x"),
    ],
)
async def test_absolute_form_is_reduced(target: bytes, reduced: bytes) -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == reduced
        assert (on.upstream.requests[0].one(b"Host") or b"").lower() == b"a.test"


async def test_absolute_form_names_the_host_whatever_host_says() -> None:
    async with RawUpstream.serve(replies()) as upstream:
        route = route_to(upstream, match=Match(host="b.test"))
        async with ProxyServer.serve(route) as proxy, proxy.connect() as client:
            assert (await client.ask(get(b"http://b.test:81/x"))).status == 200
            assert (await client.ask(get(b"/x").replace(b"a.test", b"b.test"))).status == 200
            assert (await client.ask(b"GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n")).status == 404
        assert [request.one(b"Host") for request in upstream.requests] == [b"b.test:81", b"b.test"]


async def test_a_later_version_is_answered_as_this_one() -> None:
    """RFC 9110 section 2.5."""
    async with stage(replies()) as on:
        for version in (b"HTTP/1.2", b"HTTP/1.9"):
            response = await on.client.ask(get(b"/a").replace(b"HTTP/1.1", version))
            assert response.first_line == b"HTTP/1.1 200 OK"
            assert response.one(b"Connection") is None
        assert [request.first_line for request in on.upstream.requests] == [b"GET /a HTTP/1.1"] * 2


async def test_options_that_go_no_further_are_answered_here() -> None:
    request = get(b"/a", b"OPTIONS")[:-2]
    async with stage(replies()) as on:
        response = await on.client.ask(request + b"Max-Forwards: 0\r\n\r\n")
        assert (response.status, response.one(b"Content-Length")) == (204, None)
        assert b"OPTIONS" in (response.one(b"Allow") or b"")
        assert on.upstream.visits == []
        assert (await on.client.ask(request + b"Max-Forwards: 2\r\n\r\n")).status == 200
        assert on.upstream.requests[0].one(b"Max-Forwards") == b"1"


async def test_absolute_form_names_the_host_for_http_10() -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(b"GET http://a.test:81/x HTTP/1.0\r\n\r\n")).status == 200
        assert on.upstream.requests[0].target == b"/x"
        assert on.upstream.requests[0].one(b"Host") == b"a.test:81"


@pytest.mark.parametrize("target", [b"*", b"http://a.test"])
async def test_options_for_the_server_as_a_whole(target: bytes) -> None:
    async with stage(replies()) as on:
        assert (await on.client.ask(get(target, b"OPTIONS"))).status == 200
        assert on.upstream.requests[0].target == b"*"


@pytest.mark.parametrize(
    ("target", "rewritten"),
    [
        (b"/api", b"/base/"),
        (b"/api?x", b"/base/?x"),
        (b"/api/", b"/base/"),
        (b"/api/x%2F?y=/api/", b"/base/x%2F?y=/api/"),
        (b"/api//x", b"/base//x"),
        (b"/apix", b"/base/apix"),
        (b"/API/x", b"/base/API/x"),
        (b"/%61pi/x", b"/base/%61pi/x"),
        (b"/x/api", b"/base/x/api"),
    ],
)
async def test_strip_prefix_and_base_path(target: bytes, rewritten: bytes) -> None:
    async with stage(replies(), base_path="/base", strip_prefix="/api") as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == rewritten


async def test_the_first_route_that_matches_wins() -> None:
    async with RawUpstream.serve(replies()) as left, RawUpstream.serve(replies()) as right:
        routes = [
            route_to(left, name="left", match=Match(prefix="/left", methods=frozenset({"GET"}), host="a.test")),
            route_to(right, name="right", match=Match(prefix="/left/right")),
        ]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            assert (await client.ask(get(b"/left/right"))).status == 200
            assert (await client.ask(get(b"/left/right", b"OPTIONS"))).status == 200
            response = await client.ask(get(b"/other"))
            assert response.status == 404
            assert response.one(b"Content-Type") == b"application/problem+json"
            assert response.one(b"Proxy-Status") == b"sseproxy"
            assert response.one(b"Connection") is None
            assert (await client.ask(get(b"/left"))).status == 200
        assert [request.target for request in left.requests] == [b"/left/right", b"/left"]
        assert [request.target for request in right.requests] == [b"/left/right"]
