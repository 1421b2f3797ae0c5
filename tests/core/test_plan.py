"""What does a request ask for, and how is its stream treated? (docs/configuration.md, "Answer or feed", dialects)"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest

from sseproxy.core.http.accept import accepted
from sseproxy.core.http.fields import by_name
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndPolicy, EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy, WhiteSpace
from sseproxy.core.stream.kinds import EVENT_STREAM, NDJSON
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode, StreamPlan
from sseproxy.core.stream.request import StreamRequest
from sseproxy.core.stream.timeouts import ANSWER_IDLE, TimeoutPolicy

STREAM = b"text/event-stream"
BOTH = b"application/json, text/event-stream"
SDK = b"application/json"
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"method":"x","id":5}}'
CALL = b'{"method":"tools/call","params":{"name":"t","arguments":{"id":3}},"jsonrpc":"2.0","id":"a-7"}'
NOTIFICATION = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
RESPONSE = b'{"jsonrpc":"2.0","id":1,"result":{}}'
QUERY = b'{"query":"{ a }","variables":{},"operationName":null}'


@dataclass(frozen=True)
class Policy:
    dialect: Dialect = Dialect.AUTO
    stream: StreamMode = StreamMode.AUTO
    declaration: Declaration = Declaration()
    kind: StreamKind = StreamKind.AUTO
    heartbeat: HeartbeatPolicy = HeartbeatPolicy(before_response=10.0)
    timeouts: TimeoutPolicy = TimeoutPolicy()
    limits: LimitPolicy = LimitPolicy()
    end: EndPolicy | None = None


def asked(
    method: str = "GET",
    target: str = "/",
    accept: bytes | None = None,
    body: bytes | None = None,
    *,
    policy: Policy = Policy(),
    ticket: bool = False,
    fields: Mapping[str, str] = {},
) -> StreamRequest:
    """A request whose body has passed."""
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    if accept is not None:
        headers.append((b"accept", accept))
    path, _, query = target.partition("?")
    opened = {b"accept": [STREAM], b"cache-control": [b"no-cache"]} if ticket else None
    request = StreamRequest(
        policy,
        method=method,
        path=path,
        query=query,
        fields=by_name(headers),
        client_fields=opened,
        has_body=body is not None,
    )
    if body is not None and request.wanted_members:
        request.peek = BodyPeek(request.wanted_members)
        request.peek.feed(body)
        request.peek.end()
    return request


class TestAccept:
    @pytest.mark.parametrize(
        ("values", "named", "alone", "preferred", "json"),
        [
            ([STREAM], True, True, True, False),
            ([b" Text/Event-Stream ; charset=utf-8"], True, True, True, False),
            ([b"text/event-stream, */*"], True, False, True, False),
            ([b"text/event-stream, */*;q=0.1"], True, False, True, False),
            ([b"text/*, text/event-stream"], True, False, True, False),
            ([BOTH], True, False, False, True),
            ([b"application/json", STREAM], True, False, False, True),
            ([b"text/event-stream, application/json;q=0.9"], True, False, True, True),
            ([b"text/event-stream;q=0.5, application/json;q=0.4"], True, False, True, True),
            ([b"text/event-stream;q=0.5, application/json"], True, False, False, True),
            ([b"text/event-stream;q=0"], False, False, False, False),
            ([b"text/event-stream;q=0.0, application/json;q=0"], False, False, False, False),
            ([b"text/event-stream;q=x"], True, True, True, False),
            ([b"text/event-stream-x"], False, False, False, False),
            ([b"*/*"], False, False, False, False),
            ([b""], False, False, False, False),
            ([], False, False, False, False),
            ([b",, text/event-stream ,"], True, True, True, False),
        ],
    )
    def test_weights(self, values: list[bytes], named: bool, alone: bool, preferred: bool, json: bool) -> None:
        found = accepted(values)
        assert (found.named, found.alone, found.preferred, found.json) == (named, alone, preferred, json)

    def test_urql_prefers_json(self) -> None:
        value = b"application/graphql-response+json, application/graphql+json, application/json, text/event-stream"
        assert not accepted([value + b", multipart/mixed"]).preferred

    def test_a_list_without_end_says_nothing(self) -> None:
        assert not accepted([b"a/b," * 100_000 + STREAM]).named


class TestDeclaration:
    @pytest.mark.parametrize(
        ("request_", "declares"),
        [
            (asked(accept=STREAM), True),
            (asked("HEAD", accept=STREAM), False),
            (asked(accept=b"*/*"), False),
            (asked("POST", accept=SDK, body=b'{"stream": true}'), True),
            (asked("POST", accept=SDK, body=b'{"stream": false, "stream": true}'), True),
            (asked("POST", accept=SDK, body=b'{"stream": true, "stream": false}'), False),
            (asked("POST", accept=SDK, body=b'{"stream": 1}'), False),
            (asked("POST", accept=SDK, body=b'{"stream": "true"}'), False),
            (asked("POST", accept=SDK, body=b'{"x": {"stream": true}}'), False),
            (asked("POST", accept=SDK, body=b'{"image": "' + b"A" * 3_000_000 + b'", "stream": true}'), True),
            (asked("POST", accept=SDK, body=b'{"stream": true'), False),
            (asked("POST", accept=SDK), False),
            (asked("POST", "/v1beta/models/g:streamGenerateContent?alt=sse", b"*/*", b"{}"), True),
            (asked("POST", "/v1beta/models/g:streamGenerateContent", b"*/*", b"{}"), False),
            (asked("POST", "/x?alt=sse", b"*/*", b"{}"), False),
            (asked("POST", "/x?alt=sse", b"*/*", b"{}", policy=Policy(Dialect.GEMINI)), True),
            (asked(ticket=True), True),
            (asked("POST", accept=b"*/*", ticket=True, body=b"{}"), True),
        ],
    )
    def test_who_declares_a_stream(self, request_: StreamRequest, declares: bool) -> None:
        assert request_.declares is declares

    @pytest.mark.parametrize(
        ("request_", "declares"),
        [
            (asked("POST", "/mcp", BOTH, INITIALIZE), False),
            (asked("POST", "/mcp", BOTH, CALL), True),
            (asked("POST", "/mcp", BOTH, NOTIFICATION), False),
            (asked("POST", "/mcp", BOTH, RESPONSE), False),
            (asked("POST", "/mcp", BOTH, b"[" + CALL + b"]"), False),
            (asked("POST", "/mcp", BOTH, CALL, fields={"Mcp-Session-Id": "s"}), True),
            (asked("POST", "/mcp", BOTH, INITIALIZE, fields={"Mcp-Protocol-Version": "2025-11-25"}), False),
            (asked("POST", "/mcp", BOTH, CALL, fields={"Mcp-Method": "initialize"}), False),
            (asked("POST", "/mcp", SDK, CALL, fields={"Mcp-Session-Id": "s"}), False),
            (asked("GET", "/mcp", STREAM, fields={"Mcp-Session-Id": "s"}), True),
            (asked("DELETE", "/mcp", BOTH, fields={"Mcp-Session-Id": "s"}), False),
            (asked("POST", "/graphql", BOTH, QUERY), False),
            (asked("POST", "/graphql", BOTH, b'{"stream": true}'), True),
            (asked("POST", "/mcp", BOTH, INITIALIZE, policy=Policy(stream=StreamMode.ALWAYS)), False),
            (asked("POST", "/mcp", BOTH, CALL, policy=Policy(stream=StreamMode.ALWAYS)), True),
            (asked("POST", "/other", BOTH, QUERY, policy=Policy(stream=StreamMode.ALWAYS)), True),
        ],
    )
    def test_of_mcp(self, request_: StreamRequest, declares: bool) -> None:
        assert request_.declares is declares

    @pytest.mark.parametrize(
        ("target", "body", "declares"),
        [
            ("/api/chat", b'{"model": "m"}', True),
            ("/api/generate", b'{"model": "m", "stream": true}', True),
            ("/api/generate/", b'{"model": "m", "stream": null}', True),
            ("/below/api/chat", b"{}", True),
            ("/api/chat", b'{"stream": false, "model": "m"}', False),
            ("/api/embed", b'{"model": "m"}', False),
            ("/api/pull", b'{"model": "m"}', False),
        ],
    )
    def test_ollama_streams_unless_the_body_says_otherwise(self, target: str, body: bytes, declares: bool) -> None:
        agent = {"User-Agent": "ollama-python/0.6.1 (x86_64 linux) Python/3.11.2"}
        for asks in (
            asked("POST", target, SDK, body, fields=agent),
            asked("POST", target, SDK, body, policy=Policy(Dialect.OLLAMA)),
        ):
            assert asks.declares is declares
            assert asks.promised_kind is (NDJSON if target.rstrip("/").endswith(("chat", "generate")) else EVENT_STREAM)

    @pytest.mark.parametrize(
        ("target", "body", "dialect", "declares"),
        [
            ("/v1/chat/completions", b'{"stream": true}', Dialect.OPENAI_CHAT, True),
            ("/v1/chat/completions", b"{}", Dialect.OPENAI_CHAT, False),
            ("/v1/responses", b'{"stream": true}', Dialect.OPENAI_RESPONSES, True),
            ("/api/pull", b'{"stream": true}', Dialect.OLLAMA, False),  # NDJSON that is not promised
        ],
    )
    def test_ollama_speaks_for_other_services(self, target: str, body: bytes, dialect: Dialect, declares: bool) -> None:
        asks = asked("POST", target, SDK, body, policy=Policy(Dialect.OLLAMA))
        assert (asks.dialect, asks.declares) == (dialect, declares)
        assert not declares or asks.promised_kind is EVENT_STREAM

    def test_not_where_no_heartbeat_can_go(self) -> None:
        quiet = Policy(Dialect.OLLAMA, heartbeat=HeartbeatPolicy(before_response=1.0, ndjson=WhiteSpace.OFF))
        assert asked("POST", "/api/chat", SDK, b"{}", policy=quiet).declares is False

    def test_nor_of_another_client_whatever_the_path(self) -> None:
        assert asked("POST", "/api/chat", SDK, b'{"model": "m"}').declares is False
        agent = {"User-Agent": "ollama-python/0.6.1 (x86_64 linux) Python/3.11.2"}
        openai = asked("POST", "/v1/chat/completions", SDK, b'{"stream": true}', fields=agent)
        assert (openai.declares, openai.promised_kind) == (True, EVENT_STREAM)

    @pytest.mark.parametrize("body", [b"{}", b'{"stream": true}', b'{"stream": false}'])
    def test_a_route_says_so_of_all_its_paths(self, body: bytes) -> None:
        always = Policy(Dialect.OLLAMA, stream=StreamMode.ALWAYS)
        assert asked("POST", "/x", SDK, body, policy=always).declares is (b"false" not in body)
        assert asked("GET", "/x", SDK, policy=always).declares is False

    @pytest.mark.parametrize("accept", [b"application/x-ndjson", b"application/json, application/jsonl;q=0.5"])
    def test_ndjson_of_other_services_is_not_promised(self, accept: bytes) -> None:
        for policy in (Policy(), Policy(stream=StreamMode.ALWAYS)):
            assert asked("POST", "/", accept, b'{"stream": true}', policy=policy).declares is False
        both = asked("POST", "/", accept + b", text/event-stream", b'{"stream": true}')
        assert (both.declares, both.promised_kind) == (True, EVENT_STREAM)

    def test_the_plan_of_ndjson(self) -> None:
        end = EndPolicy(marker=Marker(data="x"))
        browser = {"Cache-Control": "no-cache"}
        request = asked("GET", "/", STREAM, fields=browser, policy=Policy(end=None))
        assert (request.plan().comes_back, request.plan(NDJSON).comes_back) == (True, False)
        assert asked(policy=Policy(end=end)).plan(NDJSON).marker is None
        assert not asked("GET", "/x", SDK).plan(NDJSON).is_answer
        assert asked("GET", "/x", SDK, policy=Policy(Dialect.OLLAMA)).plan(NDJSON).is_answer
        assert asked("POST", "/api/chat", SDK, b"{}", policy=Policy(Dialect.OLLAMA)).plan(NDJSON).is_declared is True
        for undeclared in (asked("POST", "/api/pull", SDK, b"{}", policy=Policy(Dialect.OLLAMA)), asked("GET", "/x")):
            assert undeclared.plan(NDJSON).is_declared is None

    @pytest.mark.parametrize(
        ("rule", "target", "body", "declares"),
        [
            (Declaration("response_mode", "streaming"), "/", b'{"response_mode": "streaming"}', True),
            (Declaration("response_mode", "streaming"), "/", b'{"response_mode": "blocking"}', False),
            (Declaration("streaming"), "/", b'{"streaming": true}', True),
            (Declaration("streaming"), "/", b'{"stream": true}', True),
            (Declaration("stream", 1), "/", b'{"stream": 1}', True),
            (Declaration("stream", 1), "/", b'{"stream": true}', True),
            (Declaration("stream", 1), "/", b'{"stream": 1.0}', False),
            (Declaration("streaming"), "/", b'{"streaming": 1}', False),
            (Declaration(query="stream"), "/x?stream=true", b"{}", True),
            (Declaration(query="stream"), "/x?a=1&stream", b"{}", True),
            (Declaration(query="stream"), "/x?stream=false", b"{}", False),
            (Declaration(query="stream"), "/x?streams=true", b"{}", False),
        ],
    )
    def test_a_route_names_other_words(self, rule: Declaration, target: str, body: bytes, declares: bool) -> None:
        assert asked("POST", target, SDK, body, policy=Policy(declaration=rule)).declares is declares

    def test_never_means_never(self) -> None:
        request = asked("POST", accept=STREAM, body=b'{"stream": true}', policy=Policy(stream=StreamMode.NEVER))
        assert (request.declares, request.wanted_members) == (False, ())

    def test_a_body_that_nobody_asks_about_is_not_looked_into(self) -> None:
        quiet = Policy(heartbeat=HeartbeatPolicy())
        assert asked("POST", accept=SDK, body=b"{}", policy=quiet).wanted_members == ()
        assert asked("POST", accept=STREAM, body=b"{}").wanted_members == ()
        assert "id" in asked("POST", accept=BOTH, body=CALL, policy=quiet).wanted_members

    def test_until_the_body_has_passed_it_is_not_known(self) -> None:
        request = StreamRequest(Policy(), method="POST", path="/", query="", fields={}, has_body=True)
        request.peek = BodyPeek(request.wanted_members)
        request.peek.feed(b'{"stream": true}')
        assert request.declares is None
        request.peek.end()
        assert request.declares is True


class TestDialect:
    @pytest.mark.parametrize(
        ("request_", "dialect"),
        [
            (asked("POST", "/v1/chat/completions", SDK), Dialect.OPENAI_CHAT),
            (asked("POST", "/openai/deployments/d/chat/completions?api-version=1"), Dialect.OPENAI_CHAT),
            (asked("POST", "/v1/completions"), Dialect.OPENAI_COMPLETIONS),
            (asked("POST", "/v1/responses"), Dialect.OPENAI_RESPONSES),
            (asked("POST", "/v1/chat/completions/"), Dialect.OPENAI_CHAT),
            (asked("POST", "/v1/messages/", fields={"Anthropic-Version": "1"}), Dialect.ANTHROPIC),
            (asked("POST", "/v1/messages", fields={"Anthropic-Version": "2023-06-01"}), Dialect.ANTHROPIC),
            (asked("POST", "/v1/messages"), Dialect.GENERIC),
            (asked("POST", "/v1beta/models/g:streamGenerateContent"), Dialect.GEMINI),
            (asked("GET", "/responses", STREAM), Dialect.GENERIC),
            (asked("POST", "/mcp", BOTH, CALL), Dialect.MCP),
            (asked("POST", "/mcp", BOTH, QUERY), Dialect.GENERIC),
            (asked("GET", "/mcp", STREAM, fields={"Mcp-Session-Id": "s"}), Dialect.MCP),
            (asked("POST", "/api/chat", fields={"User-Agent": "ollama-js/0.6.0"}), Dialect.OLLAMA),
            (asked("POST", "/api/chat", SDK, b'{"stream": true}'), Dialect.GENERIC),
            (asked("POST", "/proxy", fields={"Anthropic-Version": "2023-06-01"}), Dialect.ANTHROPIC),
            (asked("POST", "/proxy", fields={"X-Goog-Api-Client": "google-genai-sdk/3"}), Dialect.GEMINI),
            (asked("POST", "/proxy", fields={"X-Stainless-Lang": "python"}), Dialect.GENERIC),
            (asked("POST", "/v1/chat/completions", policy=Policy(Dialect.GENERIC)), Dialect.GENERIC),
            (asked("POST", "/mcp", BOTH, CALL, policy=Policy(Dialect.GENERIC)), Dialect.GENERIC),
            (asked("POST", "/x", policy=Policy(Dialect.ANTHROPIC)), Dialect.ANTHROPIC),
        ],
    )
    def test_the_request_says_which_one(self, request_: StreamRequest, dialect: Dialect) -> None:
        assert request_.dialect is dialect
        assert request_.plan().dialect is dialect

    @pytest.mark.parametrize(("body", "id_"), [(CALL, "a-7"), (INITIALIZE, 0), (NOTIFICATION, None), (b"{", None)])
    def test_an_mcp_error_needs_the_id_of_its_request(self, body: bytes, id_: str | int | None) -> None:
        assert asked("POST", "/mcp", BOTH, body, fields={"Mcp-Session-Id": "s"}).plan().request_id == id_

    def test_only_mcp_has_one(self) -> None:
        assert asked("POST", "/graphql", BOTH, b'{"id": 7}').plan().request_id is None


EVENT_SOURCE = {"Cache-Control": "no-cache"}


class TestAnswerOrFeed:
    @pytest.mark.parametrize(
        ("request_", "is_answer", "comes_back"),
        [
            (asked(accept=STREAM, fields=EVENT_SOURCE), False, True),
            (asked(accept=STREAM, fields={"Cache-Control": "max-age=0, No-Cache"}), False, True),
            (asked(accept=STREAM), False, False),
            (asked(accept=STREAM, fields={"Cache-Control": "no-store"}), False, False),
            (asked(accept=BOTH, fields=EVENT_SOURCE), False, False),
            (asked(accept=b"*/*"), False, False),
            (asked("POST", accept=STREAM, fields=EVENT_SOURCE), True, False),
            (asked("PUT", accept=STREAM), True, False),
            (asked("GET", accept=STREAM, fields=EVENT_SOURCE, ticket=True), True, False),
            (asked(accept=STREAM, fields=EVENT_SOURCE, policy=Policy(Dialect.OPENAI_CHAT)), True, False),
            (asked(accept=STREAM, fields=EVENT_SOURCE, policy=Policy(end=EndPolicy())), True, False),
            (asked(accept=STREAM, fields=EVENT_SOURCE, policy=Policy(kind=StreamKind.ANSWER)), True, False),
            (asked("POST", accept=STREAM, policy=Policy(kind=StreamKind.FEED)), False, False),
            (asked("GET", "/mcp", STREAM, fields={"Mcp-Session-Id": "s"}), False, True),
            (asked("POST", "/mcp", BOTH, CALL, fields={"Mcp-Session-Id": "s"}), True, False),
        ],
    )
    def test_it_is_decided_once(self, request_: StreamRequest, is_answer: bool, comes_back: bool) -> None:
        plan = request_.plan()
        assert (plan.is_answer, plan.comes_back) == (is_answer, comes_back)
        assert plan.timeouts.idle_of(is_answer=plan.is_answer) == (ANSWER_IDLE if is_answer else None)

    def test_an_idle_timeout_that_is_named_holds_for_both(self) -> None:
        for idle in (7.0, None):
            assert {TimeoutPolicy(idle=idle).idle_of(is_answer=kind) for kind in (True, False)} == {idle}


class TestForm:
    STAINLESS: ClassVar[dict[str, str]] = {"X-Stainless-Lang": "python"}

    @pytest.mark.parametrize(
        ("request_", "form"),
        [
            (asked("POST"), HeartbeatForm.AUTO),
            (asked("POST", fields=STAINLESS), HeartbeatForm.COMMENT_LINE),
            (asked("POST", "/v1/messages", fields={"Anthropic-Version": "1"}), HeartbeatForm.AUTO),
            (asked("POST", policy=Policy(Dialect.ANTHROPIC)), HeartbeatForm.ANTHROPIC),
            (asked("POST", fields=STAINLESS, policy=Policy(Dialect.ANTHROPIC)), HeartbeatForm.COMMENT_LINE),
            (asked("POST", policy=Policy(Dialect.GEMINI)), HeartbeatForm.BLANK),
            (asked("POST", "/m:streamGenerateContent"), HeartbeatForm.BLANK),
            (asked("POST", "/mcp", BOTH, CALL), HeartbeatForm.COMMENT_LINE),
            (asked("POST", "/mcp", BOTH, fields={"User-Agent": "Go-http-client/1.1"}), HeartbeatForm.COMMENT_LINE),
            (asked(accept=STREAM, fields={"User-Agent": "Go-http-client/1.1"}), HeartbeatForm.BLANK),
            (asked(accept=STREAM, fields={"User-Agent": "Java-http-client/17"}), HeartbeatForm.COMMENT_LINE),
            (
                asked("POST", fields=STAINLESS, policy=Policy(heartbeat=HeartbeatPolicy(form=HeartbeatForm.EVENT))),
                HeartbeatForm.EVENT,
            ),
        ],
    )
    def test_in_this_order(self, request_: StreamRequest, form: HeartbeatForm) -> None:
        assert request_.plan().form is form

    @pytest.mark.parametrize(
        ("path", "named", "form"),
        [
            ("/v1/responses", HeartbeatForm.OPENAI_RESPONSES, HeartbeatForm.OPENAI_RESPONSES),
            ("/v1/completions", HeartbeatForm.OPENAI_CHAT, HeartbeatForm.AUTO),
            ("/v1/chat/completions", HeartbeatForm.OPENAI_RESPONSES, HeartbeatForm.AUTO),
            ("/v1/responses", HeartbeatForm.ANTHROPIC, HeartbeatForm.AUTO),
            ("/v1/chat/completions", HeartbeatForm.COMMENT_BLOCK, HeartbeatForm.COMMENT_BLOCK),
            ("/chat", HeartbeatForm.ANTHROPIC, HeartbeatForm.ANTHROPIC),
        ],
    )
    def test_an_event_of_one_service_goes_into_no_stream_of_another(
        self, path: str, named: HeartbeatForm, form: HeartbeatForm
    ) -> None:
        assert asked("POST", path, policy=Policy(heartbeat=HeartbeatPolicy(form=named))).plan().form is form

    def test_the_event_of_a_client_goes_into_no_stream_of_another_service(self) -> None:
        codex = {"User-Agent": "codex_cli_rs/0.1"}
        assert asked("POST", "/v1/chat/completions", STREAM, b"{}", fields=codex).plan().form is HeartbeatForm.AUTO

    def test_codex_gets_events(self) -> None:
        plan = asked("POST", "/v1/responses", STREAM, b"{}", fields={"User-Agent": "codex_cli_rs/0.1"}).plan()
        assert (plan.form, plan.event) == (HeartbeatForm.EVENT, ("keepalive", '{"type":"keepalive"}'))

    def test_the_form_of_a_ticket_is_that_of_who_opens_it(self) -> None:
        assert asked("POST", fields=self.STAINLESS, ticket=True).plan().form is HeartbeatForm.AUTO


def test_the_marker_comes_from_the_route() -> None:
    marker = Marker(event="over")
    plan = asked(policy=Policy(end=EndPolicy(marker=marker, only=EndsAt.MARKER))).plan()
    assert (plan.marker, plan.only_marker, plan.has_terminal_event) == (marker, True, True)
    assert StreamPlan().has_terminal_event is False


def test_a_client_that_is_given_blank_lines_takes_no_comments() -> None:
    assert not StreamPlan(form=HeartbeatForm.BLANK).takes_comments
    assert all(StreamPlan(form=form).takes_comments for form in HeartbeatForm if form is not HeartbeatForm.BLANK)


def test_a_browser_is_known_by_the_request_that_its_eventsource_sends() -> None:
    fresh = {"Cache-Control": "max-age=0, No-Cache"}
    assert asked("GET", accept=STREAM, fields=fresh).is_browser
    assert asked("POST", accept=SDK, ticket=True).is_browser  # it has opened what was kept
    for other in (
        asked("GET", accept=STREAM),
        asked("GET", accept=BOTH, fields=fresh),
        asked("GET", fields=fresh),
        asked("POST", accept=STREAM, fields=fresh),
    ):
        assert not other.is_browser
