"""Is each stream of each login told from all others, and is a position in a run read back as it was written?"""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sseproxy.core.journal.identity import (
    ANSWER_BYTES,
    DIGEST,
    FEED_BYTES,
    Identities,
    encoded,
    is_ours,
    is_run_name,
    read_parts,
    read_run_position,
    run_name,
)
from sseproxy.core.journal.positions import LONGEST, MOST, Mark
from sseproxy.core.journal.rules import Part
from sseproxy.core.journal.run import RunState
from sseproxy.core.journal.window import Window
from tests.support.journal_policies import answer, feed, part

LOGIN_AND_KEY = feed(login="cookie:session header:X-Team", key="query:room query:floor")

values = st.one_of(st.sampled_from([b"", b"\0", b"a", b"b", b"ab", b"\0\0\0\1"]), st.binary(max_size=12))
groups = st.lists(st.lists(values, max_size=3), max_size=4)
randomness = st.one_of(*(st.binary(min_size=size, max_size=size) for size in (ANSWER_BYTES, FEED_BYTES)))
numbers = st.one_of(st.integers(0, 3), st.integers(0, MOST), st.just(MOST))


# Parts.


def test_each_part_has_its_one_value() -> None:
    said = {"cookie:session": [b"x"], "query:room": [b"1"]}
    parts = [part("query:room"), part("cookie:session")]
    assert read_parts(parts, lambda each: said[str(each)]) == (b"1", b"x")
    assert read_parts([], lambda _: [b"x"]) == ()


@pytest.mark.parametrize("found", [[], [b""], [b"x", b"x"], [b"x", b"y"], [b"", b"x"]])
def test_a_part_without_exactly_one_value_is_missing(found: list[bytes]) -> None:
    def lookup(each: Part) -> Sequence[bytes]:
        return found if each.name == "room" else [b"x"]

    assert read_parts([part("cookie:session"), part("query:room")], lookup) is None
    assert read_parts([part("query:room"), part("cookie:session")], lookup) is None


def test_nothing_of_a_request_names_a_run_of_its_own() -> None:
    assert read_parts([part("run")], lambda _: []) == ()


# Digests.


def decoded(text: bytes) -> list[list[bytes]]:
    """The groups that `encoded` has written."""
    found = []
    while text:
        count, text, group = int.from_bytes(text[:4], "big"), text[4:], []
        for _ in range(count):
            size = int.from_bytes(text[:8], "big")
            group.append(text[8 : 8 + size])
            text = text[8 + size :]
        found.append(group)
    return found


@given(groups)
@example([[], [b""]])
@example([[b""], []])
def test_what_was_written_can_be_read_in_one_way_only(parts: list[list[bytes]]) -> None:
    assert decoded(encoded(parts)) == parts


@given(st.tuples(values, values, values, values), st.tuples(values, values, values, values))
def test_other_logins_and_other_keys_have_other_digests(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    identities = Identities(b"secret")
    scopes = [identities.scope("r", LOGIN_AND_KEY, each[:2], each[2:]) for each in (one, other)]
    assert (scopes[0] == scopes[1]) is (one == other)
    readers = [identities.login("r", LOGIN_AND_KEY, each[:2]) for each in (one, other)]
    assert (readers[0] == readers[1]) is (one[:2] == other[:2])
    assert not set(scopes) & set(readers)
    assert {len(each) for each in (*scopes, *readers)} == {DIGEST}


def test_what_a_digest_depends_on() -> None:
    identities, policy = Identities(b"secret"), feed(login="cookie:user", key="query:room")
    digests = [
        identities.scope("r", policy, (b"x",), (b"1",)),
        identities.scope("s", policy, (b"x",), (b"1",)),
        identities.scope("r", policy, (b"1",), (b"x",)),
        identities.scope("r", replace(policy, login=(part("query:user"),)), (b"x",), (b"1",)),
        identities.scope("r", replace(policy, key=(part("header:room"),)), (b"x",), (b"1",)),
        identities.scope("r", feed(key="query:room"), (), (b"1",)),
        identities.scope("r", answer(), (), ()),
        identities.login("r", answer(), ()),
        identities.login("s", answer(), ()),
        identities.address("r", "192.0.2.1"),
        identities.address("s", "192.0.2.1"),
        identities.address("r", "192.0.2.2"),
        Identities(b"another").scope("r", policy, (b"x",), (b"1",)),
        Identities(b"secret" * 100).scope("r", policy, (b"x",), (b"1",)),
        Identities(b"").scope("r", policy, (b"x",), (b"1",)),
    ]
    assert len(set(digests)) == len(digests)
    assert Identities(b"secret").scope("r", policy, (b"x",), (b"1",)) == digests[0]


# Names and positions of runs.


@given(randomness, st.tuples(numbers, numbers))
def test_a_position_in_a_run_is_read_back(random: bytes, mark: Mark) -> None:
    name = run_name(random)
    assert is_run_name(name)
    assert len(name) == {ANSWER_BYTES: 22, FEED_BYTES: 11}[len(random)]
    written = RunState(name, Window()).position(mark)
    assert len(written) <= LONGEST
    assert read_run_position(written) == (name, mark)
    assert is_ours(written)


def test_other_randomness_makes_another_name() -> None:
    assert run_name(bytes(8)) == b"AAAAAAAAAAA"
    assert run_name(b"\xff" * 16) == b"_____________________w"
    assert run_name(bytes(15) + b"\1") != run_name(bytes(16))


FEED, ANSWER = b"AAAAAAAAAAA", b"Az09-_Az09-_Az09-_Az09"
HOSTILE = [
    b"", b".", b".1-2", FEED, ANSWER, FEED + b".", FEED + b".1", FEED + b".1-", FEED + b"..1-2", FEED + b".1-2.3-4",
    FEED + b".1-2 ", b" " + FEED + b".1-2", FEED + b".1-2\n", FEED + b"\n.1-2", FEED + b".01-2", FEED + b"1-2",
    FEED[:-1] + b".1-2", FEED + b"A.1-2", ANSWER[:-1] + b".1-2", ANSWER + b"A.1-2", FEED[:-1] + b"+.1-2",
    FEED[:-1] + b"/.1-2", FEED[:-1] + b"=.1-2", FEED[:-1] + b"\xe9.1-2", "AAAAAAAAAA\u0661.1-2".encode(),
    FEED + ".\u0661-2".encode(), FEED + b".18446744073709551616-0", b"V.1-2.3-4", b"1-2", b"A" * 1_000_000 + b".1-2",
    FEED + b"." + b"9" * 1_000_000 + b"-1",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_position_in_a_run_is_not_read(text: bytes) -> None:
    assert read_run_position(text) is None
    assert not is_ours(text)


def test_oldest_is_a_word_for_sseproxy() -> None:
    assert is_ours(b"oldest")
    assert not is_ours(b"Oldest")


@given(st.one_of(st.binary(max_size=60), st.from_regex(rb"[A-Za-z0-9_-]{10,12}\.[0-9]{1,3}-[0-9]{1,3}")))
def test_what_is_read_is_what_would_be_written(text: bytes) -> None:
    read = read_run_position(text)
    assert read is None or RunState(read[0], Window()).position(read[1]) == text
    is_wellformed = re.fullmatch(rb"([\w-]{11}|[\w-]{22})\.(0|[1-9]\d*)-(0|[1-9]\d*)", text) is not None
    assert (read is not None) is is_wellformed or len(text) > 40
