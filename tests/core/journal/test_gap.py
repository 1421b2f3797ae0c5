"""What does a client hear of a gap?"""

import json

import pytest

from sseproxy.core.journal.gap import GapPolicy, GapReason, Missing, gap_event
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.journal.templates import Template
from tests.support.whatwg import Event, parse


@pytest.mark.parametrize("reason", GapReason)
def test_the_event_says_what_is_missing(reason: GapReason) -> None:
    text = gap_event(GapPolicy("lost"), Missing(reason, 7), from_position=b"1-2", id=b"5-0")
    data = f'{{"reason": "{reason}", "from": "1-2", "lost": 7}}'
    assert text == f"event: lost\nid: 5-0\ndata: {data}\n\n".encode()
    assert parse(text).events == [Event("lost", data, "5-0")]


@pytest.mark.parametrize("named", [b'"\\\xff', b"a\rb\nc", b"\xe2\x80\xa8", b"x" * 5000])
def test_what_a_client_named_cannot_break_the_event(named: bytes) -> None:
    text = gap_event(GapPolicy(), Missing(GapReason.UNKNOWN), from_position=named, id=b"0-0")
    (seen,) = parse(text).events
    assert json.loads(seen.data) == {
        "reason": "unknown",
        "from": named[:512].decode("utf-8", "replace"),
        "lost": None,
    }


def test_two_gaps_in_one() -> None:
    trimmed, store = Missing(GapReason.TRIMMED, 2), Missing(GapReason.STORE, 3)
    assert trimmed.with_more(store) == Missing(GapReason.TRIMMED, 5)
    assert trimmed.with_more(Missing(GapReason.STORE)) == Missing(GapReason.TRIMMED)


def test_a_password_is_not_shown() -> None:
    policy = RedisPolicy(streams=(Template.parse("news"),), url="redis://:secret@127.0.0.1")
    assert "secret" not in repr(policy)
    assert (policy.is_stream, policy.names) == (True, policy.streams)
    assert not RedisPolicy(channels=policy.streams).is_stream
