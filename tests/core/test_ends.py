"""Does any end lie? The litmus of docs/ends.md, over all reasons, dialects, places and clients.

The judge is written by the words of docs/ends.md, and shares no code with the table.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sseproxy.core.stream import last_words
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.ends import AppNotice, End, LastWord, decide, row
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import CloseReason
from tests.support.trips import Place, is_between_events, place_of
from tests.support.whatwg import parse

DIALECTS = [dialect for dialect in Dialect if dialect is not Dialect.AUTO]
DONE = {
    Dialect.OPENAI_CHAT: b"data: [DONE]\n\n",
    Dialect.OPENAI_COMPLETIONS: b"data: [DONE]\n\n",
    Dialect.OPENAI_RESPONSES: b"event: response.completed\ndata: {}\n\n",
    Dialect.ANTHROPIC: b"event: message_stop\ndata: {}\n\n",
    Dialect.GEMINI: b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n',
    Dialect.OLLAMA: b'data: {"done":true}\n\n',
}
#: How error events begin, as each client sees them.
ERRORS = {
    Dialect.GENERIC: ("error", '{"type": '),
    Dialect.OPENAI_CHAT: ("message", '{"error": '),
    Dialect.OPENAI_COMPLETIONS: ("message", '{"error": '),
    Dialect.OPENAI_RESPONSES: ("error", '{"type": "error"'),
    Dialect.ANTHROPIC: ("error", '{"type": "error"'),
    Dialect.GEMINI: ("message", '{"error": '),
    Dialect.OLLAMA: ("message", '{"error": '),
    Dialect.MCP: ("message", '{"jsonrpc": "2.0", "id": 7, "error": '),
}
PIECES = (b"data: 1\n\n", b"data: 2\n", b"\n", b"data: 3", b": c\n", b"\r\n", b"event: x\n", b"id: 9\n\n")
ASKED_FOR = (CloseReason.STOPPED,)
BY_CLIENT = (CloseReason.CLIENT_GONE, CloseReason.CLIENT_STALLED, CloseReason.CLIENT_ERROR, CloseReason.BEHIND)

Finish = Callable[[StreamSession, CloseReason], None]


def _at_once(session: StreamSession, reason: CloseReason) -> None:
    session.receive_error(reason, now=1.0)


def _soon(session: StreamSession, reason: CloseReason) -> None:
    if reason is CloseReason.DRAIN:
        session.drain(at=1.0, deadline=9.0)
    else:
        session.stop(reason, now=1.0)
    session.handle_timeout(now=1000.0)


def no_end_lies(
    reason: CloseReason,
    dialect: Dialect,
    received: bytes,
    *,
    comes_back: bool,
    responded: bool,
    interval: float | None,
    finish: Finish,
) -> None:
    """The client of an answer sees a clean end only where one of the reasons for it holds."""
    form = HeartbeatForm.COMMENT_LINE
    plan = StreamPlan(
        heartbeat=HeartbeatPolicy(interval=interval, form=form),
        form=form,
        timeouts=TimeoutPolicy(idle=None, write=None),
        dialect=dialect,
        comes_back=comes_back,
        request_id=7,
    )
    session = StreamSession(plan, responded=responded, now=0.0)
    out = session.data_to_send()
    if responded:
        out += session.forward(received, 0.5)
    finish(session, reason)
    out += session.data_to_send()
    assert session.close_reason is not None
    seen = parse(out)
    last = seen.events[-1] if seen.events else None
    was_told = last is not None and last.type == ERRORS[dialect][0] and last.data.startswith(ERRORS[dialect][1])
    complete = dialect in DONE and received.endswith(DONE[dialect]) and responded
    if session.clean:
        assert complete or reason in ASKED_FOR or comes_back
        assert is_between_events(out)
    if was_told and not complete:
        assert not session.clean
    if reason in BY_CLIENT:
        assert not session.clean
        assert not was_told
    if complete and reason not in BY_CLIENT:
        assert session.clean
        assert not was_told
    events = parse(received if responded else b"").events
    assert seen.events[: len(events)] == events
    assert len(seen.events) <= len(events) + 1


cases = {
    "reason": st.sampled_from([reason for reason in CloseReason if reason is not CloseReason.UPSTREAM_END]),
    "dialect": st.sampled_from(DIALECTS),
    "pieces": st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join),
    "ending": st.booleans(),
    "comes_back": st.booleans(),
    "responded": st.sampled_from([True, True, False]),
    "interval": st.sampled_from([15.0, None]),
    "finish": st.sampled_from([_at_once, _soon]),
}


def _check(*, dialect: Dialect, pieces: bytes, ending: bool, **options: object) -> None:
    received = pieces
    if ending and place_of(pieces) is Place.EVENT_BOUNDARY:
        received += DONE.get(dialect, b"")
    no_end_lies(dialect=dialect, received=received, **options)  # type: ignore[arg-type]


@settings(max_examples=max(3000, settings().max_examples), deadline=None, database=None)
@given(**cases)
def test_no_end_lies(**case: object) -> None:
    _check(**case)  # type: ignore[arg-type]


def _always_clean(*args: object, **options: object) -> End:
    end = decide(*args, **options)  # type: ignore[arg-type]
    return End(end.reason, end.last_word, is_clean=True, status=end.status, detail=end.detail)


def _says_it_anywhere(*args: object, **options: object) -> End:
    return row(args[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", [_always_clean, _says_it_anywhere])
def test_the_litmus_bites(broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "decide", broken)

    @settings(max_examples=1000, deadline=None, database=None, derandomize=True, report_multiple_bugs=False)
    @given(**cases)
    def examine(**case: object) -> None:
        _check(**case)  # type: ignore[arg-type]

    with pytest.raises(AssertionError):
        examine()


@pytest.mark.parametrize("reason", CloseReason)
@pytest.mark.parametrize("comes_back", [False, True])
def test_every_reason_has_a_row(reason: CloseReason, comes_back: bool) -> None:
    end = row(reason, comes_back=comes_back)
    assert end.reason is reason
    assert bool(end.detail) is (end.last_word is LastWord.ERROR)
    assert not (end.is_clean and end.last_word is LastWord.ERROR)


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason is not CloseReason.CONNECT_ERROR])
def test_the_words_fit_an_app_too_which_has_no_upstream(reason: CloseReason) -> None:
    assert "upstream" not in row(reason).detail


def test_what_the_app_behind_a_middleware_hears() -> None:
    """An app that ended its stream is left alone; one whose client left has time; any other is stopped."""
    assert {reason: row(reason).app for reason in CloseReason if row(reason).app is not AppNotice.STOP_WHEN_SENT} == {
        CloseReason.UPSTREAM_END: AppNotice.NONE,
        CloseReason.UPSTREAM_ERROR: AppNotice.NONE,
        CloseReason.CLIENT_GONE: AppNotice.DISCONNECT,
        CloseReason.CLIENT_ERROR: AppNotice.STOP,
        CloseReason.CLIENT_STALLED: AppNotice.STOP,
        CloseReason.BEHIND: AppNotice.STOP,
    }
