"""Does docs/ends.md say what the table of ends and the error shapes say?"""

import re
from pathlib import Path

import pytest

from sseproxy.core.stream.dialects import Dialect, Finality
from sseproxy.core.stream.ends import AppNotice, End, LastWord, decide, row
from sseproxy.core.stream.error_events import StreamError, error_event
from sseproxy.core.stream.transfer import CloseReason

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs/ends.md").read_text(encoding="utf-8")
DIALECTS = [dialect for dialect in Dialect if dialect is not Dialect.AUTO]

#: An end of sseproxy, and a late answer of a service that has words of its own.
SILENCE = row(CloseReason.IDLE_TIMEOUT)
DRAWN_ERRORS = (
    StreamError(SILENCE.reason, SILENCE.status, SILENCE.detail),
    StreamError(
        "upstream_response",
        429,
        "The upstream answered 429 Too Many Requests.",
        retry_after="7",
        body=b'{"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}}',
    ),
)


def shown(dialect: Dialect) -> str:
    """The error events of a dialect, as the document shows them: the answer to the JSON-RPC request with the id 3."""
    events = [error_event(dialect, error, request_id=3).decode() for error in DRAWN_ERRORS]
    return "\n".join(event.removesuffix("\n") for event in events)


def end_cell(end: End) -> str:
    """What the client gets, in the document's words."""
    if end.is_by_client:
        return "broken; nothing is written"
    waits = "" if end.waits == 0 else " at the next event boundary"
    word = {
        LastWord.ERROR: "error event, ",
        LastWord.RETRY: "`retry:`, ",
        LastWord.END_MESSAGE: "the farewell of `end`, ",
    }
    return f"{word.get(end.last_word, '')}{'clean' if end.is_clean else 'broken'}{waits}"


def app_cell(end: End) -> str:
    """What the app behind a middleware gets, in the document's words."""
    return {
        AppNotice.NONE: "nothing: it ended itself",
        AppNotice.DISCONNECT: "`http.disconnect`, and time to end",
        AppNotice.STOP: "`http.disconnect` or cancellation, at once",
        AppNotice.STOP_WHEN_SENT: "`http.disconnect` or cancellation, once the last bytes are sent",
    }[end.app]


def rows_under(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, less its head."""
    table = re.search(rf"(?ms)^## {re.escape(heading)}\n.*?^\|[^\n]*\n\|---[^\n]*\n(.*?)(?:\n\n|\Z)", MANUAL)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_the_table_of_ends_has_each_reason_and_what_it_means() -> None:
    told = {cells[0]: cells[2:] for cells in rows_under("Every reason")}
    assert told == {
        f"`{reason}`": [end_cell(row(reason)), end_cell(row(reason, comes_back=True)), app_cell(row(reason))]
        for reason in CloseReason
    }


def test_the_causes_have_the_status_and_words_of_their_error_events() -> None:
    assert rows_under("What an error event says") == [
        [f"`{reason}`", str(row(reason).status), row(reason).detail]
        for reason in CloseReason
        if row(reason).last_word is LastWord.ERROR
    ]


def test_every_type_of_an_error_that_has_no_reason_is_named() -> None:
    """Those that stand in the code in words."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "sseproxy").rglob("*.py")]
    types = {found for source in sources for found in re.findall(r'StreamError\(\s*"(\w+)"', source)}
    assert types >= {"application_error", "request_error", "unavailable"}
    assert {name for name in types if f"`{name}`" not in MANUAL} == set()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_error_events_are_shown_byte_for_byte(dialect: Dialect) -> None:
    assert f"\n`{dialect}`\n\n```\n{shown(dialect)}```\n" in MANUAL


def test_the_last_event_decides_as_the_document_says() -> None:
    said = {cells[0]: cells[1] for cells in rows_under("The last event")}
    assert list(said) == [
        "a terminal event",
        "an event that may be the last one (Gemini: `finishReason`)",
        "an error event of the service",
        "the middle of an event",
        "any other event, or none",
    ]
    for reason in CloseReason:
        end = row(reason)
        if end.is_by_client or reason is CloseReason.UPSTREAM_END:
            continue
        here = {last: decide(reason, last, is_between_events=True, comes_back=False) for last in Finality}
        assert (here[Finality.TERMINAL].reason, here[Finality.TERMINAL].is_clean) == (CloseReason.UPSTREAM_END, True)
        assert here[Finality.FINISHED].is_clean
        assert here[Finality.FINISHED].last_word in (LastWord.NOTHING, LastWord.END_MESSAGE)
        assert here[Finality.ERROR].last_word is LastWord.NOTHING
        assert here[Finality.ERROR].is_clean is end.is_clean
        assert here[Finality.NONE] == end
        inside = decide(reason, Finality.NONE, is_between_events=False, comes_back=False)
        assert (inside.last_word, inside.is_clean) == (LastWord.COMMENT, False)


def test_the_readme_names_each_reason() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [reason for reason in CloseReason if f"`{reason}`" not in text] == []
