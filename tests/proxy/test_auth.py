"""What becomes of a login cookie on its way upstream? (contract section 5)"""

import pytest

from sseproxy.core.eventsource import CookieAuth
from sseproxy.core.routes import HeaderRules, Match
from tests.proxy.test_requests import ask, sent
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import RawUpstream, replies
from tests.support.wire import Message

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
