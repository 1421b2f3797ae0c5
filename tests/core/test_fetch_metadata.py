"""What does a browser tell about a request? (W3C Fetch Metadata)"""

import pytest

from sseproxy.core.eventsource.fetch_metadata import is_cross_origin, is_navigation, tells_site
from sseproxy.core.http.fields import Headers

SITE, MODE, DEST = b"Sec-Fetch-Site", b"sec-fetch-mode", b"SEC-FETCH-DEST"


@pytest.mark.parametrize(
    ("values", "tells", "other"),
    [
        ([], False, False),
        ([b""], False, False),
        ([b"same-origin"], True, False),
        ([b"None"], True, False),
        ([b"same-origin;x=1"], True, False),
        ([b"same-site"], True, True),
        ([b"cross-site"], True, True),
        ([b"odd"], True, True),
        ([b"same-origin, cross-site"], True, True),
        ([b"none", b"same-site"], True, True),
    ],
)
def test_whose_page_it_is(values: list[bytes], tells: bool, other: bool) -> None:
    headers = [(SITE, value) for value in values]
    assert tells_site(headers) is tells
    assert is_cross_origin(headers) is other


@pytest.mark.parametrize(
    ("method", "headers", "navigates"),
    [
        ("GET", [(MODE, b"navigate")], True),
        ("HEAD", [(MODE, b"Navigate")], True),
        ("GET", [(MODE, b"navigate"), (DEST, b"document")], True),
        ("GET", [(MODE, b"navigate"), (DEST, b"iframe")], True),
        ("GET", [(MODE, b"navigate"), (DEST, b"object")], False),
        ("GET", [(MODE, b"navigate"), (DEST, b"embed")], False),
        ("POST", [(MODE, b"navigate"), (DEST, b"document")], False),
        ("GET", [(MODE, b"navigate"), (MODE, b"no-cors")], False),
        ("GET", [(MODE, b"no-cors"), (DEST, b"image")], False),
        ("GET", [(DEST, b"document")], False),
        ("GET", [], False),
    ],
)
def test_what_a_navigation_is(method: str, headers: Headers, navigates: bool) -> None:
    assert is_navigation(method, headers) is navigates
