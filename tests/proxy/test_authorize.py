"""Which requests go on, and what do others get? (docs/configuration.md, "Who may")"""

import gzip
import json
import socket

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.routes import AuthorizePolicy, Route, Upstream
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.origins.http import HttpOrigin
from sseproxy.proxy.app import ProxyApp
from sseproxy.proxy.origins import Origins
from tests.support.guarded import ALICE, NO, TAKE, YES, guarded, head, silent
from tests.support.http1_reader import Message
from tests.support.patience import LIMIT
from tests.support.proxy_server import ProxyServer, route_to
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

SET_USER = HeaderRules(set=(("X-User", "{auth:user}"),))
TAKES = {"take": TAKE}


# The question.


async def test_what_the_service_is_asked() -> None:
    async with guarded(replies(YES), policy={"target": "/whoami?x=1"}) as on:
        fields = [b"Cookie: a=1", b"X-Own: 1", b"authorization: Bearer x", b"Cookie: b=2", b"Accept: */*"]
        assert (await on.client.ask(head(*fields, line=b"GET /a%2Fb?c=d&"))).status == 200
        [question] = on.service.requests
        assert question.head == (
            b"GET /whoami?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"Cookie: a=1\r\nauthorization: Bearer x\r\nCookie: b=2\r\n"
            b"X-Original-Method: GET\r\nX-Original-URI: /a%%2Fb?c=d&\r\n"
            b"Accept-Encoding: identity\r\nVia: 1.1 sseproxy-test\r\n\r\n"
        ) % (on.service.port,)


@pytest.mark.parametrize(
    ("auth", "login", "cookie"),
    [
        (CookieAuth("token"), b"Authorization: Bearer x", b"a=1"),
        (CookieAuth("token", "X-Token", "{value}"), b"X-Token: x", b"a=1"),
        (CookieAuth("token", strip_cookie=False), b"Authorization: Bearer x", b"a=1; token=x"),
    ],
)
async def test_a_login_cookie_is_a_header_by_then(auth: CookieAuth, login: bytes, cookie: bytes) -> None:
    async with guarded(replies(YES), auth=auth) as on:
        assert (await on.client.ask(head(b"Cookie: a=1; token=x"))).status == 200
        [question] = on.service.requests
        assert b"\r\n" + login + b"\r\n" in question.head
        assert question.one(b"Cookie") == cookie


async def test_what_the_client_says_of_itself_is_not_asked_about() -> None:
    async with guarded(replies(YES)) as on:
        spoofed = [b"X-Original-URI: /b", b"X-Original-Method: PUT", b"X-Forwarded-For: 1.1.1.1", b"Via: 1.1 x"]
        assert (await on.client.ask(head(*spoofed, b"X-User: root"))).status == 200
        [question] = on.service.requests
        assert question.one(b"X-Original-URI") == b"/a"
        assert question.one(b"X-Original-Method") == b"GET"
        assert question.one(b"Via") == b"1.1 sseproxy-test"
        assert question.one(b"X-Forwarded-For") is None
        assert question.one(b"X-User") is None


async def test_a_service_behind_this_proxy_is_a_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        policy = AuthorizePolicy(Upstream("http", "127.0.0.1", listener.getsockname()[1]))
        async with (
            RawUpstream.serve(replies()) as upstream,
            ProxyServer.serve(route_to(upstream, authorize=policy), listener=listener) as proxy,
            proxy.connect() as client,
        ):
            assert (await client.ask(head())).status == 503
            assert not upstream.visits


async def test_each_request_is_asked_about() -> None:
    async with guarded(replies(YES, NO, YES)) as on:
        assert [(await on.client.ask(head())).status for _ in range(3)] == [200, 401, 200]
        assert len(on.service.requests) == 3
        assert len(on.service.visits) == 1
        assert len(on.upstream.requests) == 2


# The answer.


@pytest.mark.parametrize(
    "answer", [YES, OK, b"HTTP/1.1 299 Own\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nuntil the end"]
)
async def test_2xx_lets_in(answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer)

    async with guarded(script) as on:
        response = await on.client.ask(head(b"Cookie: a=1"))
        assert (response.status, response.body) == (200, b"ok")
        assert on.upstream.requests[0].one(b"Cookie") == b"a=1"


@pytest.mark.parametrize("status", [b"401 Who Are You", b"403 Forbidden"])
async def test_a_no_is_passed_on(status: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    no = (
        b"HTTP/1.1 "
        + status
        + b"\r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer\r\nContent-Type: text/html\r\n"
        b"Set-Cookie: a=b\r\nCache-Control: max-age=60\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\nlogin"
    )
    async with guarded(replies(no)) as on:
        response = await on.client.ask(head())
        assert response.undated == (
            b"HTTP/1.1 " + status + b"\r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer\r\n"
            b"Content-Type: text/html\r\nCache-Control: no-store\r\nContent-Length: 5\r\n\r\n"
        )
        assert response.body == b"login"
        assert (await on.client.ask(head())).status == int(status[:3])
        assert not on.upstream.visits
        await eventually(lambda: len(caplog.messages) == 2)
    assert f'error="Access is denied: authorize was answered {status[:3].decode()}"' in caplog.messages[0]


async def test_a_page_of_another_origin_may_read_the_no() -> None:
    cors = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
    async with guarded(replies(NO), cors=cors) as on:
        response = await on.client.ask(head(b"Origin: https://app.test"))
        assert response.status == 401
        assert response.one(b"Access-Control-Allow-Origin") == b"https://app.test"


async def test_preflights_and_foreign_pages_are_answered_without_a_question() -> None:
    cors = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
    async with guarded(replies(NO), cors=cors, auth=CookieAuth("token")) as on:
        asks = [b"Origin: https://app.test", b"Access-Control-Request-Method: GET"]
        assert (await on.client.ask(head(*asks, line=b"OPTIONS /a"))).status == 204
        assert (await on.client.ask(head(b"Origin: https://evil.test", b"Cookie: token=x"))).status == 403
        assert not on.service.visits


@pytest.mark.parametrize(
    ("coding", "body", "shown"),
    [
        (b"gzip", gzip.compress(b"login"), b"login"),
        (b"own", b"\x00\x01", b"\x00\x01"),
        (b"gzip", b"what?", b""),
    ],
    ids=["gzip", "unknown", "broken"],
)
async def test_a_no_with_a_content_coding(coding: bytes, body: bytes, shown: bytes) -> None:
    no = b"HTTP/1.1 403 No\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    async with guarded(replies(no + body)) as on:
        response = await on.client.ask(head())
        assert (response.status, response.body) == (403, shown)
        assert response.one(b"Content-Encoding") == (coding if coding == b"own" else None)


@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: own\r\n"], ids=["plain", "unknown coding"])
async def test_a_no_is_cut_at_its_limit(coding: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 401 No\r\n" + coding + b"Transfer-Encoding: chunked\r\n\r\n")
        while not visit.closed.is_set():
            await visit.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    async with guarded(script) as on:
        response = await on.client.ask(head())
        assert (response.status, response.one(b"Content-Encoding")) == (401, None)
        assert response.body == (b"" if coding else b"x" * ERROR_BODY)
        await eventually(lambda: on.leased == 0)


async def test_a_yes_without_end_is_not_read() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(200_000))
        await visit.wait_closed()

    async with guarded(script) as on:
        assert (await on.client.ask(head())).status == 200
        await (await on.service.visit()).wait_closed()


def says(data: bytes, then: str = "closes") -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(data)
        if then == "waits":
            await visit.wait_closed()
        elif then == "resets":
            visit.reset()

    return script


FAILURES: dict[str, tuple[Script, str]] = {
    "redirect": (replies(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "answered 302"),
    "defect": (replies(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "answered 500"),
    "not found": (replies(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "answered 404"),
    "not modified": (replies(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "answered 304"),
    "switches": (says(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "waits"), "authorize"),
    "no HTTP": (says(b"hello?\r\n\r\n"), "authorize: "),
    "resets": (says(b"", "resets"), "authorize: "),
    "closes": (says(b""), "authorize: "),
    "half a head": (says(b"HTTP/1.1 200 OK\r\nX-A"), "authorize: "),
    "half a yes": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "authorize: "),
    "half a chunked yes": (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"), "authorize: "),
    "half a no": (says(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nhalf", "resets"), "authorize: "),
    "silence": (silent, "not answered within 0.1 s"),
    "silence after the head": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "waits"),
        "not answered within 0.1 s",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_all_else_is_no_yes(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    script, reason = FAILURES[failure]
    timeout = 0.1 if "silence" in failure else LIMIT
    async with guarded(script, policy={"timeout": timeout}) as on:
        response = await on.client.ask(head(b"Cookie: secret=1"))
        assert_is_failure(response)
        assert not on.upstream.visits
        await eventually(lambda: on.leased == 0)
        await eventually(lambda: bool(caplog.messages))
    assert reason in caplog.messages[0]
    assert "secret" not in caplog.messages[0]


def assert_is_failure(response: Message) -> None:
    assert response.status == 503
    assert response.one(b"Content-Type") == b"application/problem+json"
    assert response.one(b"Retry-After") == b"5"
    assert response.one(b"Proxy-Status") == b"sseproxy"
    assert set(json.loads(response.body)) == {"type", "title", "status", "detail", "request_id"}
    assert b"127.0.0.1" not in response.body


async def test_a_service_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = AuthorizePolicy(Upstream("http", "127.0.0.1", closed.getsockname()[1]))
    async with (
        RawUpstream.serve(replies()) as upstream,
        ProxyServer.serve(route_to(upstream, authorize=away)) as proxy,
        proxy.connect() as client,
    ):
        assert_is_failure(await client.ask(head()))
        assert not upstream.visits
        await eventually(lambda: bool(caplog.messages))
    assert "refused" in caplog.messages[0].lower()


async def test_a_stale_connection_is_no_failure() -> None:
    """Services close idle connections when they are restarted."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(YES)
        await visit.reader.read(1)

    async with guarded(script) as on:
        assert [(await on.client.ask(head())).status for _ in range(3)] == [200, 200, 200]


async def test_a_route_is_not_open_because_its_service_is_left_out() -> None:
    where = Upstream("http", "127.0.0.1", 1)
    with pytest.raises(ValueError, match="guarded"):
        ProxyApp([Route("guarded", where, authorize=AuthorizePolicy(where))], Origins({where: HttpOrigin(where)}))


# What is taken.


@pytest.mark.parametrize("name", [b"X-User", b"x-user", b"X_User", b"x_USER"])
async def test_a_client_cannot_say_who_it_is(name: bytes) -> None:
    spoofed = name + b": root"
    async with guarded(replies(ALICE), policy=TAKES, request_headers=SET_USER) as on:
        assert (await on.client.ask(head(spoofed, b"Connection: X-User", spoofed))).status == 200
        [request] = on.upstream.requests
        assert request.all(b"X-User") == [b"alice"]
        assert b"root" not in request.head


@pytest.mark.parametrize("name", [b"X-User", b"X_User"])
async def test_without_a_rule_the_upstream_hears_nothing(name: bytes) -> None:
    async with guarded(replies(ALICE), policy=TAKES) as on:
        assert (await on.client.ask(head(name + b": root"))).status == 200
        [request] = on.upstream.requests
        assert b"root" not in request.head
        assert b"alice" not in request.head


async def test_rules_say_where_it_goes() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-User: caf\xe9 {auth:org}\r\nX-Org:  a,b \r\nContent-Length: 0\r\n\r\n"
    rules = HeaderRules(set=(("X-Who", "u={auth:user};o={auth:org};{auth:user}"), ("X-Raw", "{user} {a:b} {}")))
    take = (("user", "X-User"), ("org", "X-Org"))
    async with guarded(replies(answer), policy={"take": take}, request_headers=rules) as on:
        assert (await on.client.ask(head())).status == 200
        [request] = on.upstream.requests
        assert request.one(b"X-Who") == b"u=caf\xe9 {auth:org};o=a,b;caf\xe9 {auth:org}"
        assert request.one(b"X-Raw") == b"{user} {a:b} {}"


async def test_a_token_of_the_service_takes_the_place_of_the_login() -> None:
    answer = b"HTTP/1.1 200 OK\r\nAuthorization: Bearer inner\r\nContent-Length: 0\r\n\r\n"
    take = (("token", "Authorization"),)
    rules = HeaderRules(set=(("Authorization", "{auth:token}"),))
    for auth, login in [(None, b"Authorization: Bearer outer"), (CookieAuth("token"), b"Cookie: token=outer")]:
        async with guarded(replies(answer), policy={"take": take}, request_headers=rules, auth=auth) as on:
            assert (await on.client.ask(head(login))).status == 200
            assert on.service.requests[0].one(b"Authorization") == b"Bearer outer"
            assert on.upstream.requests[0].all(b"Authorization") == [b"Bearer inner"]
            assert b"outer" not in on.upstream.requests[0].head
        async with guarded(replies(answer), policy={"take": take}, auth=auth) as on:
            assert (await on.client.ask(head(login))).status == 200
            assert b"outer" not in on.upstream.requests[0].head


@pytest.mark.parametrize(
    "fields",
    [b"", b"X-User:\r\n", b"X-User: \t\r\n", b"X-User: a\r\nx-user: b\r\n", b"X_User: a\r\n"],
    ids=["missing", "empty", "blank", "repeated", "another"],
)
async def test_a_yes_that_does_not_say_who(fields: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sseproxy.access")
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n"
    async with guarded(replies(answer), policy=TAKES) as on:
        assert_is_failure(await on.client.ask(head()))
        assert not on.upstream.visits
        await eventually(lambda: bool(caplog.messages))
    assert "X-User" in caplog.messages[0]


# When.


async def test_no_early_answer_comes_before_the_service_has_spoken() -> None:
    early = HeartbeatPolicy(interval=0.01, before_response=0.001)
    async with guarded(silent, heartbeat=early, stream=StreamMode.ALWAYS, policy={"timeout": 0.2}) as on:
        assert_is_failure(await on.client.ask(head(b"Accept: text/event-stream")))


async def test_a_head_is_a_request_too() -> None:
    async with guarded(replies(NO, YES)) as on:
        response = await on.client.ask(head(line=b"HEAD /a"), to_head=True)
        assert (response.status, response.one(b"Content-Length")) == (401, b"5")
        assert (await on.client.ask(head(line=b"HEAD /a"), to_head=True)).status == 200
        assert [each.one(b"X-Original-Method") for each in on.service.requests] == [b"HEAD", b"HEAD"]
        assert on.upstream.requests[0].first_line == b"HEAD /a HTTP/1.1"
