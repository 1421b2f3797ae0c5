"""Do all spellings of a path come out as one, and is a prefix taken off by what it means? (RFC 3986)"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.http.paths import behind_prefix, decoded, has_dots, has_prefix, normalized

#: Pieces that paths are made of, in all spellings that matter.
PIECES = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2E",
    "a",
    "b",
    "%61",
    "%62",
    "%41",
    "~",
    "%7e",
    "%2f",
    "%2F",
    "%5C",
    ";x",
    "%zz",
    "%",
    "*",
]
PATHS = st.lists(st.sampled_from(PIECES), max_size=14).map(lambda pieces: "/" + "".join(pieces))


def remove_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, letter by letter."""
    rest, out = path, ""
    while rest:
        if rest.startswith("../"):
            rest = rest[3:]
        elif rest.startswith(("./", "/./")):
            rest = rest[2:]
        elif rest == "/.":
            rest = "/"
        elif rest.startswith("/../") or rest == "/..":
            rest = "/" + rest[4:]
            out = out[: out.rfind("/")] if "/" in out else ""
        elif rest in (".", ".."):
            rest = ""
        else:
            end = rest.find("/", 1)
            end = len(rest) if end < 0 else end
            out, rest = out + rest[:end], rest[end:]
    return out


def as_the_standard_says(path: str) -> str:
    """RFC 3986 section 6.2.2, by another way than the code's; empty segments are merged before dots count."""
    text, at = "", 0
    while at < len(path):
        digits = path[at + 1 : at + 3]
        if path[at] == "%" and re.fullmatch("[0-9a-fA-F]{2}", digits):
            character = chr(int(digits, 16))
            is_unreserved = character.isascii() and (character.isalnum() or character in "-._~")
            text += character if is_unreserved else "%" + digits.upper()
            at += 3
        else:
            text += path[at]
            at += 1
    while "//" in text:
        text = text.replace("//", "/")
    return remove_dot_segments(text)


@given(PATHS)
def test_it_is_what_the_standard_says(path: str) -> None:
    assert normalized(path) == as_the_standard_says(path)


@given(PATHS)
def test_what_is_normalised_stays(path: str) -> None:
    if not re.search("%(?![0-9a-fA-F]{2})", path):  # what is no escape may become one
        assert normalized(normalized(path)) == normalized(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("*", "*"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/v1/chat/%63ompletions", "/v1/chat/completions"),
        ("//admin", "/admin"),
        ("/./admin", "/admin"),
        ("/x/../admin", "/admin"),
        ("/x//../admin", "/admin"),
        ("/x///%2e%2E//admin", "/admin"),
        ("/x/.//../admin", "/admin"),
        ("/a/b//../../admin", "/admin"),
        ("//x/../admin", "/admin"),
        ("//../admin", "/admin"),
        ("/..//admin", "/admin"),
        ("/admin/x//..", "/admin/"),
        ("/admin//.", "/admin/"),
        ("/x/%2e%2E/admin", "/admin"),
        ("/..", "/"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/a%2fb", "/a%2Fb"),
        ("/%25%36%31", "/%2561"),
        ("/%C3%a4", "/%C3%A4"),
        ("/...", "/..."),
        ("/.a", "/.a"),
    ],
)
def test_examples(path: str, expected: str) -> None:
    assert normalized(path) == expected


def test_it_takes_time_in_proportion_to_length() -> None:
    assert normalized("/%61/.." * 20_000) == "/"
    assert normalized("/" * 60_000) == "/"


@given(PATHS, st.sampled_from(["/a", "/a/", "/a/b", "/", "/a%2F", "/b/a/a"]))
def test_a_prefix_is_taken_off_wherever_it_stands_and_nowhere_else(path: str, prefix: str) -> None:
    if has_dots(path):
        return
    rest = behind_prefix(path, prefix)
    assert (rest is not None) is has_prefix(normalized(path), prefix)
    if rest is not None:
        assert path.endswith(rest)
        assert rest == "" or rest.startswith("/")
        stem = prefix.rstrip("/")
        assert normalized(stem + rest) == normalized(path)


@given(PATHS)
def test_dots_are_seen_wherever_a_service_might_see_them(path: str) -> None:
    opened = decoded(path).replace("%2F", "/").replace("%5C", "/")
    segments = [segment.partition(";")[0] for segment in opened.split("/")]
    assert has_dots(path) is any(segment in (".", "..") for segment in segments)
