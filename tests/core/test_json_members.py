"""Are the top-level members of a JSON body found, whatever the body is and however it is cut?"""

import json
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.http.json_members import LONGEST_VALUE, MemberScanner, NoValue, Value
from tests.support.traced import traced

NAMES = ("stream", "id", "é", "\U0001f600", "")
MIB = 1024 * 1024
OTHER, ABSENT = NoValue.OTHER, NoValue.ABSENT

#: What a scanner has found out: known, object, and the values.
Found = tuple[bool, bool, list[Value]]


def found(scanner: MemberScanner) -> Found:
    values = [scanner.value(name) for name in NAMES]
    return scanner.is_known, scanner.is_object, values


def scan(pieces: Iterable[bytes]) -> MemberScanner:
    scanner = MemberScanner(NAMES)
    for piece in pieces:
        scanner.feed(piece)
    return scanner


def scanned(body: bytes) -> MemberScanner:
    """The scanner after the body, which is looked at in one piece and byte by byte."""
    whole, bytewise = scan([body]), scan(body[at : at + 1] for at in range(len(body)))
    assert repr(found(whole)) == repr(found(bytewise))
    return whole


def stream_of(body: bytes) -> Value:
    scanner = scanned(body)
    scanner.end()
    return scanner.value("stream")


# ------------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b"true", True),
        (b"false", False),
        (b"null", None),
        (b"0", 0),
        (b"-12", -12),
        (b"1.5e3", 1500.0),
        (b'"true"', "true"),
        (b'""', ""),
        (b'"\\u0074\\n\\"\\\\\\/"', 't\n"\\/'),
        (b'"\xc3\xa9"', "é"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"{}", OTHER),
        (b"[]", OTHER),
        (b'{"stream": true}', OTHER),
        (b'[{"stream": true}, "}", "\\"]"]', OTHER),
    ],
)
@pytest.mark.parametrize("blank", [b"", b" ", b"\r\n\t "])
@pytest.mark.parametrize("before", [b"", b'"a": 1, ', b'"messages": [{"role": "x\\"}]"}], '])
@pytest.mark.parametrize("after", [b"", b', "z": [[], "]"]'])
def test_a_value_is_found(written: bytes, value: Value, blank: bytes, before: bytes, after: bytes) -> None:
    body = blank.join([b"{", before + b'"stream"', b":", written, after, b"}"])
    scanner = scanned(blank + body)
    assert (scanner.is_known, scanner.is_object) == (True, True)
    assert scanner.value("stream") == value
    assert type(scanner.value("stream")) is type(value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", ABSENT),
        (b'{"streams": true, "strea": true}', ABSENT),
        (b'{"messages": {"stream": true}}', ABSENT),
        (b'{"stream": false, "stream": true}', True),
        (b'{"stream": true, "stream": false}', False),
        (b'{"stream": true, "stream": [1]}', OTHER),
        (b'{"stream": true, "x": 1, "\\u0073tream": "last"}', "last"),
        (b'{"\\u0073\\u0074\\u0072\\u0065\\u0061\\u006D": true}', True),
        (b'{"a": "x", "b": -1.5e-3, "stream": true, "c": null}', True),
        (b'\xef\xbb\xbf {"stream": true}', True),
        (b'{"stream": true} of what follows nothing is read', True),
    ],
)
def test_which_member_counts(body: bytes, value: Value) -> None:
    assert scanned(body).is_known
    assert stream_of(body) == value


@pytest.mark.parametrize(
    ("body", "has_repeats"),
    [
        (b'{"stream": true}', False),
        (b'{"a": 1, "stream": true, "a": 2}', False),
        (b'{"a": {"stream": 1}, "stream": true}', False),
        (b'{"stream": true, "stream": true}', True),
        (b'{"stream": true, "x": 1, "\\u0073tream": null}', True),
        (b'{"stream": [1], "stream": "x"}', True),
    ],
)
def test_a_member_that_is_there_twice(body: bytes, has_repeats: bool) -> None:
    assert scanned(body).has_repeats is has_repeats


@pytest.mark.parametrize(
    "body",
    [
        b"a=1",
        b'"{"',
        b"--boundary",
        b"\x89PNG",
        b"\x00",
        b"\xef{",
        b"\xef\xbb{",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        '{"stream": true}'.encode("utf-16"),
        '{"stream": true}'.encode("utf-16-le"),
        '{"stream": true}'.encode("utf-32-be"),
        b'{"stream": true,}',
        b'{,"stream": true}',
        b'{"stream": true "a": 1}',
        b'{"stream": true, "a" 1}',
        b'{"stream": true, "a":: 1}',
        b'{"stream": true, "a":, "b": 1}',
        b'{"stream": true, a: 1}',
        b'{"stream": true]',
        b'{"stream": True}',
        b'{"stream": true, "a": truely}',
        b'{"stream": true, "a": 01, "b": 1}',
        b'{"stream": "\\x"}',
        b'{"stream": "\n"}',
        b'{"stream": "\xff"}',
        b'{"stream": true, "\\x": 1}',
    ],
)
def test_what_is_malformed_is_known_and_has_no_values(body: bytes) -> None:
    scanner = scanned(body)
    assert found(scanner) == (True, False, [ABSENT] * len(NAMES))


@pytest.mark.parametrize("start", [b"", b" \r\n", b"\xef\xbb\xbf"])
def test_an_array_is_known_at_once(start: bytes) -> None:
    scanner = scanned(start + b"[")
    assert (scanner.is_known, scanner.is_object) == (True, False)


def test_what_is_cut_short_is_known_at_the_end_and_is_no_object() -> None:
    body = b'\xef\xbb\xbf {"a": [{"b": "\\""}], "stream": true, "id": "x", "n": 12 }'
    for size in range(len(body)):
        scanner = scanned(body[:size])
        assert not scanner.is_known
        scanner.end()
        assert found(scanner) == (True, False, [ABSENT] * len(NAMES))


@pytest.mark.parametrize("size", [LONGEST_VALUE, LONGEST_VALUE + 1, 100_000])
def test_a_value_that_is_too_long_is_another(size: int) -> None:
    is_kept = size == LONGEST_VALUE
    number, text = b"1" * size, b"x" * (size - 2) + b"\\n"
    assert stream_of(b'{"stream": %b, "b": 1}' % number) == (int(number) if is_kept else OTHER)
    assert stream_of(b'{"stream": "%b", "b": 1}' % text) == (text[:-2].decode() + "\n" if is_kept else OTHER)
    assert stream_of(b'{"b": "%b", "c": %b, "%b": 1, "stream": true}' % (text, number, text)) is True


# ------------------------------------------------------------------------------------------------ any JSON

blanks = st.text(" \t\r\n", max_size=3)
strings = st.one_of(st.sampled_from([*NAMES, "streams", "a", '"', "\\", "[]{}", ",:"]), st.text(max_size=20))
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats())


@st.composite
def written_strings(draw: st.DrawFn) -> str:
    text = draw(strings)
    if draw(st.booleans()):
        units = text.encode("utf-16-be", "surrogatepass")
        return '"{}"'.format("".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)))
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@st.composite
def members(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(written_strings(), values), max_size=8))
    return ",".join("".join([draw(blanks), key, draw(blanks), ":", draw(blanks), value]) for key, value in pairs)


written: st.SearchStrategy[str] = st.recursive(
    st.one_of(written_strings(), scalars.map(json.dumps)),
    lambda inner: st.one_of(
        members(inner).map("{{{}}}".format), st.lists(inner, max_size=3).map(",".join).map("[{}]".format)
    ),
    max_leaves=10,
)
objects = st.builds("{}{{{}}}{}".format, blanks, members(written), blanks).map(
    lambda text: text.encode(errors="surrogatepass")
)


@st.composite
def in_pieces(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> list[bytes]:
    body = draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def expected(parsed: dict[str, object]) -> list[object]:
    return [OTHER if isinstance(parsed.get(name), (dict, list)) else parsed.get(name, ABSENT) for name in NAMES]


@given(in_pieces(objects))
def test_any_object_has_the_values_that_json_finds(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    parsed = json.loads(body)
    for scanner in (scan(pieces), scanned(body)):
        assert (scanner.is_known, scanner.is_object) == (True, True)
        assert repr([scanner.value(name) for name in NAMES]) == repr(expected(parsed))


broken = st.lists(
    st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"1", b"true", b" ", b'"stream"', b'"a"'])
)


@given(in_pieces(st.one_of(broken.map(b"".join).map(b"{".__add__), st.binary(), st.binary().map(b'{"'.__add__))))
def test_what_it_finds_depends_on_no_cut_and_is_what_json_finds_in_an_object(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert repr(found(scan(pieces))) == repr(found(scanned(body)))
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    scanner = scan(pieces)
    assert scanner.is_object == (isinstance(parsed, dict) and body[1:2] != b"\0")
    if scanner.is_object:
        assert repr([scanner.value(name) for name in NAMES]) == repr(expected(parsed))


@given(objects, st.data())
def test_an_object_with_one_byte_changed(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + data.draw(st.sampled_from([b"", b'"', b"\\", b"}", b"{", b",", b"x", b"\0"])) + body[at + 1 :]
    scanner = scanned(changed)
    try:
        parsed = json.loads(changed)
    except ValueError:
        return
    if isinstance(parsed, dict):
        assert repr([scanner.value(name) for name in NAMES]) == repr(expected(parsed))


# ------------------------------------------------------------------------------------------------ work and memory


def chat(size: int) -> bytes:
    """An ordinary request of at least `size` bytes that says `stream` at its end."""
    text = 'He said: "Wait" \u2014 then\nthey waited, for as long as it took, and nothing came. ' * 3
    turn = [{"role": "user", "content": text}, {"role": "assistant", "content": [{"type": "text", "text": text}]}]
    messages = turn * (size // len(json.dumps(turn)) + 1)
    return json.dumps({"model": "m", "temperature": 0.5, "messages": messages, "stream": True}).encode()


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "blanks": lambda size: b" " * size,
    "blanks, then an object": lambda size: b"\n" * size + b'{"stream": true}',
    "blanks in the object": lambda size: b'{"a"' + b" " * size,
    "blanks behind each value": lambda size: b'{"a":1' + (b" " * 500 + b',"b":2') * (size // 500),
    "arrays": lambda size: b'{"a":' + b"[" * size,
    "objects": lambda size: b'{"a":' + b'{"":' * (size // 4),
    "pairs": lambda size: b'{"a":[' + b"[]," * (size // 3),
    "members with arrays": lambda size: b"{" + b'"":[],' * (size // 6),
    "small members": lambda size: b"{" + b'"":1,' * (size // 5),
    "wanted members": lambda size: b"{" + b'"id":1,' * (size // 7),
    "members with escapes": lambda size: b"{" + b'"\\n":1,' * (size // 7),
    "members with long values": lambda size: b"{" + b'"a":"%b",' % (b"x" * 300) * (size // 307),
    "almost members": lambda size: b"{" + b'"a":"%b"  ' % (b"x" * 250) + b" " * size,
    "a long number": lambda size: b'{"a":' + b"1" * size,
    "a long word": lambda size: b'{"stream":' + b"t" * size,
    "a long key": lambda size: b'{"' + b"k" * size,
    "a long string": lambda size: b'{"a":"' + b"x" * size,
    "backslashes": lambda size: b'{"a":"' + b"\\" * size,
    "nested backslashes": lambda size: b'{"a":["' + b"\\" * size,
    "escaped quotes": lambda size: b'{"a":"' + b'\\"' * (size // 2),
    "nested escaped quotes": lambda size: b'{"a":["' + b'\\"' * (size // 2),
    "quotes": lambda size: b'{"a":[' + b'"' * size,
    "strings of half the quick way": lambda size: b'{"a":[' + (b'"%b"' % (b"x" * 300)) * (size // 302),
    "chat": chat,
}  # fmt: skip


def seconds(work: Callable[[], object], times: int = 2) -> float:
    """The processor time that the work takes, at best."""

    def once() -> float:
        start = time.thread_time()
        work()
        return time.thread_time() - start

    return min(once() for _ in range(times))


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize(("piece", "size"), [(1, 1_000), (64, 5_000), (1 << 30, 20_000)])
def test_the_work_grows_as_the_body_does(kind: str, piece: int, size: int) -> None:
    def work(size: int) -> Callable[[], object]:
        body = HOSTILE[kind](size)
        pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
        return lambda: scan(pieces)

    small, large = seconds(work(size)), seconds(work(8 * size))
    assert large < 8 * 4 * small + 0.01


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("piece", [1000, 16 * 1024])
def test_what_is_kept_does_not_grow_with_the_body(kind: str, piece: int) -> None:
    body = HOSTILE[kind](64 * 1024)

    def prepare() -> MemberScanner:
        scanner = MemberScanner(NAMES)
        scanner.feed(body[:piece])
        return scanner

    def feed(scanner: MemberScanner) -> None:
        for at in range(piece, len(body), piece):
            scanner.feed(body[at : at + piece])

    kept, peak = traced(prepare, feed)
    assert kept < 4096
    assert peak < 4 * piece + 64 * 1024


def test_64_mib_pass_by() -> None:
    piece = b"QUJD" * (64 * 1024)

    def prepare() -> MemberScanner:
        scanner = MemberScanner(NAMES)
        scanner.feed(b'{"stream": true, "picture": "')
        return scanner

    def feed(scanner: MemberScanner) -> None:
        for _ in range(64 * MIB // len(piece)):
            scanner.feed(piece)

    kept, peak = traced(prepare, feed)
    scanner = prepare()
    feed(scanner)
    scanner.feed(b'", "id": "x"}')
    assert (scanner.value("stream"), scanner.value("id")) == (True, "x")
    assert max(kept, peak) < 4096


# Ten times what it takes on an idle machine, so that the limits hold on a busy one.


def test_a_chat_of_1_mib_takes_milliseconds() -> None:
    body = chat(MIB)
    pieces = [body[at : at + 64 * 1024] for at in range(0, len(body), 64 * 1024)]
    assert scan(pieces).value("stream") is True
    assert seconds(lambda: scan(pieces), 5) < 0.1


@pytest.mark.parametrize("start", [b'{"picture": "', b'{"messages": [{"image_url": {"url": "data:image/png;base64,'])
def test_a_picture_of_6_mib_takes_milliseconds(start: bytes) -> None:
    piece = b"QUJD" * (16 * 1024)
    pieces = [start, *[piece] * (6 * MIB // len(piece))]
    assert seconds(lambda: scan(pieces), 5) < 0.1


@pytest.mark.parametrize(
    "body",
    [b'{"stream":true,' + b'"stream":1,' * 400_000 + b'"x":1}', b'{"stream":true,"a":' + b"[" * 4_000_000],
    ids=["wanted members", "brackets"],
)
def test_a_body_that_is_made_to_cost_is_given_up(body: bytes) -> None:
    """Steps are counted, not seconds: the fast ways take none."""
    scanner = MemberScanner(["stream"])
    for at in range(0, len(body), 65536):
        scanner.feed(body[at : at + 65536])
        if scanner.is_known:
            break
    assert (scanner.is_known, scanner.is_object) == (True, False)
    assert at < 1_000_000


def test_a_long_conversation_is_read_to_its_end() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": f"line {n}"}]} for n in range(50_000)]
    body = json.dumps({"messages": messages, "stream": True}).encode()
    scanner = MemberScanner(["stream"])
    for at in range(0, len(body), 16384):
        scanner.feed(body[at : at + 16384])
    assert scanner.value("stream") is True
