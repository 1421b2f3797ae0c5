"""Do header fields go on as they came, but for those that must not? (RFC 9110 sections 5 and 7.6, RFC 7239)"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.http import fields as headers
from sseproxy.core.http.fields import HeaderRules, Headers, Peer
from sseproxy.core.http.known_fields import is_end_to_end

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC-_1", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=30).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


def test_lookups_ignore_case_and_keep_order() -> None:
    fields = [(b"A", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert headers.get_all(fields, b"a") == [b"1", b"3"]
    assert headers.get(fields, b"a") == b"1"
    assert headers.get(fields, b"c") is None
    assert headers.without(fields, {b"a"}) == [(b"b", b"2")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], []), ([b""], []), ([b" , ,"], []), ([b"A, b", b"\tC ;q=1 "], [b"a", b"b", b"c ;q=1"])],
)
def test_tokens(values: list[bytes], expected: list[bytes]) -> None:
    assert headers.tokens(values) == expected


@given(FIELDS)
def test_what_is_end_to_end_stays_as_it_is(fields: Headers) -> None:
    kept = headers.end_to_end(fields)
    named = {name for name in headers.tokens(headers.get_all(fields, b"connection")) if not is_end_to_end(name)}
    assert kept == [field for field in fields if field[0].lower() not in headers.HOP_BY_HOP | named]


@pytest.mark.parametrize("name", sorted(headers.HOP_BY_HOP))
def test_hop_by_hop(name: bytes) -> None:
    assert headers.end_to_end([(name.title(), b"x"), (b"A", b"b")]) == [(b"A", b"b")]


def test_connection_names_fields_in_any_case_and_never_the_length() -> None:
    fields = [(b"connection", b"X-One,, x-two "), (b"X-ONE", b"1"), (b"x-two", b"2"), (b"Content-Length", b"3")]
    fields.append((b"Connection", b"Content-Length"))
    assert headers.end_to_end(fields) == [(b"Content-Length", b"3")]


@pytest.mark.parametrize(
    "name", [b"Set-Cookie", b"X-Accel-Buffering", b"Access-Control-Allow-Origin", b"Location", b"ETag"]
)
def test_connection_takes_nothing_from_a_response_that_is_for_everybody(name: bytes) -> None:
    assert headers.end_to_end([(b"Connection", name.lower()), (name, b"x")]) == [(name, b"x")]


@pytest.mark.parametrize(
    "name", [b"X_Forwarded_For", b"x_forwarded-proto", b"X_Real_IP", b"Content_Type", b"Last_Event_ID"]
)
@pytest.mark.parametrize("option", [bytes.lower, bytes.upper])
def test_connection_takes_nothing_by_a_name_that_is_the_same_for_cgi(
    name: bytes, option: Callable[[bytes], bytes]
) -> None:
    """CGI and WSGI read ``X_Forwarded_For`` as ``X-Forwarded-For``."""
    fields = [(name, b"1"), (name.replace(b"_", b"-"), b"2")]
    for each in (option(name), option(name.replace(b"_", b"-"))):
        assert headers.end_to_end([(b"Connection", each), *fields]) == fields


def test_connection_takes_nothing_that_the_caller_keeps() -> None:
    fields = [(b"Connection", b"x-a, x-b"), (b"X-A", b"1"), (b"X-B", b"2")]
    assert headers.end_to_end(fields, keep={b"x-a"}) == [(b"X-A", b"1")]


def test_of_a_long_list_of_addresses_the_last_are_read() -> None:
    said = [b"192.0.2.%d" % (number % 256) for number in range(60_000)]
    fields = [(b"X-Forwarded-For", b",".join(said[:30_000])), (b"x-forwarded-for", b",".join(said[30_000:]))]
    expected = [address.decode() for address in said[-headers.MOST_MEMBERS :]]
    assert headers.forwarded_addresses(fields) == expected


@pytest.mark.parametrize("byte", range(256))
def test_forbidden_bytes(byte: int) -> None:
    is_control = (byte < 32 and byte != 9) or byte == 127
    assert headers.has_forbidden_bytes([(b"A", b"a" + bytes([byte]) + b"b")]) is is_control
    assert headers.has_forbidden_bytes([(b"A" + bytes([byte]), b"b")]) is is_control


def test_rules() -> None:
    fields = [(b"A", b"1"), (b"B", b"2"), (b"a", b"3")]
    assert headers.apply_rules(fields, HeaderRules()) is fields
    assert headers.apply_rules(fields, HeaderRules(remove=("A",))) == [(b"B", b"2")]
    assert headers.apply_rules(fields, HeaderRules(set=(("a", "x"), ("a", "y")))) == [
        (b"B", b"2"),
        (b"a", b"x"),
        (b"a", b"y"),
    ]


def test_rules_hold_for_what_cgi_takes_for_the_same_name() -> None:
    fields = [(b"X_Team", b"1"), (b"x-our_team", b"2"), (b"X_Own", b"3"), (b"XTeam", b"4")]
    rules = HeaderRules(set=(("X-Team", "blue"),), remove=("X_Our-Team",))
    assert headers.apply_rules(fields, rules) == [(b"X_Own", b"3"), (b"XTeam", b"4"), (b"X-Team", b"blue")]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"x-forwarded_proto", b"X_FORWARDED-HOST"])
def test_nobody_says_where_a_request_came_from_by_another_name(name: bytes, trusted: bool) -> None:
    """For CGI and WSGI it is the same one, and no proxy calls it so: it comes from the client."""
    peer = Peer("192.0.2.1", "http", trusted)
    out = headers.forwarding([(name, b"forged"), (b"X_Forwarded", b"1")], peer, host=b"h")
    assert out == [(b"X_Forwarded", b"1"), *headers.forwarding([], peer, host=b"h")]


@given(FIELDS, st.booleans())
def test_an_untrusted_peer_leaves_no_trace_of_its_own(fields: Headers, trusted: bool) -> None:
    claimed = [*fields, (b"x-forwarded-for", b"1.2.3.4"), (b"VIA", b"1.0 a"), (b"forwarded", b"for=x")]
    out = headers.forwarding(claimed, Peer("::1", "https", trusted), host=b"h")
    assert (
        out[: len(fields)]
        == headers.without(
            fields, {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
        )
        or len(out) < len(fields) + 4 + trusted
    )
    assert headers.get_all(out, b"x-forwarded-for") == [b"1.2.3.4, ::1" if trusted else b"::1"]
    assert headers.get_all(out, b"forwarded") == [b"for=x, " * trusted + b'for="[::1]";host="h";proto=https']
    assert headers.get_all(out, b"via") == [b"1.0 a"] * trusted


def test_a_host_in_forwarded_is_quoted() -> None:
    out = headers.forwarding([], Peer("", "http", False), host=b'a"b\\c')
    assert headers.get(out, b"forwarded") == b'for=unknown;host="a\\"b\\\\c";proto=http'
    assert headers.get(out, b"x-forwarded-for") is None


@pytest.mark.parametrize("trusted", [False, True])
def test_a_request_without_a_host_says_none(trusted: bool) -> None:
    said = [(b"X-Forwarded-Host", b"outer.test")]
    out = headers.forwarding(said, Peer("192.0.2.1", "http", trusted), host=b"")
    assert headers.get_all(out, b"forwarded") == [b"for=192.0.2.1;proto=http"]
    assert headers.get_all(out, b"x-forwarded-host") == ([b"outer.test"] if trusted else [])


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"192.0.2.1:4711", "192.0.2.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:4711", "2001:db8::1"),
        (b"unknown", "unknown"),
        (b"_hidden:80", "_hidden"),
        (b"[", ""),
        (b":", ""),
        (b"a:b:c", "a:b:c"),
        (b"\xff", "\xff"),
    ],
)
def test_addresses_that_are_forwarded_lose_their_port(said: bytes, address: str) -> None:
    fields = [(b"X-Forwarded-For", said + b", 192.0.2.2"), (b"x-forwarded-for", b" 192.0.2.3 ")]
    assert headers.forwarded_addresses(fields) == [address, "192.0.2.2", "192.0.2.3"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/event-stream", True),
        (b" TEXT/Event-Stream ; charset=utf-8", True),
        (b"text/event-stream;", True),
        (b"text/event-streams", False),
        (b"text/plain, text/event-stream", True),
        (b"", False),
    ],
)
def test_media_type_of_an_event_stream(value: bytes, expected: bool) -> None:
    assert headers.is_event_stream([(b"Content-type", value)]) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"text/event-stream", b"text/html"], False),
        ([b"text/html", b"text/event-stream; charset=utf-8"], True),
        ([b"text/event-stream, text/html"], False),
        ([b"text/event-stream, */*"], True),
        ([b"text/event-stream", b""], True),
        ([b"text/event-stream", b"no type"], True),
        ([b'text/event-stream; a="x, text/html"'], True),
        ([b'text/html; a="x', b' text/event-stream"'], False),
        ([b'text/html; a="\\", text/event-stream", text/event-stream'], True),
    ],
)
def test_of_several_media_types_the_last_counts(values: list[bytes], expected: bool) -> None:
    assert headers.is_event_stream([(b"Content-Type", value) for value in values]) is expected


def test_no_media_type_is_no_event_stream() -> None:
    assert not headers.is_event_stream([])


@given(FIELDS, st.booleans())
def test_the_head_of_an_event_stream(fields: Headers, decoded: bool) -> None:
    out = headers.event_stream([*fields, (b"Content-Length", b"5"), (b"content-encoding", b"x")], decoded=decoded)
    assert headers.get_all(out, b"content-length") == []
    assert (headers.get_all(out, b"content-encoding") == []) is decoded
    assert headers.get_all(out, b"x-accel-buffering") == [b"no"]
    [cache] = headers.get_all(out, b"cache-control")
    assert {b"no-cache", b"no-transform"} <= set(headers.tokens([cache]))
    assert headers.event_stream(out, decoded=decoded) == out


def test_what_speaks_of_the_upstreams_bytes_does_not_go_on() -> None:
    names = [b"accept-Ranges", b"Content-MD5", b"Digest", b"Content-Digest", b"Repr-Digest", b"Content-Length"]
    tags = [(b"ETag", b'"a"'), (b"etag", b'W/"b"'), (b"ETAG", b' "c"')]
    out = headers.event_stream([*[(name, b"x") for name in names], *tags], decoded=False)
    weak = [(b"ETag", b'W/"a"'), (b"etag", b'W/"b"'), (b"ETAG", b'W/"c"')]
    assert out[:-2] == weak
    assert [name for name, _ in out[-2:]] == [b"Cache-Control", b"X-Accel-Buffering"]
