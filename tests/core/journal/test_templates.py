"""Which name does a request's stream have, and which values may be in it?"""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.errors import BadRequest, Unavailable
from sseproxy.core.journal.templates import BadTemplate, Template, TemplateKind, Value


def resolve(text: str, **values: Sequence[bytes]) -> bytes:
    """Values by the name of their kind: ``auth=[b"7"]``."""
    return Template.parse(text).resolve(lambda kind, name: values.get(f"{kind}_{name}", ()))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("news", (b"news",)),
        ("inbox:{auth:user}", (b"inbox:", Value(TemplateKind.AUTH, "user"))),
        ("{cookie:a}{query:b}x", (Value(TemplateKind.COOKIE, "a"), Value(TemplateKind.QUERY, "b"), b"x")),
        ("{tag}:{header:X-Tenant}", (b"{tag}:", Value(TemplateKind.HEADER, "X-Tenant"))),
        ("{user:{auth:user}}", (b"{user:", Value(TemplateKind.AUTH, "user"), b"}")),
        ("a{}b", (b"a{}b",)),
        ("größe", ("größe".encode(),)),
    ],
)
def test_a_name_is_taken_apart(text: str, parts: tuple[bytes | Value, ...]) -> None:
    template = Template.parse(text)
    assert template.parts == parts
    assert template.values == tuple(part for part in parts if isinstance(part, Value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("{auht:user}", "auth, cookie, query, header"),
        ("{Auth:user}", "none of the values"),
        ("{auth:}", "needs a name"),
        ("{auth: user}", "needs a name"),
        ("{:user}", "none of the values"),
        ("inbox:{auth:user", "not closed"),
        ("a\nb", "control"),
        ("a{header:X Room}", "not the name of a header"),
        ("a{cookie:a=b}", "not the name of a cookie"),
    ],
)
def test_a_name_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(BadTemplate, match=words):
        Template.parse(text)


def test_a_request_fills_in_its_values() -> None:
    assert resolve("inbox:{auth:user}", auth_user=[b"7"]) == b"inbox:7"
    assert resolve("{t}:{header:a}:{query:b}", header_a=[b"x"], query_b=[b"\xffy"]) == b"{t}:x:\xffy"
    assert resolve("inbox:{auth:user}", auth_user=[b"a:b"]) == b"inbox:a:b"


BAD = [b"", b"x" * 257, b"a*", b"a?", b"[a]", b"{a}", b"a\nb", b"\0", b"\x7f", b"\r"]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", TemplateKind)
def test_a_bad_value_is_refused(kind: TemplateKind, value: bytes) -> None:
    with pytest.raises(Unavailable if kind is TemplateKind.AUTH else BadRequest) as refused:
        resolve(f"inbox:{{{kind}:user}}", **{f"{kind}_user": [value]})
    if kind is TemplateKind.AUTH:
        assert "user" not in refused.value.detail.replace("users", "")  # the client need not hear of it
        assert "auth:user" in str(refused.value)


@pytest.mark.parametrize("found", [[], [b"1", b"2"], [b"1", b"1"]])
@pytest.mark.parametrize("kind", TemplateKind)
def test_a_missing_or_repeated_value_is_refused(kind: TemplateKind, found: list[bytes]) -> None:
    with pytest.raises(Unavailable if kind is TemplateKind.AUTH else BadRequest):
        resolve(f"{{{kind}:user}}", **{f"{kind}_user": found})


def test_a_colon_cannot_move_the_border_between_two_values() -> None:
    with pytest.raises(BadRequest):
        resolve("{query:a}:{query:b}", query_a=[b"x:y"], query_b=[b"z"])


values = st.binary(min_size=1, max_size=256)


@given(st.tuples(values, values), st.tuples(values, values))
def test_no_two_logins_share_a_name(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    names = []
    for first, second in (one, other):
        try:
            names.append(resolve("i:{auth:a}:{cookie:b}", auth_a=[first], cookie_b=[second]))
        except (BadRequest, Unavailable):
            return
    assert (names[0] == names[1]) is (one == other)
