"""Does an `EventSource` stop after a clean end, and only then? (docs/eventsource.md)"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, Reopen, TicketPolicy
from sseproxy.core.http.fields import by_name
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.core.stream.dialects import Marker
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.inbound import InboundRequest
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message
from tests.support.playbook import error_of
from tests.support.proxy_server import SILENT, ProxyServer, Stage, route_to, stage
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies

STOP = EndPolicy(stop_reconnect=True)
ACCEPT = b"Accept: text/event-stream"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CLEAN = STREAM + b"Content-Length: 9\r\n\r\ndata: x\n\n"
TOLD = error_of(CloseReason.UPSTREAM_ERROR)
BROKEN = b"9\r\ndata: x\n\n\r\n%x\r\n%b\r\n" % (len(TOLD), TOLD)
NAME = rb"sseproxy-end-[A-Za-z0-9_-]{40}"


def ask(*fields: bytes, line: bytes = b"GET /a?b") -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields]) + b"\r\n\r\n"


async def end_of(client: AsyncPeer, line: bytes = b"GET /a?b") -> bytes:
    """The id that a stream ends with."""
    body = (await client.ask(ask(ACCEPT, line=line))).body
    found = re.fullmatch(rb"data: x\n\nid: (" + NAME + rb")\n\n", body)
    assert found, body
    return found[1]


async def back(client: AsyncPeer, name: bytes, line: bytes = b"GET /a?b") -> Message:
    """The answer to a browser that comes back by itself."""
    return await client.ask(ask(ACCEPT, b"Cache-Control: no-cache", b"Last-Event-ID: " + name, line=line))


async def test_the_reconnect_is_answered_with_nothing() -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        name = await end_of(on.client)
        for _ in range(2):
            answer = await back(on.client, name)
            assert answer.status == 204
            assert answer.one(b"Cache-Control") == b"no-store"
            assert answer.one(b"Content-Length") is None
        assert len(on.upstream.requests) == 1


async def test_a_page_that_begins_anew_gets_a_stream() -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        assert await end_of(on.client) != await end_of(on.client)
        assert len(on.upstream.requests) == 2


async def test_the_page_is_told() -> None:
    async with stage(replies(CLEAN), end=EndPolicy(("end", "a\nb"))) as on:
        response = await on.client.ask(ask(ACCEPT))
        assert response.body == b"data: x\n\nevent: end\ndata: a\ndata: b\n\n"
        assert response.one(b"Content-Length") is None


@pytest.mark.parametrize(
    "request_head",
    [
        ask(),
        ask(b"Accept: */*"),
        ask(ACCEPT, line=b"POST /a?b"),
        ask(ACCEPT, b"Content-Length: 0", line=b"QUERY /a?b"),
    ],
)
async def test_nobody_else_is_told(request_head: bytes) -> None:
    async with stage(replies(CLEAN), end=EndPolicy(("end", ""), True)) as on:
        name = await _named(on)
        assert (await on.client.ask(request_head)).body == b"data: x\n\n"
        late = request_head.replace(b"\r\n\r\n", b"\r\nLast-Event-ID: " + name + b"\r\n\r\n")
        assert (await on.client.ask(late)).body == b"data: x\n\n"
        assert on.upstream.requests[-1].one(b"Last-Event-ID") is None


async def _named(on: Stage) -> bytes:
    found = re.search(NAME, (await on.client.ask(ask(ACCEPT))).body)
    assert found
    return found[0]


async def test_without_the_option_nothing_is_said() -> None:
    async with stage(replies(CLEAN)) as on:
        assert (await on.client.ask(ask(ACCEPT))).body == b"data: x\n\n"


async def test_what_is_no_stream_is_not_touched() -> None:
    async with stage(replies(), end=STOP) as on:
        assert (await on.client.ask(ask(ACCEPT))).body == b"ok"


@pytest.mark.parametrize(
    "response",
    [
        STREAM + b"Content-Length: 20\r\n\r\ndata: x\n\n",
        STREAM + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n",
    ],
)
async def test_after_a_broken_stream_there_is_a_reconnect(response: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(response)

    async with stage(script, end=EndPolicy(("end", ""), True)) as on:
        await on.client.send(ask(ACCEPT))
        assert (await on.client.head()).status == 200
        assert await on.client.rest() == BROKEN


async def test_inside_an_event_nothing_is_said() -> None:
    async with stage(replies(STREAM + b"Content-Length: 17\r\n\r\ndata: x\n\ndata: y\n"), end=STOP) as on:
        assert (await on.client.ask(ask(ACCEPT))).body == b"data: x\n\ndata: y\n"


@pytest.mark.parametrize("last", [b": bye\n", b": bye\n:\nretry: 5\n"])
async def test_a_comment_at_the_end_is_no_event(last: bytes) -> None:
    """Many a service says something in a comment before it leaves."""
    body = b"data: x\n\n" + last
    async with stage(replies(STREAM + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)), end=STOP) as on:
        response = await on.client.ask(ask(ACCEPT))
        assert re.fullmatch(re.escape(body) + rb"id: " + NAME + rb"\n\n", response.body)


# Forged, and somebody else's. No id of ours goes on: no service knows it, and one that looked for it would fail.


async def test_the_id_of_another_target() -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        name = await end_of(on.client)
        for line in (b"GET /a", b"GET /a?b=", b"GET /a?b&c", b"GET /b?b", b"GET //a?b"):
            answer = await back(on.client, name, line)
            assert answer.status == 200
            assert on.upstream.requests[-1].one(b"Last-Event-ID") is None


@pytest.mark.parametrize(
    "change",
    [lambda name: name[:-1], lambda name: name + b"x", lambda name: name[:13] + b"A" * 40],
    ids=["shorter", "longer", "made up"],
)
async def test_a_forged_id(change: Callable[[bytes], bytes]) -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        forged = change(await end_of(on.client))
        assert (await back(on.client, forged)).status == 200
        assert on.upstream.requests[-1].one(b"Last-Event-ID") is None


async def test_what_does_not_look_like_ours_goes_on_as_it_is() -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        theirs = (await end_of(on.client)).swapcase()
        assert (await back(on.client, theirs)).status == 200
        assert on.upstream.requests[-1].one(b"Last-Event-ID") == theirs


async def test_where_no_end_is_told_there_is_no_id_of_ours() -> None:
    """It may be that of another sseproxy, behind this one."""
    async with stage(replies(CLEAN)) as on:
        name = b"sseproxy-end-" + b"A" * 40
        assert (await back(on.client, name)).status == 200
        assert on.upstream.requests[-1].one(b"Last-Event-ID") == name


@pytest.mark.parametrize(
    ("mine", "yours", "auth"),
    [
        ([b"Authorization: Bearer x"], [b"Authorization: Bearer y"], None),
        ([b"Authorization: Bearer x"], [], None),
        ([b"Cookie: token=x; a=1"], [b"Cookie: token=y; a=1"], CookieAuth("token")),
        ([b"Cookie: token=x; a=1"], [b"Cookie: a=1"], CookieAuth("token")),
        ([b"Cookie: token=x"], [b"X-Key: x"], CookieAuth("token", "X-Key", "{value}")),
        ([b"X-Key: x"], [b"X-Key: y"], CookieAuth("token", "X-Key", "{value}")),
    ],
)
async def test_the_id_of_another_user(mine: list[bytes], yours: list[bytes], auth: CookieAuth | None) -> None:
    async with stage(replies(CLEAN), end=STOP, auth=auth) as on:
        body = (await on.client.ask(ask(ACCEPT, *mine))).body
        name = b"Last-Event-ID: " + body.rpartition(b"id: ")[2].strip()
        assert (await on.client.ask(ask(ACCEPT, name, *yours))).status == 200
        assert on.upstream.requests[-1].one(b"Last-Event-ID") is None
        assert (await on.client.ask(ask(ACCEPT, name, *mine))).status == 204
        changed = [field.replace(b"a=1", b"a=2") for field in mine]  # cookies that are no login come and go
        assert (await on.client.ask(ask(ACCEPT, name, *changed))).status == 204


async def test_the_id_of_another_host() -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        name = await end_of(on.client)
        elsewhere = ask(ACCEPT, b"Last-Event-ID: " + name).replace(b"a.test", b"b.test")
        assert (await on.client.ask(elsewhere)).status == 200
        assert (await back(on.client, name)).status == 204


async def test_an_end_is_an_end_for_an_hour() -> None:
    now = [1_700_000_000.0]
    ends = RouteEnds(b"key", clock=lambda: now[0])
    route = Route("r", Upstream("http", "127.0.0.1", 1), end=STOP)
    head = [(b"Accept", b"text/event-stream")]
    asked = InboundRequest("GET", "/a", "/a", b"a.test", head, by_name(head))
    message = ends.message(route, asked, [], id_has_event=False)
    assert message is not None
    assert message.id is not None
    again = replace(asked, fields={**asked.fields, b"last-event-id": [message.id.encode()]})
    for later, known in ((0, True), (3600, True), (3601, False)):
        now[0] = 1_700_000_000.0 + later
        assert ends.has_seen(route, again, []) is known


async def test_the_id_of_another_route() -> None:
    """The same target, but of another host."""
    async with RawUpstream.serve(replies(CLEAN)) as upstream:
        other = route_to(upstream, name="other", match=Match(host="b.test"), end=STOP)
        async with ProxyServer.serve(other, route_to(upstream, end=STOP)) as proxy, proxy.connect() as client:
            name = await end_of(client)
            elsewhere = ask(ACCEPT, b"Last-Event-ID: " + name).replace(b"a.test", b"b.test")
            assert (await client.ask(elsewhere)).status == 200
            assert (await back(client, name)).status == 204


@pytest.mark.parametrize(
    ("keys", "secret", "status"),
    [((b"a", b"a"), "", 204), ((b"a", b"b"), "", 200), ((b"", b""), "", 200), ((b"a", b"b"), "shared secret", 204)],
)
async def test_who_knows_an_end(keys: tuple[bytes, bytes], secret: str, status: int) -> None:
    end = EndPolicy(stop_reconnect=True, secret=secret)
    async with RawUpstream.serve(replies(CLEAN)) as upstream:
        route = route_to(upstream, end=end)
        async with ProxyServer.serve(route, end_key=keys[0]) as proxy, proxy.connect() as client:
            name = await end_of(client)
        async with ProxyServer.serve(route, end_key=keys[1]) as proxy, proxy.connect() as client:
            assert (await back(client, name)).status == status


async def test_a_ticket_that_may_be_opened_again_has_ends_too() -> None:
    tickets = TicketPolicy(reopen=Reopen.ALWAYS)
    async with stage(replies(CLEAN), end=STOP, tickets=tickets) as on:
        made = await on.client.ask(ask(line=b"POST /_tickets/a?b"))
        line = b"GET " + (made.one(b"Location") or b"")
        name = await end_of(on.client, line)
        assert (await back(on.client, name, line)).status == 204
        assert len(on.upstream.requests) == 1
        assert (await back(on.client, b"7", line)).status == 200
        another = await on.client.ask(ask(line=b"POST /_tickets/a?b"))
        line = b"GET " + (another.one(b"Location") or b"")
        assert (await back(on.client, name, line)).status == 200
        assert on.upstream.requests[-1].one(b"Last-Event-ID") is None
        assert [request.first_line for request in on.upstream.requests] == [b"POST /a?b HTTP/1.1"] * 3


# Before the response, and behind the marker.

EARLY = HeartbeatPolicy(interval=60.0, before_response=0.0001)


@pytest.mark.parametrize(
    ("status", "fields"), [(503, (b"Cache-Control: no-cache",)), (404, ())], ids=["not final", "no EventSource"]
)
async def test_other_late_refusals_are_broken_ends(status: int, fields: tuple[bytes, ...]) -> None:
    promised = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await promised.wait()
        await visit.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        await visit.wait_closed()

    async with stage(script, end=EndPolicy(("end", ""), True), heartbeat=EARLY) as on:
        await on.client.send(ask(ACCEPT, *fields))
        assert (await on.client.head()).status == 200
        promised.set()
        told = await on.client.rest()
        assert b"event: error" in told
        assert b"event: end" not in told
        assert not told.endswith(b"0\r\n\r\n")


async def test_a_late_refusal_is_an_end() -> None:
    promised = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await promised.wait()
        await visit.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await visit.wait_closed()

    async with stage(script, end=STOP, heartbeat=EARLY) as on:
        await on.client.send(ask(ACCEPT, b"Cache-Control: no-cache"))
        assert (await on.client.head()).status == 200
        promised.set()
        body = b""
        while piece := await on.client.chunk():
            body += piece
        name = re.search(b"id: (" + NAME + rb")\n\n\Z", body)
        assert name
        assert b'"status": 404' in body
        assert (await back(on.client, name[1])).status == 204


@pytest.mark.parametrize(
    "client", [b"User-Agent: node", b"User-Agent: Bun/1.3", b"User-Agent: Mozilla/5.0\r\nMcp-Session-Id: 1"]
)
async def test_where_a_parser_forgets_an_id_without_data_the_id_comes_with_an_event(client: bytes) -> None:
    async with stage(replies(CLEAN), end=STOP) as on:
        body = (await on.client.ask(ask(ACCEPT, client))).body
        assert re.fullmatch(rb"data: x\n\nevent: sseproxy-stop\ndata: \nid: " + NAME + rb"\n\n", body), body


@pytest.mark.parametrize("status", [204, 401, 403, 404, 410, 500])
async def test_a_feed_that_is_refused_late_is_asked_for_no_more(status: int) -> None:
    """Also without `end`: a browser would come back for the same answer, for ever."""
    promised = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await promised.wait()
        length = b"" if status == 204 else b"Content-Length: 0\r\n"
        await visit.send(b"HTTP/1.1 %d No\r\n%b\r\n" % (status, length))
        await visit.wait_closed()

    async with stage(script, heartbeat=EARLY) as on:
        await on.client.send(ask(ACCEPT, b"Cache-Control: no-cache"))
        assert (await on.client.head()).status == 200
        promised.set()
        if status == 500:
            assert b"event: error" in await on.client.rest()
            return
        body = b""
        while piece := await on.client.chunk():
            body += piece
        name = re.search(b"id: (" + NAME + rb")\n\n\Z", body)
        assert name
        assert (b'"status": %d' % status in body) is (status != 204)
        assert (await back(on.client, name[1])).status == 204


def breaks_after(events: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(events), events))

    return script


async def test_behind_the_marker_a_break_is_an_end() -> None:
    end = EndPolicy(stop_reconnect=True, marker=Marker(data="[DONE]"))
    async with stage(breaks_after(b"data: x\n\ndata: [DONE]\n\n"), end=end, heartbeat=SILENT) as on:
        body = (await on.client.ask(ask(ACCEPT))).body
        assert re.fullmatch(rb"data: x\n\ndata: \[DONE\]\n\nid: " + NAME + rb"\n\n", body)
        # Whoever does not reconnect by itself has a clean end all the same.
        assert (await on.client.ask(ask(line=b"POST /a"))).body == b"data: x\n\ndata: [DONE]\n\n"


async def test_before_the_marker_a_break_is_a_break() -> None:
    end = EndPolicy(stop_reconnect=True, marker=Marker(data="[DONE]"))
    async with stage(breaks_after(b"data: x\n\n"), end=end) as on:
        await on.client.send(ask(ACCEPT))
        assert (await on.client.head()).status == 200
        assert await on.client.rest() == BROKEN
