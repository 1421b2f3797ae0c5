"""By which id is a request known to its client, to its upstream, and in the log?"""

import json

import pytest

from sseproxy.core.eventsource.policies import TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.observer import AccessRecord, Observer
from tests.support.proxy_server import REQUEST_ID, Stage, stage
from tests.support.raw_upstream import replies
from tests.support.settled import eventually

MADE = REQUEST_ID.encode()
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

SANE = (
    b"a",
    b"a" * 128,
    b"Root=1-67891233-abcdef012345678912345678",
    b"6f1c2a7e-9a1e-4d0b-8d2a-1f2e3d4c5b6a",
    b"a/b+c==",
)
INSANE = (b"", b"a" * 129, b"a b", b'a"', b"a;b", b"<a>", b"a,b", b"%41", b"a\xe9", b"{a}", b"a\\b")


class Records(Observer):
    def __init__(self) -> None:
        self.seen: list[AccessRecord] = []

    def answered(self, record: AccessRecord) -> None:
        self.seen.append(record)


def ask(*fields: bytes, target: bytes = b"/a") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: a.test", *fields]) + b"\r\n\r\n"


async def seen(on: Stage, records: Records, *fields: bytes) -> tuple[list[bytes], str]:
    """What the upstream got of one request, and the log."""
    await on.client.ask(ask(*fields))
    request = on.upstream.requests[-1]
    await eventually(lambda: bool(records.seen))  # some servers let the response arrive first
    return [value for name, value in request.fields if name.lower() == b"x-request-id"], records.seen[-1].request_id


def with_records() -> tuple[Records, LiveStreams]:
    records, streams = Records(), LiveStreams(linger=0.0)
    streams.observers.add(records)
    return records, streams


@pytest.mark.parametrize("said", SANE, ids=range(len(SANE)))
async def test_what_a_client_calls_its_request_holds(said: bytes) -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        assert await seen(on, records, b"x-request-id: " + said) == ([said], said.decode())


@pytest.mark.parametrize("said", INSANE, ids=range(len(INSANE)))
async def test_what_is_no_id_is_replaced(said: bytes) -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        assert await seen(on, records, b"X-Request-Id: " + said) == ([MADE], REQUEST_ID)


async def test_of_several_none_is_believed() -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        assert await seen(on, records, b"X-Request-Id: a", b"X-Request-Id: b") == ([MADE], REQUEST_ID)


async def test_a_request_without_one_gets_one() -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        assert await seen(on, records) == ([MADE], REQUEST_ID)


@pytest.mark.parametrize(
    ("rules", "sent"),
    [(HeaderRules(remove=("X-Request-Id",)), []), (HeaderRules(set=(("x-request-id", "mine"),)), [b"mine"])],
)
async def test_the_route_has_the_last_word(rules: HeaderRules, sent: list[bytes]) -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams, request_headers=rules) as on:
        assert await seen(on, records, b"X-Request-Id: a") == (sent, "a")


async def test_a_connection_option_takes_none_away() -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        assert await seen(on, records, b"Connection: X-Request-Id", b"X-Request-Id: a") == ([b"a"], "a")


async def test_the_client_of_a_stream_hears_of_it() -> None:
    async with stage(replies(STREAM + b"\r\ndata: a\n\n")) as on:
        assert (await on.client.ask(ask(b"X-Request-Id: a"))).one(b"X-Request-Id") == b"a"


async def test_an_id_of_the_upstream_is_left_alone() -> None:
    async with stage(replies(STREAM + b"x-request-id: req_1\r\n\r\ndata: a\n\n")) as on:
        assert (await on.client.ask(ask(b"X-Request-Id: a"))).one(b"X-Request-Id") == b"req_1"


async def test_any_other_response_passes_as_it_is() -> None:
    async with stage(replies(PLAIN)) as on:
        assert (await on.client.ask(ask(b"X-Request-Id: a"))).one(b"X-Request-Id") is None


async def test_a_route_may_keep_it_from_clients() -> None:
    rules = HeaderRules(remove=("X-Request-Id",))
    async with stage(replies(STREAM + b"\r\ndata: a\n\n"), response_headers=rules) as on:
        assert (await on.client.ask(ask())).one(b"X-Request-Id") is None


@pytest.mark.parametrize(
    ("request_", "status"),
    [(ask(b"X-Request-Id: a", b"Via: 1.1 sseproxy-test"), 508), (ask(b"X-Request-Id: a", target=b"/<"), 400)],
)
async def test_an_error_names_the_request(request_: bytes, status: int) -> None:
    records, streams = with_records()
    async with stage(replies(), streams=streams) as on:
        response = await on.client.ask(request_)
        await eventually(lambda: bool(records.seen))
        # What could not be read as a request is not believed in this either.
        known = b"a" if status == 508 else MADE
        assert (response.status, response.one(b"X-Request-Id")) == (status, known)
        assert json.loads(response.body)["request_id"] == known.decode() == records.seen[-1].request_id


async def test_the_request_that_opens_a_ticket_names_what_the_upstream_gets() -> None:
    async with stage(replies(), tickets=TicketPolicy()) as on:
        made = await on.client.ask(b"POST /_tickets/a HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: first\r\n\r\n")
        assert (made.status, made.one(b"X-Request-Id")) == (201, b"first")
        url = json.loads(made.body)["url"].encode()
        await on.client.ask(ask(b"X-Request-Id: second", target=url))
        assert on.upstream.requests[0].one(b"X-Request-Id") == b"second"


async def test_the_trace_of_a_client_goes_on_as_it_came() -> None:
    fields = (
        b"TraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"tracestate: a=1",
        b"baggage: b=2",
    )
    async with stage(replies()) as on:
        await on.client.ask(ask(*fields))
        assert all(b"\r\n" + field + b"\r\n" in on.upstream.requests[0].head for field in fields)
