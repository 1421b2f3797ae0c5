"""Whom does the admin listener answer?"""

import pytest

from sseproxy.core.http.fields import Headers
from sseproxy.process.admin_guard import refusal

NAMES = frozenset({"sseproxy", "metrics.example"})


def refused(headers: Headers, method: str = "GET", path: str = "/streams") -> int | None:
    found = refusal(method, path, headers, NAMES)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LOCALHOST:9090",
        b"localhost.",
        b"127.0.0.1",
        b"127.0.0.1:9090",
        b"10.0.0.7:1",
        b"[::1]",
        b"[::1]:9090",
        b"sseproxy",
        b"SSEproxy:9090",
        b"metrics.example.:80",
    ],
)
def test_its_own_names(host: bytes) -> None:
    assert refused([(b"Host", host)]) is None


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"evil.example:9090",
        b"localhost.evil.example",
        b"evil-localhost",
        b"127.0.0.1.evil.example",
        b"127.1",
        b"2130706433",
        b"0x7f.0.0.1",
        b"[evil.example]",
        b"localhost:1:2",
        b"user@localhost",
        b"\xff",
        b"metrics.example..",
    ],
)
def test_any_other_name_may_be_that_of_a_page(host: bytes) -> None:
    assert refused([(b"Host", host)]) == 421


def test_two_hosts_are_none() -> None:
    assert refused([(b"Host", b"localhost"), (b"host", b"evil.example")]) == 421
    assert refused([(b"Host", b"127.0.0.1"), (b"Host", b"127.0.0.1")]) == 421


def test_a_check_over_http_1_0_sends_none() -> None:
    assert refused([]) is None


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"", b"same-origin, cross-site", b"no-such-word"])
def test_pages_of_other_origins(site: bytes) -> None:
    wanted = 403 if site else None
    assert refused([(b"Host", b"localhost"), (b"Sec-Fetch-Site", site)]) == wanted


@pytest.mark.parametrize("site", [b"same-origin", b"none"])
def test_its_own_page_and_the_user(site: bytes) -> None:
    assert refused([(b"Host", b"localhost"), (b"Sec-Fetch-Site", site)]) is None


def navigation(dest: bytes = b"document", mode: bytes = b"navigate", host: bytes = b"localhost") -> Headers:
    """What a browser sends that follows a link of another site."""
    return [(b"Host", host), (b"Sec-Fetch-Site", b"cross-site"), (b"Sec-Fetch-Mode", mode), (b"Sec-Fetch-Dest", dest)]


def test_a_link_in_a_chat_opens_the_dashboard() -> None:
    assert refused(navigation(), path="/") is None


@pytest.mark.parametrize(
    ("headers", "method", "path", "status"),
    [
        (navigation(), "GET", "/streams", 403),
        (navigation(), "GET", "/events", 403),
        (navigation(), "GET", "/metrics", 403),
        (navigation(), "GET", "/streams/0-aaaa-1", 403),
        (navigation(), "POST", "/", 403),
        (navigation(), "DELETE", "/", 403),
        (navigation(b"iframe"), "GET", "/", 403),
        (navigation(b"frame"), "GET", "/", 403),
        (navigation(b"object"), "GET", "/", 403),
        (navigation(b"empty", b"cors"), "GET", "/", 403),
        (navigation(b"script", b"no-cors"), "GET", "/", 403),
        (navigation(b"document", b"no-cors"), "GET", "/", 403),
        (navigation(host=b"evil.example"), "GET", "/", 421),
    ],
)
def test_a_link_opens_nothing_else(headers: Headers, method: str, path: str, status: int) -> None:
    assert refused(headers, method, path) == status
