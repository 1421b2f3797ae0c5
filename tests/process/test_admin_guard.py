"""Whom does the admin listener answer?"""

import pytest

from sseproxy.core.http.fields import Headers
from sseproxy.process.admin_guard import refusal

NAMES = frozenset({"sseproxy", "metrics.example"})


def refused(headers: Headers) -> int | None:
    found = refusal(headers, NAMES)
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
