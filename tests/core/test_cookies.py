"""Which cookies are found, which go on, and which becomes a header? (RFC 6265 section 4.2)"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.eventsource.cookies import (
    authenticate,
    cookie_value,
    cookie_values,
    for_caches,
    login,
    only_cookies,
    without_cookie,
)
from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import Headers

AUTH = CookieAuth("token")


def cookies(*fields: bytes) -> Headers:
    return [(b"Cookie", field) for field in fields]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"token=x", b"x"),
        (b"a=1; token=x; b=2", b"x"),
        (b"a=1;token=x;b=2", b"x"),
        (b" token = x ", b"x"),
        (b"\ttoken\t=\tx\t;a", b"x"),
        (b'token="x"', b"x"),
        (b'token=" x "', b" x "),
        (b'token="x', b'"x'),
        (b'token="', b'"'),
        (b'token=""', b""),
        (b"token=", b""),
        (b"token=a=b==", b"a=b=="),
        (b"token=a%20b", b"a%20b"),
        (b"token=\xe2\x82\xac", b"\xe2\x82\xac"),
        (b"token=first; token=second", b"first"),
        (b"a=token=x", None),
        (b"Token=x", None),
        (b"xtoken=x; tokenx=y", None),
        (b"token; =x", None),
        (b"", None),
        (b";;;", None),
        (b"a=1, token=x", None),
    ],
)
def test_the_value_of_a_cookie(field: bytes, value: bytes | None) -> None:
    assert cookie_value(cookies(field), "token") == value


def test_several_fields_are_one_list() -> None:
    headers = [(b"X", b"token=no"), (b"cookie", b"a=1"), (b"COOKIE", b"token=x"), (b"Cookie", b"token=y")]
    assert cookie_value(headers, "token") == b"x"
    assert cookie_value([], "token") is None


def test_all_cookies_of_a_name() -> None:
    headers = [(b"Cookie", b'a=1; token=x;token="y"; atoken=no; token'), (b"Cookie", b"token=")]
    assert list(cookie_values(headers, "token")) == [b"x", b"y", b""]
    assert list(cookie_values(headers, "other")) == []


@pytest.mark.parametrize(
    ("field", "left"),
    [
        (b"token=x", None),
        (b"token=x;", None),
        (b" token=x ; ", None),
        (b"token=x; token=y", None),
        (b"a=1; token=x; b=2", b"a=1; b=2"),
        (b"a=1;token=x;b=2", b"a=1;b=2"),
        (b"token=x; a=1;  b=2", b"a=1;  b=2"),
        (b"a=1; token=x", b"a=1"),
        (b"a=1; token=x;", b"a=1;"),
        (b" a=1; token=x", b" a=1"),
        (b'a="1; token=x; b=2"', b'a="1; b=2"'),  # a semicolon ends a cookie, whatever quotes there are
        (b"a=1 ;  b = 2;c", b"a=1 ;  b = 2;c"),
        (b" a=\xff\xfe", b" a=\xff\xfe"),
        (b"token", b"token"),
        (b"Token=x", b"Token=x"),
        (b"", b""),
    ],
)
def test_one_cookie_is_taken_out(field: bytes, left: bytes | None) -> None:
    assert without_cookie(cookies(field), "token") == cookies(*([] if left is None else [left]))


@pytest.mark.parametrize(
    ("field", "left"),
    [
        (b"token=x", b"token=x"),
        (b'a=1;\ttoken = "x" ;b=2;c=3', b'token = "x"; b=2'),
        (b"token=x; token=y", b"token=x; token=y"),
        (b'a="1; token=x; b=2"', b'token=x; b=2"'),
        (b"token=a=b", b"token=a=b"),
        (b"token; b", None),
        (b"Token=x; atoken=y", None),
        (b";;;", None),
        (b"", None),
    ],
)
def test_only_some_cookies_are_left(field: bytes, left: bytes | None) -> None:
    headers = [(b"X", b"token=no"), *cookies(field)]
    assert only_cookies(headers, ("token", "b")) == cookies(*([] if left is None else [left]))


def test_cookies_of_several_fields_go_into_one() -> None:
    assert only_cookies(cookies(b"a=1; b=2", b"token=x"), ("token", "a")) == cookies(b"a=1; token=x")
    assert only_cookies(cookies(b"a=1"), ()) == []


#: What cookies are made of, so that many of them nearly have the name.
FIELDS = st.lists(
    st.sampled_from([b";", b" ", b"\t", b"token", b"=", b'"', b"a", b"tok", b"\xff", b","]), max_size=16
).map(b"".join)


def pairs(field: bytes) -> list[tuple[bytes, bool]]:
    """RFC 6265 section 5.2: each pair of the field, and whether it is the cookie."""
    return [(pair, b"=" in pair and pair.partition(b"=")[0].strip(b" \t") == b"token") for pair in field.split(b";")]


@given(FIELDS)
def test_what_is_left_alone_is_what_the_standard_says(field: bytes) -> None:
    found = [pair.strip(b" \t") for pair, is_token in pairs(field) if is_token]
    assert only_cookies(cookies(field), ("token",)) == cookies(*([b"; ".join(found)] if found else []))


@given(FIELDS)
def test_it_is_what_the_standard_says(field: bytes) -> None:
    found = [pair.partition(b"=")[2].strip(b" \t") for pair, is_token in pairs(field) if is_token]
    value = cookie_value(cookies(field), "token")
    assert value in ((None,) if not found else (found[0], found[0][1:-1]))
    left = [pair.strip(b" \t") for pair, is_token in pairs(field) if not is_token]
    out = [kept.strip(b" \t") for _, rest in without_cookie(cookies(field), "token") for kept in rest.split(b";")]
    assert out == left or (out == [] and not any(left))


@pytest.mark.parametrize("piece", [b";", b"; ", b";a=b", b";token", b"xtoken=", b";token=x", b" ", b'="'])
def test_it_takes_time_in_proportion_to_length(piece: bytes) -> None:
    field = piece * (1_000_000 // len(piece))
    begun = time.process_time()
    cookie_value(cookies(field), "token")
    without_cookie(cookies(field), "token")
    assert time.process_time() - begun < 5.0


def test_other_fields_stay_where_they_are() -> None:
    headers = [(b"A", b"token=1"), (b"cookie", b"token=x"), (b"COOKIE", b"a=1; token=y"), (b"B", b"2")]
    assert without_cookie(headers, "token") == [(b"A", b"token=1"), (b"COOKIE", b"a=1"), (b"B", b"2")]


PAIRS = st.lists(
    st.tuples(st.sampled_from([b"", b" ", b"\t "]), st.sampled_from([b"token=x", b"a=1", b"b", b"", b"token"]))
)


@given(PAIRS)
def test_all_others_survive(pairs: list[tuple[bytes, bytes]]) -> None:
    field = b";".join(blank + pair for blank, pair in pairs)
    left = without_cookie(cookies(field), "token")
    assert cookie_value(left, "token") is None
    kept = [pair for pair in field.split(b";") if not pair.strip().startswith(b"token=")]
    assert [pair.strip() for _, each in left for pair in each.split(b";") if pair.strip()] == [
        pair.strip() for pair in kept if pair.strip()
    ]
    for _, each in left:
        assert each == b";".join(kept) or each == b";".join(kept).lstrip(b" \t")


# The header.


def test_the_cookie_becomes_a_header() -> None:
    headers = [(b"A", b"1"), *cookies(b"a=1; token=x"), (b"B", b"2")]
    wanted = [(b"A", b"1"), (b"Cookie", b"a=1"), (b"B", b"2"), (b"Authorization", b"Bearer x")]
    assert authenticate(headers, AUTH) == wanted


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (CookieAuth("token", strip_cookie=False), [(b"Cookie", b"token=x"), (b"Authorization", b"Bearer x")]),
        (CookieAuth("token", "X-Token", "{value}"), [(b"X-Token", b"x")]),
        (CookieAuth("token", format="a {value} b {value}"), [(b"Authorization", b"a x b x")]),
        (CookieAuth("token", format="{other} {value}"), [(b"Authorization", b"{other} x")]),
        (CookieAuth("other"), [(b"Cookie", b"token=x")]),
    ],
)
def test_as_the_policy_says(policy: CookieAuth, wanted: Headers) -> None:
    assert authenticate(cookies(b"token=x"), policy) == wanted


@pytest.mark.parametrize("value", [b"Basic eDp5", b""])
def test_a_request_that_has_the_header_keeps_it(value: bytes) -> None:
    headers = [(b"authorization", value), *cookies(b"token=x")]
    assert authenticate(headers, AUTH) == [(b"authorization", value)]


@pytest.mark.parametrize("value", [b"", b'""', b"a\x01b", b"a\x7f", b"a\tb", b"\x00"])
def test_what_is_no_value_is_no_header(value: bytes) -> None:
    assert authenticate(cookies(b"a=1; token=" + value), AUTH) == cookies(b"a=1")


def test_without_the_cookie_nothing_changes() -> None:
    headers = [(b"A", b"1"), *cookies(b"a=1", b"")]
    assert authenticate(headers, AUTH) == headers


def test_who_is_logged_in_by_a_cookie() -> None:
    assert login(cookies(b"token=x"), AUTH) == (b"Authorization", b"Bearer x")
    for headers in ([], cookies(b"a=1"), cookies(b"token="), [(b"AUTHORIZATION", b""), *cookies(b"token=x")]):
        assert login(headers, AUTH) is None


# The response.


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], b"private"),
        ([b"max-age=60"], b"max-age=60, private"),
        ([b"public, max-age=60"], b"public, max-age=60, private"),
        ([b"no-cache", b"no-transform"], b"no-cache, no-transform, private"),
        ([b'private="Set-Cookie"'], b'private="Set-Cookie", private'),
        ([b"Private, max-age=60"], b"Private, max-age=60"),
        ([b"max-age=60, no-store"], b"max-age=60, no-store"),
    ],
)
@pytest.mark.parametrize(
    ("vary", "varies"),
    [([], b"Cookie"), ([b"Accept", b"Origin"], b"Accept, Origin, Cookie"), ([b"cookie"], b"cookie"), ([b"*"], b"*")],
)
def test_no_cache_gives_a_personal_answer_to_others(
    said: list[bytes], wanted: bytes, vary: list[bytes], varies: bytes
) -> None:
    headers = [*((b"Cache-Control", value) for value in said), (b"A", b"1"), *((b"vary", value) for value in vary)]
    answered = for_caches(headers, [(b"Cookie", b"token=x")], AUTH)
    fields = {name.lower(): value for name, value in answered}
    assert len(answered) == len(fields) == 3
    assert fields == {b"a": b"1", b"cache-control": wanted, b"vary": varies}


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ([], [(b"Vary", b"Cookie")]),
        ([(b"Cookie", b"token=x")], [(b"Cache-Control", b"private"), (b"Vary", b"Cookie")]),
        ([(b"x-token", b"y")], []),
        ([(b"X-Token", b"y"), (b"Cookie", b"token=x")], []),
        ([(b"Authorization", b"y"), (b"Cookie", b"token=x")], [(b"Cache-Control", b"private"), (b"Vary", b"Cookie")]),
    ],
)
def test_an_answer_is_for_whoever_asked_like_that(asked: Headers, added: Headers) -> None:
    """The header that counts is the one that the cookie would become."""
    assert for_caches([], asked, CookieAuth("token", header="X-Token")) == added
