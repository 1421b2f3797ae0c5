"""Are responses read that are not quite HTTP but can mean one thing only, and are all others refused?

Each response is fed whole, byte by byte, and cut in two at every place: what is found must not depend on that.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.http1.leniency import with_one_length
from sseproxy.http1.responses import MAX_HEAD
from tests.http1.response_reader import Reader, cuts

CHUNKS = b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
EXTENSIONS = [
    b"; a=b", b" ; a=b", b";a =b", b";a= b", b";a=b ", b' ;\ta\t=\t"b; c"\t;d ', b";", b"; ", b";;", b"; a; b",
    b";\xe9", b"; 3", b" ;0;",
]  # fmt: skip
READABLE = {
    "lines end with LF": b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello",
    "some lines end with LF": b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 5\r\n\nhello",
    "only the blank line is LF": b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\nhello",
    "LF, no reason": b"HTTP/1.1 200\nX-A: b\nContent-Length: 5\n\nhello",
    "LF and chunks": b"HTTP/1.1 200 OK\nX-A: b\nTransfer-Encoding: chunked\n\n" + CHUNKS,
    "LF behind an interim response": b"HTTP/1.1 103 Hints\nLink: x\n\n"
    b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello",
    "blanks behind the size": b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2 \r\nhe\r\n3  \t\r\nllo\r\n0 \r\n\r\n",
    "blanks before an extension": b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
    **{
        f"extensions {extensions!r}": b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"2%b\r\nhe\r\n03%b\r\nllo\r\n0%b\r\nX-T: 1;2\r\nX-U: 0; 1\r\n\r\n" % ((extensions,) * 3)
        for extensions in EXTENSIONS
    },
    "a later version": b"HTTP/1.2 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello",
    "a later version and chunks": b"HTTP/1.9 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a later version, interim": b"HTTP/1.2 100 Continue\r\n\r\n"
    b"HTTP/1.2 200 OK\r\nX-A: b\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "one length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\ncontent-length:5\r\n\r\nhello",
    "one length three times": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n"
    + b"Content-Length: 5 \r\n" * 2
    + b"\r\nhello",
    "a list of one length": b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5, 5\t,5\r\n\r\nhello",
    "a list and a field": b"HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello",
    "one length twice, LF": b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\nContent-Length: 5\n\nhello",
    "one length twice behind an interim response": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
    b"X-A: b\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("response", READABLE.values(), ids=READABLE)
def test_what_can_mean_one_thing_only_is_read(response: bytes) -> None:
    for pieces in cuts(response):
        found = Reader().feed(*pieces)
        assert found.error is None, found.error
        assert found.has_ended
        assert found.content == b"hello"
        assert (b"X-A", b"b") in found.fields
        assert [value for name, value in found.fields if name.lower() == b"content-length"] in ([], [b"5"])
        assert found.may_be_kept


@given(
    st.lists(st.text("\r\n;0aZ \t", min_size=1, max_size=12).map(str.encode), max_size=4),
    st.lists(st.integers(0, 300), max_size=6),
    st.sampled_from([b"", b";a=b", b"; a"]),
)
def test_what_a_body_holds_is_never_taken_for_extensions(body: list[bytes], at: list[int], extensions: bytes) -> None:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(each), extensions, each) for each in [*body, b""])
    whole = b"".join(body)
    for response in (
        CHUNKED + chunks,
        b"HTTP/1.1 200 OK\r\nX: a; b\r\nContent-Length: %d\r\n\r\n%b" % (len(whole), whole),
    ):
        places = sorted({place % (len(response) + 1) for place in at})
        pieces = [response[begin:end] for begin, end in zip([0, *places], [*places, len(response)], strict=True)]
        found = Reader().feed(*pieces)
        assert (found.error, found.has_ended, found.content) == (None, True, whole)


def test_the_length_of_a_head_may_be_said_twice_too() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"
    for pieces in cuts(response):
        found = Reader(to_head=True).feed(*pieces)
        assert (found.has_ended, found.fields) == (True, [(b"Content-Length", b"5")])


def test_a_long_body_behind_a_length_that_is_said_twice() -> None:
    body = b"x" * (4 * MAX_HEAD)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(body), len(body))
    found = Reader().feed(head + body)
    assert (found.has_ended, found.content) == (True, body)


def test_an_interim_response_may_say_that_the_connection_closes() -> None:
    """Then it does, behind the final response."""
    for status in (b"100 Continue", b"103 Early Hints"):
        response = (
            b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        )
        for pieces in cuts(response):
            found = Reader().feed(*pieces)
            assert (found.error, found.has_ended, found.content) == (None, True, b"hello")
            assert not found.may_be_kept


@pytest.mark.parametrize("behind", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_nothing_follows_the_final_response(behind: bytes) -> None:
    for connection in (b"close", b"keep-alive"):
        head = b"HTTP/1.1 200 OK\r\nConnection: " + connection + b"\r\nContent-Length: 5\r\n\r\n"
        for pieces in ([head + b"hello" + behind], [head, b"hello" + behind]):
            found = Reader().feed(*pieces)
            assert (found.has_ended, found.content, found.may_be_kept) == (True, b"hello", False)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
AMBIGUOUS = {
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "coding and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    "length twice, and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nhello",
    "coding, and length twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5, 5\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "one length in two spellings": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 05\r\n\r\nhello",
    "a list with a hole": b"HTTP/1.1 200 OK\r\nContent-Length: 5,,5\r\n\r\nhello",
    "a list that ends with a comma": b"HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\nhello",
    "two numbers": b"HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello",
    "a length and nothing": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length:\r\n\r\nhello",
    "a signed length twice": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\nContent-Length: +5\r\n\r\nhello",
    "a folded list": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n , 5\r\n\r\nhello",
    "a folded length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n 0\r\n\r\nhello",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length : 5\r\n\r\nhello",
    "a length too large, twice": b"HTTP/1.1 200 OK\r\n"
    + b"Content-Length: 99999999999999999999\r\n" * 2
    + b"\r\nhello",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "bare CR": b"HTTP/1.1 200 OK\rContent-Length: 5\r\n\r\nhello",
    "bare CR behind a field": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 5\r\n\r\nhello",
    "CR CR LF": b"HTTP/1.1 200 OK\r\nX: a\r\r\nContent-Length: 5\r\n\r\nhello",
    "folded with LF": b"HTTP/1.1 200 OK\nX: a\n b\nContent-Length: 5\n\nhello",
    "size with two numbers": CHUNKED + b"5 5\r\nhello\r\n0\r\n\r\n",
    "size behind a blank": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "size in two spellings": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "size that ends with LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "size and blank that end with LF": CHUNKED + b"5 \nhello\r\n0\r\n\r\n",
    "extension that ends with LF": CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
    "extensions with a blank that end with LF": CHUNKED + b"5; a\nhello\r\n0\r\n\r\n",
    "extensions with a bare CR": CHUNKED + b"5; a\rb\r\nhello\r\n0\r\n\r\n",
    "extensions with a control character": CHUNKED + b"5; a\x0b\r\nhello\r\n0\r\n\r\n",
    "extensions without a size": CHUNKED + b"; a\r\nhello\r\n0\r\n\r\n",
    "extensions behind a chunk": CHUNKED + b"5\r\nhello; a\r\n0\r\n\r\n",
    "HTTP/3": b"HTTP/3.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2.1": b"HTTP/2.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunk that ends with LF": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "trailer that ends with LF": CHUNKED + b"5\r\nhello\r\n0\r\nX: a\n\r\n",
}


@pytest.mark.parametrize("response", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused(response: bytes) -> None:
    for pieces in cuts(response):
        found = Reader().feed(*pieces)
        assert found.error is not None
        assert not found.has_ended
        assert not found.may_be_kept


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_head_that_says_its_length_twice_and_never_ends_is_refused(size: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n" + b"X: a\r\n" * MAX_HEAD
    found = Reader().feed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert found.error is not None
    assert found.error.proxy_status == "http_response_header_section_size"


def test_interim_responses_do_not_pile_up() -> None:
    found = Reader().feed(*([b"HTTP/1.1 102 Processing\r\nX: " + b"a" * 1000 + b"\r\n\r\n"] * 100))
    assert found.error is not None
    assert found.error.proxy_status == "http_response_header_section_size"


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", "an unknown transfer coding"),
        (b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", "control character"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n", "more than 256 header fields"),
        (b"HTTP/1.1 200 OK\r\n" + b"Content-Length: 1\r\n" * 2 + b"X: a\r\n" * 300 + b"\r\n", "more than 256 header"),
        (b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "a status below 100"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
    ],
)
def test_the_log_says_what_is_wrong(response: bytes, cause: str) -> None:
    found = Reader().feed(response)
    assert cause in str(found.error)
    assert "User callback" not in str(found.error)


@given(
    st.lists(st.sampled_from([b"Content-Length: 5", b"content-length:5,5", b"X: a, b", b"Y:"]), max_size=5),
    st.sampled_from([b"\r\n", b"\n"]),
    st.lists(st.sampled_from([b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Hints\r\nContent-Length: 7"]), max_size=2),
)
def test_nothing_but_the_length_changes(fields: list[bytes], end: bytes, interim: list[bytes]) -> None:
    before = b"".join(each + b"\r\n\r\n" for each in interim)
    response = before + end.join([b"HTTP/1.1 200 OK", *fields, b"", b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"])
    repaired = with_one_length(response)
    assert repaired is not None
    numbers = sum(field.count(b"5") for field in fields)
    if numbers < 2:
        assert repaired == response
    else:
        others = [field for field in fields if not field.lower().startswith(b"content-length")]
        head = end.join([b"HTTP/1.1 200 OK", *others, b""]) + b"Content-Length: 5\r\n\r\n"
        assert repaired == before + head + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"
    assert with_one_length(repaired) == repaired
