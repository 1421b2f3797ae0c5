"""What can a page do with a ticket that somebody has slipped it, and with the desk of another site?

A ticket's URL lies in the origin of the site, and what it brings about was written by whoever had it kept.
"""

import re

import pytest

from sseproxy.core.eventsource.policies import CorsPolicy, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from tests.support.async_peer import RawClient
from tests.support.http1_reader import Message
from tests.support.proxy_server import stage
from tests.support.raw_upstream import replies

TICKETS = TicketPolicy()
CORS = CorsPolicy(frozenset(["https://app.test"]), credentials=True)
UNKNOWN = b"/_tickets/tkt_" + b"A" * 22

PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: session=attacker\r\nSet-Cookie: b=c\r\n"
    b"Cache-Control: max-age=3600\r\nContent-Security-Policy: default-src *\r\nX-Content-Type-Options: sniff\r\n"
    b"Content-Length: 25\r\n\r\n<script>alert(1)</script>"
)
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: a=b\r\nCache-Control: max-age=5\r\n"
    b"Content-Length: 9\r\n\r\ndata: 1\n\n"
)


def ask(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: a.test", *fields]) + b"\r\n\r\n"


async def kept(client: RawClient, *fields: bytes) -> bytes:
    response = await client.ask(ask(b"POST /_tickets/echo", *fields))
    assert response.status == 201, response
    return response.one(b"Location") or b""


def timeless(message: Message) -> bytes:
    """A response without the time at which it was made."""
    return re.sub(rb"\r\nDate: [^\r]*", b"", message.head) + message.body


# Who opens it.


@pytest.mark.parametrize(
    "fields",
    [
        (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Sec-Fetch-Site: cross-site"),
        (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document", b"Sec-Fetch-Site: none", b"Sec-Fetch-User: ?1"),
        (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe", b"Sec-Fetch-Site: same-origin"),
        (b"Sec-Fetch-Mode: navigate",),
        (b"SEC-FETCH-MODE: Navigate ",),
        (b"Sec-Fetch-Dest: document",),
        (b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: script", b"Sec-Fetch-Site: same-origin"),
        (b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: image", b"Sec-Fetch-Site: same-origin"),
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: style", b"Sec-Fetch-Site: same-origin"),
        (b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Dest: worker"),
        (b"Sec-Fetch-Dest: empty", b"Sec-Purpose: prefetch"),
        (b"Sec-Purpose: prefetch;prerender",),
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: cross-site", b"Origin: https://x.test"),
        (b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: cross-site"),
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: same-site", b"Origin: https://x.a.test"),
        (b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: same-site"),
        (b"Origin: https://x.a.test",),
    ],
)
@pytest.mark.parametrize("cors", [None, CORS], ids=["no cors", "cors"])
async def test_a_ticket_is_for_scripts_of_its_origin(fields: tuple[bytes, ...], cors: CorsPolicy | None) -> None:
    async with stage(replies(PAGE), tickets=TICKETS, cors=cors) as on:
        url = await kept(on.client)
        unknown = timeless(await on.client.ask(ask(b"GET " + UNKNOWN, *fields)))
        for method in (b"GET ", b"DELETE "):
            response = await on.client.ask(ask(method + url, *fields))
            assert response.status == 404
            assert timeless(response) == unknown
        assert on.upstream.visits == []
        assert (await on.client.ask(ask(b"GET " + url))).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: same-origin"),
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: same-site", b"Origin: https://app.test"),
        (b"Sec-Fetch-Mode: cors", b"Sec-Fetch-Dest: empty", b"Sec-Fetch-Site: cross-site", b"Origin: https://app.test"),
        (),
    ],
    ids=["same origin", "same site", "an origin that cors names", "no browser"],
)
async def test_an_event_source_opens_it(fields: tuple[bytes, ...]) -> None:
    async with stage(replies(STREAM), tickets=TICKETS, cors=CORS) as on:
        url = await kept(on.client)
        response = await on.client.ask(ask(b"GET " + url, b"Accept: text/event-stream", *fields))
        assert (response.status, response.body) == (200, b"data: 1\n\n")


# What it gets.


async def test_an_answer_that_is_no_stream_is_no_page() -> None:
    async with stage(replies(PAGE), tickets=TICKETS) as on:
        response = await on.client.ask(ask(b"GET " + await kept(on.client)))
        assert response.body == b"<script>alert(1)</script>"
        assert response.all(b"X-Content-Type-Options") == [b"nosniff"]
        assert response.all(b"Content-Security-Policy") == [b"default-src *", b"sandbox"]
        assert response.all(b"Set-Cookie") == []
        assert response.all(b"Cache-Control") == [b"no-store"]


async def test_what_the_route_sets_changes_nothing_about_that() -> None:
    rules = HeaderRules(set=(("Cache-Control", "public"), ("Set-Cookie", "a=b")))
    async with stage(replies(PAGE), tickets=TICKETS, response_headers=rules) as on:
        response = await on.client.ask(ask(b"GET " + await kept(on.client)))
        assert response.all(b"Cache-Control") == [b"no-store"]
        assert response.all(b"Set-Cookie") == []


async def test_a_stream_is_never_stored() -> None:
    async with stage(replies(STREAM), tickets=TICKETS) as on:
        response = await on.client.ask(ask(b"GET " + await kept(on.client)))
        assert response.all(b"Cache-Control") == [b"max-age=5, no-cache, no-transform, no-store"]
        assert response.all(b"Set-Cookie") == [b"a=b"]
        assert response.all(b"Content-Security-Policy") == []


async def test_other_answers_of_the_route_are_as_they_are() -> None:
    async with stage(replies(PAGE), tickets=TICKETS) as on:
        response = await on.client.ask(ask(b"POST /echo"))
        assert response.all(b"Set-Cookie") == [b"session=attacker", b"b=c"]
        assert response.all(b"Cache-Control") == [b"max-age=3600"]


# Preflights that nobody answers.


@pytest.mark.parametrize("path", [b"/_tickets/echo", UNKNOWN, b"/_tickets", b"/_tickets/"])
@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"GET"])
async def test_a_preflight_is_not_kept(path: bytes, method: bytes) -> None:
    async with stage(replies(), tickets=TICKETS) as on:
        asks = (b"Origin: https://x.test", b"Access-Control-Request-Method: " + method)
        response = await on.client.ask(ask(b"OPTIONS " + path, *asks))
        assert response.status in (403, 404)
        assert response.one(b"Access-Control-Allow-Origin") is None
        assert on.proxy.app._desk.store.requests == 0  # type: ignore[attr-defined]
        assert on.upstream.visits == []


async def test_an_ordinary_options_is_kept() -> None:
    async with stage(replies(), tickets=TICKETS) as on:
        assert (await on.client.ask(ask(b"OPTIONS /_tickets/echo"))).status == 201
