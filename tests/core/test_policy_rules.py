"""Which values of one policy, or of a route, cannot stand together? YAML and the options of the middlewares ask."""

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy
from sseproxy.core.http.fields import HeaderRules, belongs_to_connection
from sseproxy.core.limits import MINIMUM_LINE, LimitPolicy
from sseproxy.core.routes import Match
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndPolicy, EndsAt


@pytest.mark.parametrize(
    ("first", "second", "covers"),
    [
        (Match(), Match(path="/a"), True),
        (Match(prefix="/a"), Match(path="/a/b"), True),
        (Match(prefix="/a"), Match(prefix="/ab"), False),
        (Match(path="/a"), Match(path="/a"), True),
        (Match(path="/a"), Match(prefix="/a"), False),
        (Match(methods=frozenset(("GET", "POST"))), Match(methods=frozenset(("GET",))), True),
        (Match(methods=frozenset(("GET",))), Match(), False),
        (Match(host="a.test"), Match(host="b.test"), False),
    ],
)
def test_what_a_match_covers(first: Match, second: Match, covers: bool) -> None:
    assert first.covers(second) is covers


def test_how_paths_can_begin_and_where_they_are() -> None:
    assert Match(prefix="/a/b").can_begin_with("/a")
    assert Match(prefix="/a").can_begin_with("/a/b")
    assert not Match(path="/a").can_begin_with("/a/b")
    assert Match(path="/t/x").is_below("/t")
    assert not Match().is_below("/")


def test_fields_that_rules_name() -> None:
    rules = HeaderRules(set=(("X-A", "1"), ("x-a", "2")))
    assert [rules.first_spelling(name) for name in ("x-a", "X-B")] == ["X-A", None]
    assert belongs_to_connection("Content-Length")
    assert belongs_to_connection("TE")
    assert not belongs_to_connection("Content-Type")


@pytest.mark.parametrize("name", ["Cookie", "Connection", "X-Forwarded-For", "Last-Event-ID"])
def test_a_cookie_becomes_no_field_that_the_proxy_goes_by(name: str) -> None:
    assert CookieAuth("sid", name).is_header_reserved
    assert not CookieAuth("sid").is_header_reserved


def test_what_credentials_forbid() -> None:
    assert CorsPolicy(frozenset("*"), credentials=True).too_open_for_credentials == "*"
    assert CorsPolicy(frozenset(("null", "https://a")), credentials=True).too_open_for_credentials == "null"
    assert CorsPolicy(frozenset("*")).too_open_for_credentials is None
    assert CorsPolicy(frozenset(("https://a",)), credentials=True, expose=("*",)).exposes_a_star
    assert CorsPolicy(frozenset("*"), expose=("X-A", "Set-Cookie")).unreadable == ("Set-Cookie",)


def test_ends_that_do_nothing() -> None:
    assert EndPolicy().does_nothing
    assert not EndPolicy(marker=Marker(data="x")).does_nothing
    assert EndPolicy(secret="a secret that signs no id").signs_nothing
    assert EndPolicy(only=EndsAt.MARKER).lacks_marker(Dialect.GENERIC)
    assert not EndPolicy(only=EndsAt.MARKER).lacks_marker(Dialect.ANTHROPIC)


def test_a_line_has_room_for_the_name_of_a_field() -> None:
    assert LimitPolicy(line=MINIMUM_LINE - 1).is_line_too_short
    assert not LimitPolicy(line=MINIMUM_LINE).is_line_too_short
