"""What becomes of a login cookie on its way upstream? (contract section 5)"""

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.routes import Match
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from tests.proxy.test_requests import ask, sent
from tests.support.async_peer import RawClient
from tests.support.http1_reader import Message
from tests.support.proxy_server import ProxyServer, route_to, stage
from tests.support.raw_upstream import RawUpstream, Visit, replies

AUTH = CookieAuth("token")


@pytest.mark.parametrize(
    ("cookie", "authorization", "left"),
    [
        (b"token=x", b"Bearer x", None),
        (b'a=1; token="x"; b=2', b"Bearer x", b"a=1; b=2"),
        (b"a=1;  b = 2 ;token=x", b"Bearer x", b"a=1;  b = 2 "),
        (b"token=x; token=y; a=\xff", b"Bearer x", b"a=\xff"),
        (b"token=; a=1", None, b"a=1"),
        (b"a=1; Token=x", None, b"a=1; Token=x"),
    ],
)
async def test_the_cookie_becomes_a_header(cookie: bytes, authorization: bytes | None, left: bytes | None) -> None:
    request = await sent(b"Cookie: " + cookie, b"X-A: 1", auth=AUTH)
    assert request.one(b"Authorization") == authorization
    assert request.one(b"Cookie") == left
    assert request.one(b"X-A") == b"1"


async def test_several_fields() -> None:
    request = await sent(b"Cookie: a=1", b"cookie: token=x", b"Cookie: b=2; token=y", auth=AUTH)
    assert request.all(b"Cookie") == [b"a=1", b"b=2"]
    assert request.one(b"Authorization") == b"Bearer x"


async def test_a_missing_cookie_is_passed_on_as_it_is() -> None:
    request = await sent(b"Cookie: a=1", auth=AUTH)
    assert request.all(b"Cookie") == [b"a=1"]
    assert request.one(b"Authorization") is None


async def test_a_request_that_has_the_header_keeps_it() -> None:
    request = await sent(b"Cookie: a=1; token=x", b"authorization: Basic eDp5", auth=AUTH)
    assert request.one(b"Authorization") == b"Basic eDp5"
    assert request.one(b"Cookie") == b"a=1"


async def test_the_cookie_may_go_on() -> None:
    request = await sent(b"Cookie: a=1; token=x", auth=CookieAuth("token", "X-Token", "{value}", strip_cookie=False))
    assert request.one(b"Cookie") == b"a=1; token=x"
    assert request.one(b"X-Token") == b"x"


async def test_a_client_cannot_take_the_header_away() -> None:
    request = await sent(b"Connection: Authorization", b"Cookie: token=x", auth=AUTH)
    assert request.one(b"Authorization") == b"Bearer x"


async def test_rules_of_the_route_see_what_is_left() -> None:
    rules = HeaderRules(remove=("Cookie",))
    request = await sent(b"Cookie: a=1; token=x", auth=AUTH, request_headers=rules)
    assert not request.all(b"Cookie")
    assert request.one(b"Authorization") == b"Bearer x"


async def test_a_web_socket_is_logged_in_too() -> None:
    upgrade = [b"Connection: Upgrade", b"Upgrade: websocket"]
    request = await sent(b"Cookie: token=x", *upgrade, auth=AUTH)
    assert request.one(b"Authorization") == b"Bearer x"
    assert request.one(b"Upgrade") == b"websocket"


async def test_only_the_route_that_says_so() -> None:
    async with RawUpstream.serve(replies()) as upstream:
        with_auth = route_to(upstream, name="in", match=Match(prefix="/in"), auth=AUTH)
        async with ProxyServer.serve(with_auth, route_to(upstream)) as proxy, proxy.connect() as client:
            inside = await _asked(client, upstream, b"/in/x")
            outside = await _asked(client, upstream, b"/x")
    assert (inside.one(b"Authorization"), inside.one(b"Cookie")) == (b"Bearer x", None)
    assert (outside.one(b"Authorization"), outside.one(b"Cookie")) == (None, b"token=x")


async def _asked(client: RawClient, upstream: RawUpstream, path: bytes) -> Message:
    assert (await client.ask(ask(b"Cookie: token=x", line=b"GET " + path + b" HTTP/1.1"))).status == 200
    return upstream.requests[-1]


# Pages of other origins, whose requests come along with the cookies of this site.

EVIL, COOKIE = b"Origin: https://evil.test", b"Cookie: token=x"
UPGRADE = [b"Connection: Upgrade", b"Upgrade: websocket"]
WRITES = [b"POST / HTTP/1.1", b"Content-Type: text/plain", b"Content-Length: 2"]


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: a.test", *fields]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        [EVIL],
        [EVIL, b"Sec-Fetch-Site: cross-site"],
        [b"Origin: https://other.a.test", b"Sec-Fetch-Site: same-site"],
        [b"Sec-Fetch-Site: cross-site"],
        [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image"],
        [b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: script"],
        [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: empty"],
        [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: object"],
        [b"Origin: null"],
        [EVIL, b"X-Forwarded-Host: evil.test"],
        [EVIL, *UPGRADE],
    ],
)
@pytest.mark.parametrize("cors", [None, CorsPolicy(frozenset({"https://app.test"}), credentials=True)])
async def test_a_foreign_page_has_nothing_done_in_its_visitors_name(
    fields: list[bytes], cors: CorsPolicy | None
) -> None:
    async with stage(replies(), auth=AUTH, cors=cors) as on:
        for _ in range(2):
            response = await on.client.ask(head(COOKIE, *fields))
            assert response.status == 403
            assert response.one(b"Content-Type") == b"application/problem+json"
            assert b"cors.origins" in response.body
            assert response.one(b"Access-Control-Allow-Origin") is None
        written = head(COOKIE, *fields, *WRITES[1:], line=WRITES[0]) + b"hi"
        assert (await on.client.ask(written)).status == 403
        assert on.upstream.received == b""


@pytest.mark.parametrize(
    "fields",
    [
        [COOKIE],
        [COOKIE, b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document"],
        [COOKIE, b"Sec-Fetch-Site: same-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe"],
        [COOKIE, b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate"],
        [COOKIE, b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image"],
        [COOKIE, b"Origin: https://a.test"],
        [COOKIE, b"Origin: https://a.test", *UPGRADE],
        [COOKIE, b"Origin: https://outside.test", b"Sec-Fetch-Site: same-origin"],
        [COOKIE, b"Origin: https://app.test", b"Sec-Fetch-Site: cross-site"],
    ],
)
async def test_others_are_logged_in(fields: list[bytes]) -> None:
    cors = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
    request = await sent(*fields, auth=AUTH, cors=cors)
    assert request.one(b"Authorization") == b"Bearer x"


@pytest.mark.parametrize("origin", [b"Origin: null", b"Origin: https://evil.test"])
async def test_a_form_of_another_site_is_a_navigation_that_does_something(origin: bytes) -> None:
    async with stage(replies(), auth=AUTH) as on:
        fields = [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", *WRITES[1:]]
        assert (await on.client.ask(head(COOKIE, origin, *fields, line=WRITES[0]) + b"hi")).status == 403
        assert on.upstream.received == b""


@pytest.mark.parametrize("fields", [[], [b"Cookie: a=1"], [COOKIE, b"Authorization: Basic eDp5"]])
async def test_whom_no_cookie_logs_in_may_come_from_anywhere(fields: list[bytes]) -> None:
    """A page that sends the header itself has had to ask first, and knows a secret of its own."""
    request = await sent(EVIL, *fields, auth=AUTH)
    assert request.one(b"Origin") == b"https://evil.test"


@pytest.mark.parametrize(("trusted", "status"), [(["127.0.0.0/8"], 200), ([], 403)])
async def test_behind_a_gateway_that_changes_the_host(trusted: list[str], status: int) -> None:
    async with stage(replies(), trusted=trusted, auth=AUTH) as on:
        fields = [COOKIE, b"Origin: https://app.test", b"X-Forwarded-Host: app.test, inner.test"]
        assert (await on.client.ask(head(*fields))).status == status


# Caches do not see the header.


async def test_no_cache_gives_the_answer_to_others() -> None:
    upstream = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n"
    async with stage(replies(upstream), auth=AUTH) as on:
        response = await on.client.ask(head(COOKIE))
        assert response.one(b"Cache-Control") == b"max-age=60, private"
        assert response.one(b"Vary") == b"Accept, Cookie"
        response = await on.client.ask(head(COOKIE, b"Authorization: Basic eDp5"))
        assert (response.one(b"Cache-Control"), response.one(b"Vary")) == (b"max-age=60", b"Accept")


@pytest.mark.parametrize("fields", [[], [b"Cookie: a=1"]], ids=["no cookie", "another cookie"])
async def test_no_cache_gives_an_answer_from_before_the_login(fields: list[bytes]) -> None:
    """A service that varies by ``Authorization`` says nothing to a cache that sees none before and none afterwards."""
    upstream = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: Authorization\r\nContent-Length: 0\r\n\r\n"
    async with stage(replies(upstream), auth=AUTH) as on:
        response = await on.client.ask(head(*fields))
        assert response.one(b"Cache-Control") == b"max-age=60"
        assert response.one(b"Vary") == b"Authorization, Cookie"


async def test_whatever_the_route_says() -> None:
    rules = HeaderRules(set=(("Cache-Control", "max-age=60"), ("Vary", "X")))
    async with stage(replies(), auth=AUTH, response_headers=rules, cors=CorsPolicy(frozenset({"*"}), False)) as on:
        response = await on.client.ask(head(COOKIE))
        assert response.one(b"Cache-Control") == b"max-age=60, private"
        assert response.one(b"Vary") == b"X, Cookie"


async def test_nor_a_stream_that_was_promised_early() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.wait_closed()

    early = HeartbeatPolicy(interval=60.0, before_response=0.0001)
    async with stage(script, auth=AUTH, heartbeat=early) as on:
        await on.client.send(head(COOKIE, b"Accept: text/event-stream"))
        response = await on.client.head()
        assert response.one(b"Cache-Control") == b"no-cache, no-transform, private"
        assert response.one(b"Vary") == b"Cookie"
