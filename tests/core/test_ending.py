"""Can the id of an end be forged, moved or mistaken, and what are a client's last words?"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.ending import NONCE, Farewell, sign, verify
from tests.support.whatwg import parse

KEY, NONCE_1 = b"k" * 32, b"12345678"
NAME = sign(KEY, route="r", target="/a?b", nonce=NONCE_1).encode()


def test_what_was_signed_is_known_again() -> None:
    assert verify(KEY, NAME, route="r", target="/a?b")
    assert re.fullmatch(rb"sseproxy-end-[A-Za-z0-9_-]{32}", NAME)


@pytest.mark.parametrize(
    ("key", "route", "target"),
    [
        (b"l" * 32, "r", "/a?b"),
        (KEY, "s", "/a?b"),
        (KEY, "r", "/a"),
        (KEY, "r", "/a?"),
        (KEY, "r", "/a?b&c"),
        (KEY, "r/a", "?b"),
        (KEY, "", "r/a?b"),
    ],
)
def test_it_holds_for_nothing_else(key: bytes, route: str, target: str) -> None:
    assert not verify(key, NAME, route=route, target=target)


@pytest.mark.parametrize("at", range(len(NAME)))
def test_no_character_of_it_may_change(at: int) -> None:
    for other in (b"A", b"B", b"-"):
        changed = NAME[:at] + other + NAME[at + 1 :]
        assert verify(KEY, changed, route="r", target="/a?b") is (changed == NAME)


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
    assert not verify(KEY, name, route="r", target="/a?b")


@given(st.binary(max_size=60))
def test_nothing_random_is_one(name: bytes) -> None:
    assert not verify(KEY, name, route="r", target="/a?b")
    assert not verify(KEY, b"sseproxy-end-" + name, route="r", target="/a?b")


@given(st.text(max_size=20), st.binary(min_size=NONCE, max_size=NONCE))
def test_any_target_can_be_signed(target: str, nonce: bytes) -> None:
    target = target.encode("utf-8", "replace").decode("utf-8", "surrogateescape") + "\udcff"
    name = sign(KEY, route="r", target=target, nonce=nonce).encode()
    assert verify(KEY, name, route="r", target=target)
    assert not verify(KEY, name, route="r", target=target + "x")


def test_two_ends_have_two_ids() -> None:
    assert sign(KEY, route="r", target="/", nonce=b"a" * NONCE) != sign(KEY, route="r", target="/", nonce=b"b" * NONCE)


@pytest.mark.parametrize("nonce", [b"", b"1234567", b"123456789"])
def test_a_nonce_of_another_length_would_move_the_parts(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        sign(KEY, route="r", target="/", nonce=nonce)


@pytest.mark.parametrize(
    ("farewell", "eol", "data"),
    [
        (Farewell(), b"\n", b""),
        (Farewell(("end", "")), b"\n", b"event: end\ndata: \n\n"),
        (Farewell(id="x"), b"\n", b"id: x\n\n"),
        (Farewell(("end", "a\nb"), "x"), b"\r\n", b"event: end\r\ndata: a\r\ndata: b\r\n\r\nid: x\r\n\r\n"),
        (Farewell(("end", "a"), "x"), b"\r", b"event: end\rdata: a\r\rid: x\r\r"),
    ],
)
def test_last_words(farewell: Farewell, eol: bytes, data: bytes) -> None:
    assert farewell.write(eol=eol) == data


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_what_a_page_sees_of_them(eol: bytes) -> None:
    stream = b"id: 7" + eol + b"data: x" + eol + eol
    seen = parse(stream + Farewell(("end", ""), "over").write(eol=eol))
    assert [tuple(event) for event in seen.events] == [("message", "x", "7"), ("end", "", "7")]
    assert seen.last_event_id == "over"
