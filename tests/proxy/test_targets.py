"""Does the request target reach the upstream verbatim? (RFC 9112 section 3.2)"""

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


#: Those with dot segments would leave the base path.
LEAVING = [b"/a%2Fb/../c//d;x=1?q=a+b%20c", b"/./../..", b"/%2e%2e/%2E"]
STAYING = [target for target in VERBATIM if target not in LEAVING]


@pytest.mark.parametrize("target", STAYING, ids=lambda target: repr(target[:40]))
async def test_verbatim_behind_a_base_path(target: bytes) -> None:
    async with stage(replies(), base_path="/base/v1") as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == b"/base/v1" + target


@pytest.mark.parametrize(
    "target",
    [
        *LEAVING,
        b"/api/../secret",
        b"/api//../secret",
        b"/x//../api/secret",
        b"//..//api/secret",
        b"/api/%2e%2E/secret",
        b"/api/..",
        b"/..",
        b"/api/.%2e/secret?x",
        b"/api/./x",
        b"/api/..%2Fsecret",
        b"/api/..%5csecret",
        b"/api/..\\secret",
        b"/api/x%2f../y",
        b"/api/..;/secret",
    ],
)
@pytest.mark.parametrize("options", [{"base_path": "/base"}, {"strip_prefix": "/api"}])
async def test_dot_segments_do_not_leave_a_base_path_or_a_prefix(target: bytes, options: dict[str, str]) -> None:
    async with stage(replies(), **options) as on:  # type: ignore[arg-type]
        assert (await on.client.ask(get(target))).status == 400
        assert not on.upstream.requests


@pytest.mark.parametrize("target", [b"/api/...", b"/api/.x/..y", b"/api/x..", b"/api/x?../..", b"/api/x;.."])
async def test_other_dots_go_on_behind_a_base_path(target: bytes) -> None:
    async with stage(replies(), base_path="/base") as on:
        assert (await on.client.ask(get(target))).status == 200
        assert on.upstream.requests[0].target == b"/base" + target


#: Spellings of /admin/x that servers read as that.
SPELLINGS = [
    b"/admin/x",
    b"//admin/x",
    b"/admin//x",
    b"/./admin/x",
    b"/x/../admin/x",
    b"/x/%2e%2E/admin/x",
    b"/%61dmin/x",
    b"/%61%64%6D%69%6e/x?y",
    b"/../admin/./x",
    b"/x//../admin/x",
    b"/x/y//../../admin/x",
    b"/x///%2e%2E//admin/x",
    b"/x/.//../admin/x",
    b"//../admin/x",
    b"/admin/x/y//../../x",
]


@pytest.mark.parametrize("target", SPELLINGS)
@pytest.mark.parametrize("host", [b"admin.test", b"ADMIN.test", b"admin.test.", b"Admin.test.:80", b"%61dmin.test"])
async def test_no_spelling_gets_around_a_route(target: bytes, host: bytes) -> None:
    async with RawUpstream.serve(replies()) as admin, RawUpstream.serve(replies()) as other:
        routes = [route_to(admin, name="admin", match=Match(path="/admin/x", host="admin.test")), route_to(other)]
        async with ProxyServer.serve(*routes) as proxy, proxy.connect() as client:
            request = b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            assert (await client.ask(request)).status == 200
        assert [request.target for request in admin.requests] == [target]
        assert other.requests == []


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
        (b"/%61pi/x", b"/base/x"),
        (b"//api/x", b"/base/x"),
        (b"///%61%70i//x%61", b"/base//x%61"),
        (b"//api", b"/base/"),
        (b"/api%2Fx", b"/base/api%2Fx"),
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
