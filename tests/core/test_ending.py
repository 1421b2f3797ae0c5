"""Can the id of an end be forged, moved or mistaken, and what are a client's last words?"""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.eventsource.end_id import NONCE, VALID, EndScope, sign, verify, without_ends
from sseproxy.core.stream.end_message import EndMessage
from tests.support.whatwg import parse

KEY, NONCE_1, NOW = b"k" * 32, b"12345678", 1_700_000_000.0
REQUEST = EndScope("r", "GET", b"a.test", "/a?b", (b"Bearer x", b"x"), "/_tickets/y")
NAME = sign(KEY, REQUEST, nonce=NONCE_1, now=NOW).encode()


def is_known(name: bytes, request: EndScope = REQUEST, *, key: bytes = KEY, now: float = NOW) -> bool:
    return verify(key, name, request, now=now)


def test_what_was_signed_is_known_again() -> None:
    assert is_known(NAME)
    assert re.fullmatch(rb"sseproxy-end-[A-Za-z0-9_-]{40}", NAME)


@pytest.mark.parametrize(
    "other",
    [
        {"route": "s"},
        {"method": "POST"},
        {"host": b"b.test"},
        {"target": "/a"},
        {"target": "/a?"},
        {"target": "/a?b&c"},
        {"login": (b"Bearer y", b"x")},
        {"login": (b"Bearer x", b"y")},
        {"login": (b"Bearer xx",)},
        {"login": (b"Bearer x", b"x", b"")},
        {"login": ()},
        {"ticket": "/_tickets/z"},
        {"ticket": ""},
        {"route": "rG", "method": "ET"},
        {"method": "GETa", "host": b".test"},
        {"host": b"a.test/", "target": "a?b"},
        {"target": "/a?b/", "ticket": "_tickets/y"},
        {"ticket": "/_tickets/yB", "login": (b"earer x", b"x")},
    ],
)
def test_it_holds_for_nothing_and_nobody_else(other: dict[str, Any]) -> None:
    assert not is_known(NAME, replace(REQUEST, **other))


def test_it_holds_under_no_other_key() -> None:
    assert not is_known(NAME, key=b"l" * 32)


def test_hosts_have_no_case() -> None:
    assert is_known(NAME, replace(REQUEST, host=b"A.Test"))


@pytest.mark.parametrize(("later", "known"), [(0, True), (VALID, True), (VALID + 1, False), (-VALID - 1, False)])
def test_it_is_known_for_a_while(later: float, known: bool) -> None:
    assert is_known(NAME, now=NOW + later) is known


def test_secrets_are_not_shown() -> None:
    assert "Bearer" not in repr(REQUEST)
    assert "_tickets" not in repr(REQUEST)


@pytest.mark.parametrize("at", range(len(NAME)))
def test_no_character_of_it_may_change(at: int) -> None:
    for other in (b"A", b"B", b"-"):
        changed = NAME[:at] + other + NAME[at + 1 :]
        assert is_known(changed) is (changed == NAME)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"7",
        NAME[:-1],
        NAME + b"A",
        NAME + b"\n",
        NAME + b"=",
        b" " + NAME,
        NAME.upper(),
        NAME.removeprefix(b"sse"),
    ],
)
def test_what_is_no_id_of_ours(name: bytes) -> None:
    assert not is_known(name)


@given(st.binary(max_size=60))
def test_nothing_random_is_one(name: bytes) -> None:
    assert not is_known(name)
    assert not is_known(b"sseproxy-end-" + name)


@given(st.text(max_size=20), st.binary(min_size=NONCE, max_size=NONCE))
def test_any_target_can_be_signed(target: str, nonce: bytes) -> None:
    target = target.encode("utf-8", "replace").decode("utf-8", "surrogateescape") + "\udcff"
    request = replace(REQUEST, target=target)
    name = sign(KEY, request, nonce=nonce, now=NOW).encode()
    assert is_known(name, request)
    assert not is_known(name, replace(request, target=target + "x"))


def test_two_ends_have_two_ids() -> None:
    first, second = (sign(KEY, REQUEST, nonce=letter * NONCE, now=NOW) for letter in (b"a", b"b"))
    assert first != second


@pytest.mark.parametrize("nonce", [b"", b"1234567", b"123456789"])
def test_a_nonce_of_another_length_would_move_the_time(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        sign(KEY, REQUEST, nonce=nonce, now=NOW)


@pytest.mark.parametrize(
    ("value", "stays"),
    [
        (NAME, False),
        (b"\t " + NAME + b" ", False),
        (NAME[:-1], False),
        (b"sseproxy-end-" + b"A" * 32, False),
        (b"sseproxy-end-", False),
        (NAME.upper(), True),
        (NAME + b"=", True),
        (b"x" + NAME, True),
        (b"7", True),
        (b"", True),
    ],
)
def test_no_id_of_ours_goes_on(value: bytes, stays: bool) -> None:
    other = (b"X-A", NAME)
    assert without_ends([(b"last-Event-ID", value), other]) == [*([(b"last-Event-ID", value)] if stays else []), other]


@pytest.mark.parametrize(
    ("end_message", "eol", "data"),
    [
        (EndMessage(), b"\n", b""),
        (EndMessage(("end", "")), b"\n", b"event: end\ndata: \n\n"),
        (EndMessage(id="x"), b"\n", b"id: x\n\n"),
        (EndMessage(("end", "a\nb"), "x"), b"\r\n", b"event: end\r\ndata: a\r\ndata: b\r\n\r\nid: x\r\n\r\n"),
        (EndMessage(("end", "a"), "x"), b"\r", b"event: end\rdata: a\r\rid: x\r\r"),
    ],
)
def test_last_words(end_message: EndMessage, eol: bytes, data: bytes) -> None:
    assert end_message.write(eol=eol) == data


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_what_a_page_sees_of_them(eol: bytes) -> None:
    stream = b"id: 7" + eol + b"data: x" + eol + eol
    seen = parse(stream + EndMessage(("end", ""), "over").write(eol=eol))
    assert [tuple(event) for event in seen.events] == [("message", "x", "7"), ("end", "", "7")]
    assert seen.last_event_id == "over"
