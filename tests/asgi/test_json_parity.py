"""Does a client that was promised JSON get the same behind the proxy and behind both middlewares, to the byte?"""

import json
import random
import re
from dataclasses import replace

import pytest

from sseproxy.core.stream.dialects import Dialect
from tests.support.doors import DOORS, EARLY, EARLY_JSON, INTERVAL, Question, Script, Seen, Treatment

JSON = (b"Content-Type", b"application/json")
PROBLEM = (b"Content-Type", b"application/problem+json; charset=utf-8")
HTML = (b"Content-Type", b"text/html")
EVENT_STREAM = (b"Content-Type", b"text/event-stream")
RECORDS = (b"Content-Type", b"application/x-ndjson")

#: Seconds before an answer: no sum of pauses brings it to a moment in which something else is due.
SOON, LATE, LATER = 0.43, 1.13, 2.31

JSON_ONLY, BOTH = Treatment(json=EARLY_JSON), Treatment(is_early=True, json=EARLY_JSON)
#: JSON is promised later than streams are.
PATIENT = Treatment(is_early=True, json=EARLY + 0.6)
ASKS = Question("POST", "/v1/chat/completions", (JSON,), b'{"model": "m"}')
UPLOADS = Question("PUT", "/files", ((b"Accept", b"application/json"), (b"Content-Type", b"text/plain")), b"x" * 2**17)

ANSWERS = (
    Script((b'{"a":\n', 0.3, b'"b"}'), 200, (JSON,)),
    Script((b"\xef\xbb", 0.3, b"\xbf[1,", 0.3, b"2]\n"), 201, (PROBLEM,)),
    Script((b" ", 0.6, b"\n12"), 200, (JSON,)),
    Script((b'{"error": {"message": "Slow down.", "code": "slow"}}',), 429, (JSON, (b"Retry-After", b"7"))),
    Script((b'{"detail": "no"}',), 404, (PROBLEM,)),
)
#: With what is missing of the text of the error object: one door calls it the upstream, the others the application.
REFUSALS = (
    Script((b"no",), 503, (HTML,)),
    Script((b"<p>", 0.3, b"hello"), 200, (HTML,)),
    Script((b"half",), 500, (HTML,), is_whole=False),
    Script((b'{"partial": 1}',), 206, (JSON,)),
    Script((b'{"moved": 1}',), 307, (JSON, (b"Location", b"/b"))),
)


async def by_all(asked: Question, said: Script, treatment: Treatment) -> Seen:
    """What all doors agree on."""
    seen = {name: await door(asked, said, treatment) for name, door in DOORS.items()}
    assert seen["asgi"] == seen["proxy"]
    assert seen["aiohttp"] == seen["proxy"]
    return seen["proxy"]


def spaces(text: bytes) -> int:
    return len(text) - len(text.lstrip(b" "))


@pytest.mark.parametrize("said", ANSWERS, ids=lambda said: str(said.status))
@pytest.mark.parametrize("asked", [ASKS, UPLOADS], ids=["asks", "uploads"])
async def test_late_json_is_the_answer(asked: Question, said: Script) -> None:
    seen = await by_all(asked, replace(said, before=LATE), JSON_ONLY)
    assert seen.status == 200
    assert seen.fields == [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
    ]
    body = b"".join(step for step in said.steps if isinstance(step, bytes)).removeprefix(b"\xef\xbb\xbf")
    assert seen.body.endswith(body.lstrip())
    assert seen.is_whole
    assert spaces(seen.body) >= 1 + int((LATE - EARLY_JSON) / INTERVAL)
    assert json.loads(seen.body) == json.loads(body)


@pytest.mark.parametrize("said", REFUSALS, ids=lambda said: str(said.status))
async def test_anything_else_is_an_error_object(said: Script) -> None:
    seen = await by_all(ASKS, replace(said, before=LATE), JSON_ONLY)
    assert json.loads(seen.body)["error"]["status"] == said.status
    assert seen.is_whole


@pytest.mark.parametrize("media", [EVENT_STREAM, RECORDS])
@pytest.mark.parametrize("door", DOORS)
async def test_a_stream_cannot_be_joined(door: str, media: tuple[bytes, bytes]) -> None:
    said = Script((b"data: 1\n\n", 30.0), 200, (media,), before=LATE)
    seen = await DOORS[door](ASKS, said, JSON_ONLY)
    error = json.loads(seen.body)["error"]
    assert error["status"] == 200
    assert re.search(f"answered 200.* with {media[1].decode()}\\.$", error["message"])
    assert seen.is_whole


async def test_a_success_without_a_body_is_null() -> None:
    seen = await by_all(ASKS, Script((), 204, (), LATE), JSON_ONLY)
    assert (seen.body.strip(), seen.is_whole) == (b"null", True)


@pytest.mark.parametrize("door", ["asgi", "aiohttp"])
@pytest.mark.parametrize("status", [200, 204])
async def test_also_where_its_head_says_json(door: str, status: int) -> None:
    """As FastAPI says of a 204: its default type, and no length."""
    seen = await DOORS[door](ASKS, Script((), status, (JSON,), LATE), JSON_ONLY)
    assert (seen.body.strip(), seen.is_whole) == (b"null", True)


async def test_half_an_answer_is_broken() -> None:
    seen = await by_all(ASKS, Script((b"12",), 200, (JSON,), LATE, is_whole=False), JSON_ONLY)
    assert (seen.body.strip(), seen.is_whole) == (b"12", False)


async def test_an_upstream_that_falls_silent_behind_its_head_as_well() -> None:
    seen = await by_all(ASKS, Script((5.0, b"12"), 200, (JSON,), LATE), JSON_ONLY)
    assert (seen.body.strip(), seen.is_whole) == (b"", False)


@pytest.mark.parametrize(
    ("asked", "said", "treatment"),
    [
        (ASKS, replace(ANSWERS[0], before=SOON), JSON_ONLY),
        (replace(ASKS, fields=(JSON, (b"Accept", b"text/plain"))), replace(ANSWERS[0], before=LATE), JSON_ONLY),
        (replace(ASKS, method="GET", body=b""), replace(ANSWERS[0], before=LATE), JSON_ONLY),
        (replace(ASKS, method="OPTIONS"), replace(ANSWERS[3], before=LATE), JSON_ONLY),
        (ASKS, replace(ANSWERS[3], before=LATE), Treatment(is_early=True)),
        (ASKS, replace(ANSWERS[3], before=LATE), PATIENT),
        (replace(ASKS, body=b'{"stream": true}'), replace(ANSWERS[3], before=LATE), JSON_ONLY),
    ],
)
async def test_who_is_promised_nothing_gets_the_answer_as_it_is(
    asked: Question, said: Script, treatment: Treatment
) -> None:
    seen = await by_all(asked, said, treatment)
    assert (seen.status, spaces(seen.body)) == (said.status, 0)


async def test_a_declared_stream_is_one_whichever_comes_first() -> None:
    for treatment in (BOTH, PATIENT):
        asked = replace(ASKS, body=b'{"stream": true}')
        seen = await by_all(asked, Script((b"data: 1\n\n",), before=LATER), treatment)
        assert seen.body.startswith(b": heartbeat")
        assert seen.body.endswith(b"data: 1\n\n")


async def test_json_that_is_promised_behind_the_time_of_streams() -> None:
    seen = await by_all(ASKS, replace(ANSWERS[0], before=LATER), PATIENT)
    assert spaces(seen.body) == 1 + int((LATER - EARLY - 0.6) / INTERVAL)


@pytest.mark.parametrize("seed", range(40))
async def test_so_does_any_question(seed: int) -> None:
    dice = random.Random(seed)
    accept = dice.choice([None, b"*/*", b"application/json;q=0.5", b"application/json;q=0", b"text/html, */*;q=0.1"])
    fields = (JSON,) if accept is None else (JSON, (b"Accept", accept))
    target = dice.choice(["/", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
    asked = Question(
        dice.choice(["POST", "POST", "PUT", "GET"]), target, fields, dice.choice([b"{}", b'{"stream": 1}'])
    )
    said = replace(dice.choice([*ANSWERS, *REFUSALS[:3]]), before=dice.choice([SOON, LATE, LATER]))
    dialect = dice.choice([Dialect.AUTO, Dialect.OPENAI_CHAT, Dialect.ANTHROPIC, Dialect.GEMINI])
    await by_all(asked, said, Treatment(dialect=dialect, is_early=dice.random() < 0.5, json=dice.choice([0.7, 1.6])))
