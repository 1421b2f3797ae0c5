"""Does the same answer look the same behind the proxy and behind both middlewares, to the byte?"""

import random
from dataclasses import replace

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm, WhiteSpace
from tests.support.asgi_exchange import HB, Exchange, head, script
from tests.support.doors import DOORS, END_ID, IDLE, INTERVAL, LONGEST, OF_SERVERS, Question, Script, Seen, Treatment
from tests.support.proxy_server import stage
from tests.support.raw_upstream import Visit
from tests.support.whatwg import parse

PARTS = (
    b"data: 1\n\n",
    b"id: 7\r\nevent: tick\r\ndata: a\r\ndata: b\r\n\r\n",
    b"data: c\rdata: d\r\r",
    b": comment\n\n",
    "data: \N{SNOWMAN}\n\n".encode(),
    b'data: {"id": "x", "object": "chat.completion.chunk", "model": "m", "created": 1, "choices": [{"index": 0}]}\n\n',
    b"\xef\xbb\xbfdata: bom\n\n",
    b"retry: 5\ndata\n\n",
)
EVENT_STREAM = (b"Content-Type", b"text/event-stream")
JSON = (b"Content-Type", b"application/json")
HTML = (b"Content-Type", b"text/html")
CALL = b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {}}'
MCP = ((b"Accept", b"application/json, text/event-stream"), JSON)

#: Seconds before an answer: no sum of pauses brings it to a moment in which something else is due.
AT_ONCE, SOON, LATE, LATER = 0.01, 0.57, 1.43, 2.31

ACCEPTS = (
    None,
    b"*/*",
    b"text/event-stream",
    b"application/json, text/event-stream",
    b"text/event-stream, application/json;q=0.5",
    b"application/json, text/event-stream;q=0.9",
    b"text/event-stream;q=0",
)
BODIES = (
    b'{"stream": true}',
    b'{"stream": false}',
    CALL,
    b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"}',
    b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
    b"stream=true",
)
TARGETS = ("/", "/v1/chat/completions", "/v1/messages", "/mcp")
REFUSALS = (
    Script((b'{"error": {"message": "Slow ', 0.3, b'down.", "code": "slow"}}'), 429, (JSON, (b"Retry-After", b"7"))),
    Script((b"no",), 503, (HTML,)),
    Script((b"<p>", 0.3, b"hello"), 200, (HTML,)),
    Script((b"data: 1\n\n",), 200, (EVENT_STREAM, HTML)),
    Script((b"data: 1\n\n",), 500, (EVENT_STREAM,)),
    Script((b"half",), 500, (HTML,), is_whole=False),
)
ANSWERS = (
    Script((b'{"a":\n', 0.3, b'"b"}'), 200, (JSON,)),
    Script((b'{"jsonrpc": "2.0", "id": 7, "result": {}}',), 201, ((b"Content-Type", b"application/problem+json"),)),
    Script((), 200, (JSON,)),
    Script((b'{"a":', 0.3), 200, (JSON,), is_whole=False),
)


def made_up(seed: int, parts: tuple[bytes, ...] = ()) -> tuple[bytes | float, ...]:
    """Events cut anywhere, with pauses: most too short for a heartbeat, some with several, few with the end of all."""
    dice = random.Random(seed)
    stream = b"".join(parts or dice.choices(PARTS, k=dice.randint(2, 6)))
    cuts = sorted(dice.sample(range(1, len(stream)), k=min(len(stream) - 1, dice.randint(0, 8))))
    steps: list[bytes | float] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        steps += [stream[start:end], dice.choices([0.01, 0.3, 0.9, 1.7], weights=[6, 4, 2, 0.3])[0]]
    return tuple(steps)


def question(dice: random.Random) -> Question:
    method = dice.choices(["GET", "POST", "HEAD"], weights=[2, 6, 1])[0]
    accept, kind = dice.choice(ACCEPTS), dice.choice([JSON, JSON, (b"Content-Type", b"text/plain"), None])
    fields = [] if accept is None else [(b"Accept", accept)]
    if method != "POST":
        return Question(method, dice.choice(TARGETS), tuple(fields))
    fields += [] if kind is None else [kind]
    fields += [(b"Mcp-Protocol-Version", b"2025-06-18")] if dice.random() < 0.2 else []
    return Question(method, dice.choice(TARGETS), tuple(fields), dice.choice(BODIES))


def answer(dice: random.Random) -> Script:
    before = dice.choice([AT_ONCE, SOON, LATE, LATER])
    kind = dice.random()
    if kind < 0.6:
        steps, fields = made_up(dice.randrange(1000)), dice.choice([(EVENT_STREAM,), (HTML, EVENT_STREAM)])
        return Script(steps, fields=fields, before=before, is_whole=dice.random() < 0.8)
    said = dice.choice(ANSWERS if kind < 0.8 else REFUSALS)
    return Script(said.steps, said.status, said.fields, before, said.is_whole)


async def by_all(asked: Question, said: Script, treatment: Treatment) -> Seen:
    """What all doors agree on."""
    seen = {name: await door(asked, said, treatment) for name, door in DOORS.items()}
    assert seen["asgi"] == seen["proxy"]
    assert seen["aiohttp"] == seen["proxy"]
    return seen["proxy"]


@pytest.mark.parametrize("seed", range(60))
async def test_the_same_script_gives_the_same_bytes(seed: int) -> None:
    form = list(HeartbeatForm)[seed % len(HeartbeatForm)]
    dialect = list(Dialect)[seed % len(Dialect)]
    await by_all(Question(), Script(made_up(seed)), Treatment(form, dialect))


def anything(seed: int) -> tuple[Question, Script, Treatment]:
    dice = random.Random(seed)
    dialect = dice.choice([Dialect.AUTO, *Dialect])
    treatment = Treatment(dice.choice(list(HeartbeatForm)), dialect, is_early=dice.random() < 0.7)
    return question(dice), answer(dice), treatment


@pytest.mark.parametrize("seed", range(120))
async def test_so_does_any_question(seed: int) -> None:
    await by_all(*anything(seed))


STOP = b"event: sseproxy-stop\ndata: \n"
LATE_STREAM = Script((b"data: 1\n\n", 0.3, b"data: 2\n\n"), before=LATE)
BREAKS = Script((b"data: 1\n\n",), is_whole=False)
ASKS = Question("POST", "/v1/chat/completions", (JSON,), b'{"stream": true}')
LONG = Question("POST", "/", (JSON,), b'{"image": "' + b"x" * 2**21 + b'", "stream": true}')
TOOL = Question("POST", "/mcp", MCP, CALL)
ANY_TOOL = Question("POST", "/mcp", ((b"Accept", b"*/*"), JSON), CALL)
FIELD_TOOL = Question("POST", "/", (*ANY_TOOL.fields, (b"Mcp-Session-Id", b"1")), CALL)
EARLY_ONES, LATER_ONES = Treatment(is_early=True), Treatment()


@pytest.mark.parametrize(
    ("asked", "said", "treatment", "wanted"),
    [
        (ASKS, LATE_STREAM, EARLY_ONES, HB + b"\n" + HB + b"\ndata: 1\n\n" + HB + b"\ndata: 2\n\n"),
        (LONG, LATE_STREAM, EARLY_ONES, HB + b"\n" + HB + b"\ndata: 1\n\n" + HB + b"\ndata: 2\n\n"),
        (TOOL, LATE_STREAM, EARLY_ONES, HB + HB + b"data: 1\n\n" + HB + b"data: 2\n\n"),
        (ASKS, replace(ANSWERS[0], before=LATE), EARLY_ONES, b'data: {"a":\n' + HB + b'data: "b"}\n\n'),
        (TOOL, replace(ANSWERS[1], before=LATE), EARLY_ONES, b'event: message\ndata: {"jsonrpc": "2.0", "id": 7, '),
        (ASKS, replace(REFUSALS[0], before=LATE), EARLY_ONES, b'"code": "slow", "status": 429, "retry_after": "7"}}'),
        (TOOL, replace(REFUSALS[1], before=LATE), EARLY_ONES, b'"id": 7, "error": {"code": -32000'),
        (ASKS, replace(REFUSALS[5], before=LATE), EARLY_ONES, b'"message": "half"'),
        (TOOL, BREAKS, EARLY_ONES, b'"id": 7, "error": {"code": -32000'),
        (TOOL, BREAKS, LATER_ONES, b'"id": 7, "error": {"code": -32000'),
        (FIELD_TOOL, BREAKS, LATER_ONES, b'"id": 7, "error": {"code": -32000'),
        (ANY_TOOL, BREAKS, Treatment(dialect=Dialect.MCP), b'"id": 7, "error": {"code": -32000'),
        (Question("HEAD", fields=((b"Accept", b"text/event-stream"),)), LATE_STREAM, EARLY_ONES, b""),
        (Question("POST", fields=TOOL.fields, body=b"{}"), replace(LATE_STREAM, before=SOON), LATER_ONES, HB + b"\n"),
    ],
)
async def test_so_does_a_question_of_each_kind(
    asked: Question, said: Script, treatment: Treatment, wanted: bytes
) -> None:
    """wanted: is in the body, so that the doors are not alike in doing nothing."""
    seen = await by_all(asked, said, treatment)
    assert seen.status == 200
    assert wanted in seen.body


# NDJSON.

RECORDS = (
    b'{"a": 1}\n',
    b'{"b": 2}\r\n',
    b"\n",
    b'[1, 2]\n{"c": "' + b"x" * 40 + b'"}\n',
    b'{"message": {"done": true}}\n',
    b"no json\n",
    b"\xef\xbb\xbf7\n",
    b'{"error": null}\n',
)
LAST_RECORDS = (b'{"done": true}\n', b'{"done": true}\n', b'{"done": true}', b'{"error": "out of memory"}\n', b"")
NDJSON_TYPES = (b"application/x-ndjson", b"application/jsonl", b"application/stream+json; charset=utf-8")
AGENT = (b"User-Agent", b"ollama-python/0.6.1")
OLLAMA_BODIES = (
    b'{"model": "m"}',
    b'{"stream": true}',
    b'{"stream": false}',
    b'{"a": [{"stream": false}]}',
)


def records(seed: int) -> tuple[Question, Script, Treatment]:
    """NDJSON cut anywhere, or what comes in its place, with any treatment."""
    dice = random.Random(seed)
    parts = (*dice.choices(RECORDS, k=dice.randint(1, 6)), dice.choice(LAST_RECORDS))
    fields = ((b"Content-Type", dice.choice(NDJSON_TYPES)),)
    said = Script(made_up(seed, parts), 200, fields, is_whole=dice.random() < 0.7)
    if dice.random() < 0.2:
        said = dice.choice([*REFUSALS, *ANSWERS])
    said = replace(said, before=dice.choice([AT_ONCE, LATE, LATER]))
    if dice.random() < 0.7:
        target = dice.choice(["/api/chat", "/api/generate", "/api/pull"])
        asked = Question("POST", target, (AGENT, JSON), dice.choice(OLLAMA_BODIES))
    else:
        asked = Question("GET", "/", ((b"Accept", b"application/x-ndjson"),))
    dialect = dice.choice([Dialect.AUTO, Dialect.OLLAMA, Dialect.GENERIC])
    return asked, said, Treatment(dialect=dialect, is_early=dice.random() < 0.7, ndjson=dice.choice(list(WhiteSpace)))


@pytest.mark.parametrize("seed", range(60))
async def test_so_do_records(seed: int) -> None:
    await by_all(*records(seed))


async def test_the_records_have_something_to_show() -> None:
    seen = [await DOORS["asgi"](*records(seed)) for seed in range(60)]
    assert sum(b"\n " in got.body for got in seen) > 5
    assert sum(got.body.startswith(b" ") for got in seen) > 5
    assert {got.is_whole for got in seen} == {True, False}
    assert any(b'"status": 504' in got.body for got in seen)


CHAT = Question("POST", "/api/chat", (AGENT, JSON), b'{"model": "m"}')
AT_ONCE_CHAT = replace(CHAT, body=b'{"model": "m", "stream": false}')
X_NDJSON = ((b"Content-Type", b"application/x-ndjson"),)
TWO_RECORDS = Script((b'{"a": 1}\n', 0.3, b'{"done": true}\n'), 200, X_NDJSON)
BROKEN_RECORDS = Script((b'{"a": 1}\n{"b', 0.3), 200, X_NDJSON, is_whole=False)
FEED = Question("GET", "/watch")
SILENT_RECORDS = Script((b"1\n", 2.0, b"2\n"), 200, X_NDJSON)
WITH_SPACES = Treatment(dialect=Dialect.GENERIC, ndjson=WhiteSpace.SPACE)


@pytest.mark.parametrize(
    ("asked", "said", "treatment", "body", "is_whole"),
    [
        (CHAT, TWO_RECORDS, LATER_ONES, b'{"a": 1}\n {"done": true}\n', True),
        (CHAT, replace(TWO_RECORDS, before=LATE), EARLY_ONES, b'  {"a": 1}\n {"done": true}\n', True),
        (AT_ONCE_CHAT, replace(ANSWERS[0], before=LATE), EARLY_ONES, b'{"a":\n"b"}', True),
        (replace(CHAT, target="/api/embed"), replace(ANSWERS[0], before=LATE), EARLY_ONES, b'{"a":\n"b"}', True),
        (FEED, TWO_RECORDS, LATER_ONES, b'{"a": 1}\n{"done": true}\n', True),
        (CHAT, replace(ANSWERS[0], before=LATE), EARLY_ONES, b'   {"a": "b"}\n', True),
        (CHAT, replace(REFUSALS[1], before=LATE), EARLY_ONES, b'  {"error": "no", "status": 503}\n', False),
        (
            CHAT,
            replace(REFUSALS[0], before=LATE),
            EARLY_ONES,
            b'   {"error": "Slow down.", "status": 429, "retry_after": "7"}\n',
            False,
        ),
        (CHAT, BROKEN_RECORDS, LATER_ONES, b'{"a": 1}\n {"error": "the response broke off", "status": 502}\n', False),
        (CHAT, Script((b'{"done": true}\n', 9.0), 200, X_NDJSON), LATER_ONES, b'{"done": true}\n', True),
        (FEED, BROKEN_RECORDS, LATER_ONES, b'{"a": 1}\n{"b', False),
        (FEED, BROKEN_RECORDS, WITH_SPACES, b'{"a": 1}\n ', False),
        (FEED, TWO_RECORDS, replace(WITH_SPACES, ndjson=WhiteSpace.NEWLINE), b'{"a": 1}\n\n{"done": true}\n', True),
        (FEED, SILENT_RECORDS, Treatment(ndjson=WhiteSpace.OFF), b"1\n", False),
    ],
)
async def test_so_does_ndjson_of_each_kind(
    asked: Question, said: Script, treatment: Treatment, body: bytes, is_whole: bool
) -> None:
    seen = await by_all(asked, said, treatment)
    assert (seen.status, seen.body, seen.is_whole) == (200, body, is_whole)


EVENT_SOURCE = Question(fields=((b"Accept", b"text/event-stream"), (b"Cache-Control", b"no-cache")), comes_back=True)
NODE = replace(EVENT_SOURCE, target="/a%2Fb?c", fields=(*EVENT_SOURCE.fields, (b"User-Agent", b"node")))
MCP_GET = Question("GET", "/mcp", (*MCP, (b"Mcp-Session-Id", b"1")), comes_back=True)


@pytest.mark.parametrize(
    ("asked", "error", "stops"),
    [
        (EVENT_SOURCE, b"event: error\n", b""),
        (NODE, b"event: error\n", STOP),
        (MCP_GET, b": upstream_response\n", STOP),  # JSON-RPC has no error without a request
    ],
)
@pytest.mark.parametrize("status", [204, 401, 403, 404, 410])
async def test_a_client_that_would_come_back_for_a_late_refusal_is_stopped(
    asked: Question, error: bytes, stops: bytes, status: int
) -> None:
    said = Script((b"no",) if status != 204 else (), status, (HTML,) if status != 204 else (), LATE)
    seen = await by_all(asked, said, EARLY_ONES)
    assert seen.is_whole
    assert seen.body.endswith(b"\n" + stops + b"id: " + END_ID + b"\n\n")
    assert (error in seen.body) == (status != 204)
    assert seen.again is not None
    assert (seen.again.status, seen.again.body) == (204, b"")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (EVENT_SOURCE, 429),
        (EVENT_SOURCE, 500),
        (replace(EVENT_SOURCE, fields=EVENT_SOURCE.fields[:1]), 404),  # nothing says that it comes back by itself
        (replace(ASKS, comes_back=True), 404),
    ],
)
async def test_no_other_is(asked: Question, status: int) -> None:
    seen = await by_all(asked, Script((b"no",), status, (HTML,), LATE), EARLY_ONES)
    assert not seen.is_whole
    assert END_ID not in seen.body
    assert seen.again is not None
    assert seen.again.body == seen.body


@pytest.mark.parametrize("accept", [accept for accept in ACCEPTS if accept is not None])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_weights_of_accept_are_read_alike(method: str, accept: bytes) -> None:
    asked = Question(method, fields=((b"Accept", accept),), body=b"{}" if method == "POST" else b"")
    seen = await by_all(asked, LATE_STREAM, EARLY_ONES)
    is_declared = accept in (b"text/event-stream", b"text/event-stream, application/json;q=0.5")
    assert seen.body.startswith(HB) == is_declared


OWN_FIELDS = [
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-store"),
    (b"Connection", b"keep-alive, X-Hop"),
    (b"X-Hop", b"1"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Trailer", b"X-Sum"),
    (b"Set-Cookie", b"a=1"),
    (b"Set-Cookie", b"b=2"),
    (b"X-Accel-Buffering", b"yes"),
    (b"ETag", b'"a"'),
]


async def test_the_same_head_gives_the_same_head() -> None:
    seen = await by_all(Question(), Script(fields=tuple(OWN_FIELDS)), Treatment())
    assert (b"etag", b'W/"a"') in seen.fields


async def test_also_in_its_spelling_and_with_bytes_that_aiohttp_cannot_send() -> None:
    fields = [*OWN_FIELDS, (b"X-Own", b"\xe4")]
    mine = (await Exchange(SSEKeepaliveMiddleware(script(start={**head(), "headers": fields}))).run()).messages[0]
    lines = b"".join(b"%b: %b\r\n" % field for field in [*fields, (b"Transfer-Encoding", b"chunked")])

    async def upstream(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n0\r\n\r\n")

    async with stage(upstream) as stand:
        await stand.client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        theirs = [field for field in (await stand.client.head()).fields if field[0].lower() not in OF_SERVERS]
    assert mine["headers"] == theirs


async def test_the_scripts_have_something_to_show() -> None:
    """Heartbeats, ends of every kind, cuts inside lines: otherwise being alike would mean little."""
    scripts = [made_up(seed) for seed in range(60)]
    silences = [[step for step in steps if isinstance(step, float)] for steps in scripts]
    assert sum(any(pause > INTERVAL for pause in pauses) for pauses in silences) > 30
    assert any(max(pauses) > IDLE for pauses in silences)
    assert any(sum(pauses) > LONGEST for pauses in silences)
    through = DOORS["asgi"]
    ends = [
        await through(Question(), Script(steps), Treatment(HeartbeatForm.AUTO, Dialect.GENERIC)) for steps in scripts
    ]
    assert sum(HB.strip() in seen.body for seen in ends) > 30
    assert {seen.is_whole for seen in ends} == {True, False}
    assert all(parse(seen.body).events for seen in ends if seen.body.count(b"data: ") > 3)


async def test_so_do_the_questions() -> None:
    cases = [anything(seed) for seed in range(120)]
    seen = [await DOORS["asgi"](*case) for case in cases]
    hidden = {said.status for (_, said, _), got in zip(cases, seen, strict=True) if got.status != said.status}
    assert {asked.method for asked, _, _ in cases} == {"GET", "HEAD", "POST"}
    assert hidden, "no answer that had been promised a 200 was another"
    assert {got.status for got in seen} > {200, 429, 500}
    assert sum(b"data: {" in got.body and b"rror" in got.body for got in seen) > 10
