"""Do keys, commands and redirections lead to the nodes that a cluster means?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.ports import Command
from sseproxy.stores.redis.slots import SlotMap, key_of, moved_to, slot_of


@given(st.one_of(st.binary(max_size=40), st.text(alphabet="{}ab", max_size=12).map(str.encode)))
def test_slots_are_redis_own(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("XRANGE", b"k", "-", "+"), b"k"),
        (("xadd", "k", "*", "f", 1), b"k"),
        (("XINFO", "STREAM", b"k"), b"k"),
        (("XREAD", "COUNT", 1, "streams", b"k", "0-0"), b"k"),
        (("EVALSHA", "abc", 1, b"k"), b"k"),
        (("GET", 7), b"7"),
        (("PUBLISH", "channel", "x"), None),
        (("PING",), None),
        (("DBSIZE",), None),
    ],
)
def test_the_key_of_a_command(command: Command, key: bytes | None) -> None:
    assert key_of(command) == key


def test_a_map_of_slots() -> None:
    reply = [[8192, 16383, [b"b", 2, b"id"]], [0, 100, [b"", 1, b"id"], [b"replica", 3, b"id"]]]
    found = SlotMap.read(reply, ("asked", 9))
    assert found.primaries == (("asked", 1), ("b", 2))
    assert [found.owner(slot) for slot in (0, 100, 101, 8191, 8192, 16383)] == [
        ("asked", 1), ("asked", 1), None, None, ("b", 2), ("b", 2),
    ]  # fmt: skip
    assert SlotMap.read(ReplyError("ERR This instance has cluster support disabled"), ("asked", 9)) == SlotMap()


def test_redirections() -> None:
    assert moved_to(ReplyError("MOVED 3999 127.0.0.1:6381"), ("asked", 9)) == ("127.0.0.1", 6381)
    assert moved_to(ReplyError("ASK 3999 ::1:6381"), ("asked", 9)) == ("::1", 6381)
    assert moved_to(ReplyError("MOVED 3999 :6381"), ("asked", 9)) == ("asked", 6381)
