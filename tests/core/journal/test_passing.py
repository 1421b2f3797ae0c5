"""Which credentials and positions reach the upstream of a route with a journal?"""

import pytest

from sseproxy.core.eventsource.policies import CookieAuth
from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.passing import passed_fields, passed_target
from sseproxy.core.journal.rules import JournalPolicy
from tests.support.journal_policies import answer, feed

OURS = b"AAAAAAAAAAA.1-57"
AUTH = CookieAuth("token")
TOKEN = (b"Authorization", b"Bearer x")


def cookies(*pairs: bytes) -> Headers:
    return [(b"Cookie", b"; ".join(pairs))]


ASKED: Headers = [
    (b"Accept", b"text/event-stream"),
    (b"authorization", b"Basic own"),
    (b"Proxy-Authorization", b"Basic own"),
    (b"X-Team", b"red"),
    *cookies(b"token=x", b' a = "1" ', b"A=2", b"b=3=4"),
    (b"User-Agent", b"x/1"),
    (b"COOKIE", b"c;d=5"),
]
PLAIN = [ASKED[0], ASKED[3], ASKED[5]]


def passed(policy: JournalPolicy, auth: CookieAuth | None = None, *, method: str = "GET") -> Headers:
    return passed_fields(ASKED, policy, auth, method=method)


# Credentials.


def test_what_is_for_anyone_is_asked_for_without_credentials() -> None:
    assert passed(feed()) == PLAIN
    assert passed(feed(), AUTH) == PLAIN
    assert passed(feed(key="query:a auth:user"), AUTH) == PLAIN


@pytest.mark.parametrize(
    ("login", "key", "cookie"),
    [
        ("cookie:a", "url", b'a = "1"'),
        ("", "cookie:a", b'a = "1"'),
        ("cookie:a cookie:b", "url", b'a = "1"; b=3=4'),
        ("cookie:b", "cookie:a", b'a = "1"; b=3=4'),
        ("cookie:d", "url", b"d=5"),
        ("cookie:token", "url", b"token=x"),
    ],
)
def test_cookies_that_are_named_go_on_as_they_came(login: str, key: str, cookie: bytes) -> None:
    assert passed(feed(login=login, key=key)) == [*PLAIN, (b"Cookie", cookie)]


def test_a_cookie_that_is_named_and_missing() -> None:
    assert passed(feed(login="cookie:none cookie:c")) == PLAIN


def test_a_field_that_is_named_goes_on() -> None:
    assert passed(feed(login="header:AUTHORIZATION")) == [ASKED[0], ASKED[1], *PLAIN[1:]]
    assert passed(feed(login="header:Cookie")) == [*PLAIN[:2], ASKED[4], PLAIN[2], ASKED[6]]
    assert passed(feed(login="header:X-Team")) == PLAIN


def test_the_cookie_of_the_login_becomes_the_header_of_the_route() -> None:
    """And not the header that the client has written itself, which its digest does not name."""
    assert passed(feed(login="cookie:token"), AUTH) == [*PLAIN, TOKEN]
    assert passed(feed(login="cookie:a"), AUTH) == [*PLAIN, (b"Cookie", b'a = "1"')]
    kept = CookieAuth("token", strip_cookie=False)
    assert passed(feed(login="cookie:token"), kept) == [*PLAIN, (b"Cookie", b"token=x"), TOKEN]


def test_the_header_of_the_route_may_be_named_and_come_as_the_cookie() -> None:
    policy = feed(login="header:Authorization")
    assert passed(policy, AUTH) == [ASKED[0], ASKED[1], *PLAIN[1:]]
    asked = [field for field in ASKED if field[0] != b"authorization"]
    assert passed_fields(asked, policy, AUTH, method="GET") == [*PLAIN, TOKEN]


def test_the_header_of_a_route_is_a_credential_in_each_spelling() -> None:
    auth = CookieAuth("token", header="X-Session")
    asked = [(b"x-session", b"1"), (b"X_Session", b"2"), (b"X-Other", b"3")]
    assert passed_fields(asked, feed(), auth, method="GET") == [(b"X-Other", b"3")]
    assert passed_fields(asked, feed(login="header:X-Session"), auth, method="GET") == [asked[0], asked[2]]


@pytest.mark.parametrize(
    ("policy", "method"), [(answer(), "POST"), (answer(), "GET"), (feed(), "HEAD"), (feed(), "POST")]
)
def test_what_one_client_gets_is_asked_for_with_all_that_it_says(policy: JournalPolicy, method: str) -> None:
    assert passed(policy, method=method) == ASKED
    asked = ASKED[3:]
    made = passed_fields(asked, policy, AUTH, method=method)
    assert [made[0], made[-1]] == [asked[0], TOKEN]


# Positions.


@pytest.mark.parametrize("policy", [feed(), answer()])
@pytest.mark.parametrize(
    ("value", "goes"),
    [(OURS, False), (b"oldest", False), (b"57", True), (b"1-57", True), (OURS + b"x", True), (b"", True)],
)
def test_a_position_of_ours_does_not_go_on(policy: JournalPolicy, value: bytes, goes: bool) -> None:
    for name in (b"Last-Event-ID", b"last_event_id"):
        fields = [(name, value), (b"X-Last-Event-ID", OURS)]
        assert passed_fields(fields, policy, None, method="GET") == fields[not goes :]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a", "/a"),
        ("/a?", "/a?"),
        ("/a?b=%41&c", "/a?b=%41&c"),
        ("/a?last-event-id=AAAAAAAAAAA.1-57", "/a"),
        ("/a?b=%2f&last-event-id=AAAAAAAAAAA.1-57&c=+", "/a?b=%2f&c=+"),
        ("/a?lastEventId=oldest&c", "/a?c"),
        ("/a?last_event%5fid=AAAAAAAAAAA%2E1-57&c", "/a?c"),
        ("/a?lastEventId=57&last-event-id=AAAAAAAAAAA.1-57", "/a?lastEventId=57"),
        ("/a?last-event-id=57", "/a?last-event-id=57"),
        ("/a?last-event-id", "/a?last-event-id"),
        ("/a?x=AAAAAAAAAAA.1-57", "/a?x=AAAAAAAAAAA.1-57"),
        ("/a?b?last-event-id=oldest", "/a?b?last-event-id=oldest"),
        ("*", "*"),
    ],
)
def test_a_position_of_ours_is_taken_off_the_target(target: str, expected: str) -> None:
    assert passed_target(target) == expected


def test_any_position_may_be_taken_off_the_target() -> None:
    assert passed_target("/a?b&last-event-id=57&lastEventId=AAAAAAAAAAA.1-57", None) == "/a?b"
    assert passed_target("/a?last-event-id=57", None) == "/a"
