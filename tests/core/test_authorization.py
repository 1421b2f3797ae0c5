"""What is taken from the answer of a service, where does it go on, and for how long is it remembered?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.authorization import RecentLogins, names_in, read_identity, with_identity

TAKE = (("user", "X-User"), ("org", "X-Org"))


def test_each_name_gets_the_value_of_its_field() -> None:
    headers = [(b"x-user", b" alice\t"), (b"X-ORG", b"caf\xe9"), (b"X-Other", b"x")]
    assert read_identity(headers, TAKE) == {"user": b"alice", "org": b"caf\xe9"}
    assert read_identity(headers, ()) == {}


@pytest.mark.parametrize(
    "users",
    [[], [b""], [b" \t"], [b"a", b"b"], [b"a", b"a"], [b"a", b""], [b"a\x00b"], [b"a\rb"], [b"a\x7f"]],
)
def test_what_does_not_say_who_it_is_is_refused(users: list[bytes]) -> None:
    headers = [(b"X-Org", b"o"), *((b"X-User", value) for value in users)]
    with pytest.raises(ValueError, match="X-User") as raised:
        read_identity(headers, TAKE)
    assert "o" not in str(raised.value).split()


def test_templates() -> None:
    assert names_in("a {auth:user}{auth:} {user} {{auth:x}} {auth:a b}") == ["user", "", "x", "a b"]
    assert names_in("{auth} {auth:a{b} auth:x {auth:") == []


@given(
    parts=st.lists(st.one_of(st.text(st.characters(codec="utf-8")).map(lambda text: text.replace("{", "")), st.none())),
    value=st.binary(),
)
def test_values_are_put_in_once_and_all_else_stays(parts: list[str | None], value: bytes) -> None:
    """The oracle: the parts, each by itself. A value may look like a template."""
    for said in (value, b"{auth:user}" + value):
        template = "".join("{auth:user}" if part is None else part for part in parts)
        expected = b"".join(said if part is None else part.encode() for part in parts)
        assert with_identity(template, {"user": said}) == expected


def test_a_login_is_known_until_its_time() -> None:
    recent = RecentLogins()
    recent.keep(b"k", {"user": b"a"}, until=10.0)
    assert recent.find(b"k", now=9.9) == {"user": b"a"}
    assert recent.find(b"x", now=9.9) is None
    assert recent.find(b"k", now=10.0) is None
    assert len(recent) == 0


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    recent = RecentLogins()
    recent.keep(b"k", {"user": b"a"}, until=10.0)
    recent.keep(b"k", {"user": b"b"}, until=20.0)
    assert recent.find(b"k", now=15.0) == {"user": b"b"}
    assert len(recent) == 1


def test_the_login_that_was_not_seen_for_longest_makes_room() -> None:
    recent = RecentLogins(most=2)
    recent.keep(b"a", {}, until=10.0)
    recent.keep(b"b", {}, until=10.0)
    assert recent.find(b"a", now=1.0) is not None
    recent.keep(b"c", {}, until=10.0)
    assert [recent.find(key, now=1.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
    for number in range(1000):
        recent.keep(b"%d" % number, {}, until=10.0)
    assert len(recent) == 2
