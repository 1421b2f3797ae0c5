"""Are the error objects of docs/json.md those that clients get?"""

from pathlib import Path

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.error_events import StreamError, error_object

MANUAL = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
SAID = b'{"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}'
LATE = StreamError("upstream_response", 429, "The upstream answered 429 Too Many Requests.", "7", SAID)

ORDER = (Dialect.OPENAI_CHAT, Dialect.ANTHROPIC, Dialect.GEMINI, Dialect.OLLAMA, Dialect.GENERIC)


def test_each_dialect_has_its_line() -> None:
    shown = MANUAL.split("```\n{", 1)[1].split("\n```", 1)[0].splitlines()
    assert ["{" + shown[0], *shown[1:]] == [error_object(dialect, LATE).decode() for dialect in ORDER]
    for alike in (Dialect.OPENAI_COMPLETIONS, Dialect.OPENAI_RESPONSES):
        assert error_object(alike, LATE) == error_object(Dialect.OPENAI_CHAT, LATE)


def test_the_page_names_the_body_that_it_is_about() -> None:
    assert f"`{SAID.decode()}`" in MANUAL
