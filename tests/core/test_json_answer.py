"""What becomes of a JSON answer that was promised, whatever its body, its cuts, the moments of the spaces, its end?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.http.accept import admits_json
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.heartbeat import HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.json_answer import JSON_ANSWER, JsonAnswer, may_be_the_answer
from sseproxy.core.stream.plan import StreamMode, StreamPlan
from sseproxy.core.stream.request import StreamRequest, members_of
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.json_trips import INTERVAL, PLAN, WHITE_SPACE, JsonCase, JsonTrip, json_cases


def the_client_reads_the_same(case: JsonCase) -> None:
    """The value that was sent, and its text to the byte; before it only white space was added."""
    trip = JsonTrip(case)
    trip.run()
    assert json.loads(trip.wire) == case.value
    assert trip.wire.endswith(case.text.lstrip(WHITE_SPACE))
    assert len(trip.wire) == len(case.text) + trip.spaces
    assert (trip.session.close_reason, trip.session.clean) == (CloseReason.UPSTREAM_END, True)
    stats = trip.session.stats
    assert (stats.bytes_in, stats.bytes_out, stats.heartbeats) == (len(case.body), len(trip.wire), trip.spaces)


def a_broken_one_never_looks_whole(case: JsonCase, reason: CloseReason, moment: int) -> None:
    """Whatever ends it before its time: what the client has is not taken for the answer."""
    trip = JsonTrip(case)
    if moment >= 0:
        trip.run(moment)
    else:
        trip.let_pass(case.waits, is_blocked=False)
    trip.session.receive_error(reason, now=trip.now)
    trip.wire += trip.session.data_to_send()
    assert trip.session.close_reason is reason
    if trip.session.clean:
        assert moment < 0, "the upstream's answer had begun"
        assert "error" in json.loads(trip.wire)
    else:
        assert case.text.lstrip(WHITE_SPACE).startswith(trip.wire.lstrip(WHITE_SPACE))


@given(json_cases())
def test_the_client_reads_what_was_sent(case: JsonCase) -> None:
    the_client_reads_the_same(case)


@given(json_cases(), st.sampled_from(CloseReason), st.integers(-1, 4))
def test_half_an_answer_never_looks_whole(case: JsonCase, reason: CloseReason, moment: int) -> None:
    if reason is not CloseReason.UPSTREAM_END:
        a_broken_one_never_looks_whole(case, reason, moment)


# One rule after the other.


def answer(dialect: Dialect = Dialect.GENERIC, **timeouts: Any) -> JsonAnswer:
    heartbeat = HeartbeatPolicy(interval=INTERVAL)
    plan = StreamPlan(heartbeat=heartbeat, timeouts=TimeoutPolicy(**timeouts), dialect=dialect)
    return JSON_ANSWER.new_session(JSON_ANSWER.adapted(plan), end_message=None, responded=False, lead=0.0, now=0.0)


def test_a_space_at_once_and_after_each_interval() -> None:
    session = answer()
    assert session.data_to_send() == b" "
    for now in (1.0, 2.0, 3.0):
        assert session.next_deadline() == now
        session.handle_timeout(now=now)
        assert session.data_to_send() == b" "
    assert session.stats.heartbeats_before_response == 4


def test_a_byte_order_mark_goes_also_in_pieces() -> None:
    session = answer()
    session.receive_json(now=0.5)
    wire = session.data_to_send()
    for byte in b"\xef\xbb\xbf \n1":
        wire += session.forward(bytes((byte,)), 0.5)
    session.handle_timeout(now=2.0)
    assert wire + session.data_to_send() == b"  \n1"


def test_what_only_begins_like_one_stays() -> None:
    session = answer()
    session.receive_json(now=0.5)
    assert session.forward(b"\xef\xbb", 0.5) == b" "
    session.receive_eof(now=1.0)
    assert session.data_to_send() == b"\xef\xbb"
    assert session.clean


def test_the_upstream_may_be_silent_for_as_long_as_an_answer_may() -> None:
    session = answer(idle=5.0)
    session.handle_timeout(now=20.0)  # the response timeout is not the session's
    session.receive_json(now=20.0)
    session.handle_timeout(now=24.9)
    assert session.close_reason is None
    session.handle_timeout(now=25.0)
    assert session.close_reason == CloseReason.IDLE_TIMEOUT
    assert not session.clean


def test_a_drain_lets_it_finish_until_its_deadline() -> None:
    session = answer()
    session.drain(at=None, deadline=10.0)
    session.receive_json(now=1.0)
    session.data_to_send()
    assert session.forward(b"{", 9.0) == b"{"
    session.handle_timeout(now=10.0)
    assert (session.close_reason, session.clean) == (CloseReason.DRAIN, False)


def test_a_deadline_before_the_answer_is_told_as_one() -> None:
    session = answer()
    session.drain(at=None, deadline=10.0)
    session.handle_timeout(now=10.0)
    assert json.loads(session.data_to_send())["error"]["code"] == 503
    assert (session.close_reason, session.clean) == (CloseReason.DRAIN, True)


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    session = answer(write=3.0)
    session.pause_writing(unsent=1, now=0.0)
    session.handle_timeout(now=3.0)
    assert (session.close_reason, session.clean) == (CloseReason.CLIENT_STALLED, False)


def test_nothing_is_said_where_there_is_nothing() -> None:
    session = answer()
    session.receive_refusal(None, now=1.0)
    assert session.data_to_send() == b" null"
    assert session.clean


LATE = StreamError("upstream_response", 429, "no", "7", b'{"error": {"message": "Slow down.", "code": "slow"}}')


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (Dialect.GENERIC, {"type": "upstream_response", "status": 429, "retry_after": "7"}),
        (Dialect.OPENAI_CHAT, {"error": {"message": "Slow down.", "code": "slow", "status": 429, "param": None,
                                         "type": "upstream_response", "retry_after": "7"}}),
        (Dialect.OPENAI_RESPONSES, {"error": {"message": "Slow down.", "code": "slow", "status": 429, "param": None,
                                              "type": "upstream_response", "retry_after": "7"}}),
        (Dialect.ANTHROPIC, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down.",
                                                        "status": 429, "retry_after": "7"}}),
        (Dialect.GEMINI, {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED",
                                    "retry_after": "7"}}),
        (Dialect.OLLAMA, {"error": "Slow down.", "status": 429, "retry_after": "7"}),
    ],
)  # fmt: skip
def test_the_error_object_is_the_dialects(dialect: Dialect, said: dict[str, Any]) -> None:
    session = answer(dialect)
    session.receive_refusal(LATE, now=1.0)
    assert said.items() <= json.loads(session.data_to_send()).items()
    assert session.clean


@pytest.mark.parametrize("reason", [CloseReason.RESPONSE_TIMEOUT, CloseReason.CONNECT_ERROR, CloseReason.KILLED])
def test_so_is_that_of_an_upstream_that_does_not_answer(reason: CloseReason) -> None:
    session = answer(Dialect.OPENAI_CHAT)
    session.receive_error(reason, now=1.0)
    assert json.loads(session.data_to_send())["error"]["code"] == row(reason).status
    assert session.clean


def test_which_json_is_the_answer() -> None:
    assert [status for status in (101, 200, 201, 206, 207, 300, 303, 304, 307, 400, 404, 429, 500, 599)
            if may_be_the_answer(status)] == [200, 201, 207, 400, 404, 429, 500, 599]  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("status", [200, 204, 500])
def test_a_body_that_comes_to_nothing_is_no_answer(status: int, body: bytes) -> None:
    """The head said JSON; a clean end behind white space alone would say that this was it."""
    session = answer(Dialect.OPENAI_CHAT)
    session.receive_json(status=status, now=1.0)
    session.receive_data(body, now=1.0)
    session.receive_eof(now=1.0)
    value = json.loads(session.data_to_send())
    assert (value if status < 400 else value["error"]["status"]) == (None if status < 400 else status)
    assert (session.close_reason, session.clean) == (CloseReason.UPSTREAM_END, True)


# Which requests.


@pytest.mark.parametrize(
    ("values", "admits"),
    [
        ([], True),
        ([b""], True),
        ([b"*/*"], True),
        ([b"application/*"], True),
        ([b"Application/JSON; charset=utf-8"], True),
        ([b"application/json;q=0.1"], True),
        ([b"application/vnd.api+json"], True),
        ([b"text/plain, application/json"], True),
        ([b"text/plain", b"*/*;q=0.1"], True),
        ([b"text/plain"], False),
        ([b"text/*"], False),
        ([b"application/json;q=0"], False),
        ([b"application/json;q=0, */*"], False),
        ([b"application/*;q=0, */*"], False),
        ([b"*/*;q=0"], False),
        ([b"*/*;q=0, application/json"], True),
        ([b"application/jsonl"], False),
        ([b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], False),  # a browser goes to a page
        ([b"text/html, application/json"], True),
        ([b"*/*," * 300], False),
    ],
)
def test_whose_client_takes_json(values: list[bytes], admits: bool) -> None:
    assert admits_json(values) is admits


def asked(
    method: str = "POST",
    path: str = "/v1/embeddings",
    body: bytes | None = b"{}",
    *,
    client_fields: dict[bytes, list[bytes]] | None = None,
    dialect: Dialect = Dialect.AUTO,
    stream: StreamMode = StreamMode.AUTO,
    heartbeat: HeartbeatPolicy = HeartbeatPolicy(json=20.0),
    **fields: bytes,
) -> StreamRequest:
    route = Route(name="a", upstream=Upstream("http", "a", 1), heartbeat=heartbeat, dialect=dialect, stream=stream)
    named = {name.replace("_", "-").encode(): [value] for name, value in fields.items()}
    request = StreamRequest(
        route, method=method, path=path, query="", fields=named, client_fields=client_fields, has_body=body is not None
    )
    if body is not None and request.wanted_members:
        request.peek = BodyPeek(members_of(route))
        request.peek.feed(body)
        request.peek.end()
    return request


CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"}'
BOTH = b"application/json, text/event-stream"


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (asked(), 20.0),
        (asked(body=None), 20.0),
        (asked("PUT"), 20.0),
        (asked("DELETE", body=None), 20.0),
        (asked("GET", body=None), None),
        (asked("HEAD", body=None), None),
        (asked("OPTIONS", body=None), None),
        (asked(body=b'{"stream": false}'), 20.0),
        (asked(body=b'{"stream": true}'), None),
        (asked(body=b'{"stream": true}', heartbeat=HeartbeatPolicy(json=20.0, before_response=5.0)), 5.0),
        (asked(heartbeat=HeartbeatPolicy(before_response=5.0)), None),
        (asked(accept=b"text/event-stream"), None),
        (asked(accept=b"text/html"), None),
        (asked(accept=BOTH), 20.0),
        (asked(accept=BOTH, body=CALL), None),
        (asked(accept=BOTH, mcp_session_id=b"1"), None),
        (asked(dialect=Dialect.MCP), None),
        (asked(upgrade=b"websocket"), None),
        (asked(stream=StreamMode.NEVER), None),
        (asked(stream=StreamMode.ALWAYS), None),
        (asked(stream=StreamMode.ALWAYS, accept=b"application/x-ndjson, */*"), None),
        (asked(accept=b"application/x-ndjson, */*"), None),
        (asked(client_fields={b"accept": [b"*/*"]}), None),
        (asked(path="/api/chat", user_agent=b"ollama-python/1"), None),
        (asked(path="/api/chat", user_agent=b"ollama-python/1", body=b'{"stream": false}'), 20.0),
        (asked(path="/api/embed", user_agent=b"ollama-python/1"), 20.0),
        (asked(path="/api/chat", dialect=Dialect.OLLAMA, body=b'{"stream": false}',
               heartbeat=HeartbeatPolicy(json=20.0, ndjson=WhiteSpace.OFF)), 20.0),
        (asked(path="/api/chat", dialect=Dialect.OLLAMA, body=b'{"stream": false}', accept=BOTH), 20.0),
        (asked(path="/v1/chat/completions", dialect=Dialect.OLLAMA, body=b'{"stream": true}'), None),
        (asked(path="/v1/chat/completions", dialect=Dialect.OLLAMA), 20.0),
        (asked(path="/api/chat/", user_agent=b"ollama-python/1",
               heartbeat=HeartbeatPolicy(json=20.0, ndjson=WhiteSpace.OFF)), None),
    ],
)  # fmt: skip
def test_which_requests_are_promised_json(request_: StreamRequest, after: float | None) -> None:
    assert request_.early_after == after


def test_how_it_is_treated() -> None:
    assert (PLAN.is_answer, PLAN.comes_back, PLAN.is_declared, PLAN.marker) == (True, False, None, None)
