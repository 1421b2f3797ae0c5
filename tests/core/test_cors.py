"""What may a page of which origin do? (Fetch standard, CORS protocol)"""

import pytest

from sseproxy.core.eventsource.cors import CrossOrigin, is_foreign, preflight_method
from sseproxy.core.eventsource.policies import CorsPolicy
from sseproxy.core.http.fields import Headers

ONE = CorsPolicy(frozenset({"https://app.test", "null", "http://[::1]:8080"}))
WITH_COOKIES = CorsPolicy(frozenset({"https://app.test"}), credentials=True)
ALL = CorsPolicy(frozenset({"*"}))

APP = [(b"Origin", b"https://app.test")]
FOREIGN = [(b"Origin", b"https://evil.test")]

EXPOSED = (b"Access-Control-Expose-Headers", b"Location, Content-Location, Retry-After")


def response(policy: CorsPolicy, request: Headers, upstream: Headers) -> Headers:
    return CrossOrigin.of(policy, request).response_fields(upstream)


def preflight(policy: CorsPolicy, request: Headers) -> dict[bytes, bytes]:
    fields = CrossOrigin.of(policy, request).preflight_fields(request)
    assert len(dict(fields)) == len(fields)
    return dict(fields)


@pytest.mark.parametrize(
    ("method", "headers", "wanted"),
    [
        ("OPTIONS", [*APP, (b"access-control-request-method", b"POST")], "POST"),
        ("OPTIONS", [(b"ORIGIN", b"null"), (b"Access-Control-Request-Method", b"patch")], "patch"),
        ("GET", [*APP, (b"Access-Control-Request-Method", b"POST")], None),
        ("OPTIONS", APP, None),
        ("OPTIONS", [(b"Access-Control-Request-Method", b"POST")], None),
        ("OPTIONS", [*APP, (b"Access-Control-Request-Method", b"")], None),
        ("OPTIONS", [*APP, (b"Access-Control-Request-Method", b"GET, POST")], None),
        ("OPTIONS", [*APP, (b"Access-Control-Request-Method", b"G\xffT")], None),
    ],
)
def test_what_a_preflight_is(method: str, headers: Headers, wanted: str | None) -> None:
    assert preflight_method(method, headers) == wanted


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([b"https://app.test"], True),
        ([b"null"], True),
        ([b"http://[::1]:8080"], True),
        ([b"https://APP.test"], False),
        ([b"https://app.test:443"], False),
        ([b"https://app.test:8443"], False),
        ([b"http://app.test"], False),
        ([b"https://app.test.evil.test"], False),
        ([b"https://app.test/"], False),
        ([b"*"], False),
        ([b""], False),
        ([], False),
        ([b"https://app.test", b"https://app.test"], False),
        ([b"https://app.test, https://evil.test"], False),
    ],
)
def test_who_is_allowed(origins: list[bytes], allowed: bool) -> None:
    assert CrossOrigin.of(ONE, [(b"Origin", origin) for origin in origins]).is_allowed is allowed


def test_every_origin_is_allowed() -> None:
    assert CrossOrigin.of(ALL, FOREIGN).is_allowed
    assert not CrossOrigin.of(ALL, []).is_allowed


# Responses.


def test_an_allowed_origin_is_named() -> None:
    vary, allowed = (b"Vary", b"Origin"), (b"Access-Control-Allow-Origin", b"https://app.test")
    assert response(ONE, APP, [(b"A", b"1")]) == [(b"A", b"1"), vary, allowed, EXPOSED]
    credentials = (b"Access-Control-Allow-Credentials", b"true")
    assert response(WITH_COOKIES, APP, []) == [vary, allowed, credentials, EXPOSED]


@pytest.mark.parametrize("request_headers", [FOREIGN, [], [*APP, *APP]])
def test_nobody_else_is_named_but_caches_are_told(request_headers: Headers) -> None:
    for policy in (ONE, WITH_COOKIES):
        assert response(policy, request_headers, [(b"A", b"1")]) == [(b"A", b"1"), (b"Vary", b"Origin")]


@pytest.mark.parametrize("request_headers", [APP, FOREIGN, []])
def test_the_answer_for_all_is_one_that_may_be_cached_for_all(request_headers: Headers) -> None:
    assert response(ALL, request_headers, []) == [(b"Access-Control-Allow-Origin", b"*"), EXPOSED]


SAID = [
    (b"access-control-allow-origin", b"*"),
    (b"Access-Control-Allow-Credentials", b"true"),
    (b"Access-Control-Allow-Methods", b"PUT"),
    (b"Access-Control-Allow-Headers", b"X"),
    (b"Access-Control-Max-Age", b"5"),
    (b"Access-Control-Expose-Headers", b"X-A, location"),
    (b"access-control-expose-headers", b"X-B"),
    (b"Access-Control-Other", b"x"),
]


def test_the_word_of_the_upstream_is_replaced() -> None:
    assert response(ONE, APP, SAID) == [
        (b"Access-Control-Other", b"x"),
        (b"Vary", b"Origin"),
        (b"Access-Control-Allow-Origin", b"https://app.test"),
        (b"Access-Control-Expose-Headers", b"X-A, location, X-B, Content-Location, Retry-After"),
    ]
    assert response(ONE, FOREIGN, SAID) == [(b"Access-Control-Other", b"x"), (b"Vary", b"Origin")]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], [b"Origin"]),
        ([b"Accept-Encoding"], [b"Accept-Encoding, Origin"]),
        ([b"Accept-Encoding", b"Cookie"], [b"Accept-Encoding, Cookie, Origin"]),
        ([b"accept, ORIGIN"], [b"accept, ORIGIN"]),
        ([b""], [b"Origin"]),
        ([b"*"], [b"*"]),
        ([b"Accept", b"*"], [b"Accept", b"*"]),
    ],
)
def test_vary_is_merged(said: list[bytes], wanted: list[bytes]) -> None:
    fields = response(ONE, FOREIGN, [(b"vary", value) for value in said])
    assert [value for name, value in fields if name.lower() == b"vary"] == wanted


# Preflights.


def test_what_a_preflight_asks_for_is_allowed() -> None:
    asked = [
        *APP,
        (b"Access-Control-Request-Method", b"POST"),
        (b"Access-Control-Request-Headers", b"authorization,content-type"),
    ]
    assert preflight(ONE, asked) == {
        b"Access-Control-Allow-Origin": b"https://app.test",
        b"Access-Control-Allow-Methods": b"POST",
        b"Access-Control-Allow-Headers": b"authorization, content-type",
        b"Access-Control-Max-Age": b"600",
        b"Vary": b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    assert preflight(WITH_COOKIES, asked)[b"Access-Control-Allow-Credentials"] == b"true"
    assert preflight(ALL, asked)[b"Access-Control-Allow-Origin"] == b"*"
    assert preflight(ALL, asked)[b"Vary"] == b"Access-Control-Request-Method, Access-Control-Request-Headers"


def test_only_names_of_headers_are_echoed() -> None:
    asked = [*APP, (b"Access-Control-Request-Method", b"GET"), (b"Access-Control-Request-Headers", b"x y, X-A,\xff, ,")]
    assert preflight(ONE, asked)[b"Access-Control-Allow-Headers"] == b"x-a"
    assert b"Access-Control-Allow-Headers" not in preflight(ONE, [*asked[:2]])


def test_what_the_route_exposes_joins_what_the_upstream_does() -> None:
    policy = CorsPolicy(frozenset({"https://app.test"}), expose=("Mcp-Session-Id", "x-a"))
    fields = response(policy, APP, [(b"Access-Control-Expose-Headers", b"X-A, X-B")])
    assert (
        dict(fields)[b"Access-Control-Expose-Headers"]
        == b"X-A, X-B, Location, Content-Location, Retry-After, Mcp-Session-Id"
    )
    assert b"Access-Control-Expose-Headers" not in dict(response(policy, FOREIGN, []))


# What another origin's page has brought about.

HOSTS = [b"api.test", b"own.test:8443", b"[::1]:80", b""]


def site(*values: bytes) -> Headers:
    return [(b"sec-fetch-site", value) for value in values]


def origin(*values: bytes) -> Headers:
    return [(b"ORIGIN", value) for value in values]


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ([], False),
        (site(b"cross-site"), True),  # an image, a script, a fetch in mode no-cors: without Origin
        (site(b"same-site"), True),
        (site(b"same-origin"), False),
        (site(b"none"), False),
        (site(b""), False),
        (origin(b"https://evil.test"), True),
        (origin(b"https://evil.test", b"https://api.test"), True),
        (origin(b"https://api.test", b"https://api.test"), True),
        (origin(b"null"), True),
        (origin(b""), True),
        (origin(b"https://api.test"), False),
        (origin(b"https://API.test:443"), False),
        (origin(b"http://api.test:80"), False),
        (origin(b"https://api.test:80"), True),
        (origin(b"https://api.test:8443"), True),
        (origin(b"https://own.test:8443"), False),
        (origin(b"https://own.test"), True),
        (origin(b"http://[::1]"), False),
        (origin(b"https://api.test.evil.test"), True),
        (origin(b"api.test"), True),
        # The browser's own word counts, where there is one: whoever is in between may have changed the host.
        (origin(b"https://evil.test") + site(b"same-origin"), False),
        (origin(b"https://evil.test") + site(b"none"), False),
        (origin(b"https://api.test") + site(b"same-site"), True),
        (origin(b"https://api.test") + site(b"cross-site"), True),
        (origin(b"https://api.test") + site(b"odd"), True),
        (origin(b"https://api.test") + site(b"same-origin", b"cross-site"), True),
    ],
)
@pytest.mark.parametrize("policy", [None, ONE])
def test_whose_doing_a_request_is(headers: Headers, foreign: bool, policy: CorsPolicy | None) -> None:
    allowed = policy is not None and headers[:1] == origin(b"null")
    assert is_foreign(headers, policy, hosts=HOSTS, logs_in=False) is (foreign and not allowed)
    assert is_foreign(headers, policy, hosts=HOSTS, logs_in=True) is foreign


@pytest.mark.parametrize("where", [b"same-site", b"cross-site"])
def test_who_is_named_is_not_foreign(where: bytes) -> None:
    for policy in (ONE, WITH_COOKIES):
        assert not is_foreign(APP + site(where), policy, hosts=HOSTS, logs_in=True)
        assert is_foreign(FOREIGN + site(where), policy, hosts=HOSTS, logs_in=False)


def test_whoever_it_is_may_come_but_is_not_logged_in() -> None:
    assert not is_foreign(FOREIGN, ALL, hosts=HOSTS, logs_in=False)
    assert is_foreign(FOREIGN, ALL, hosts=HOSTS, logs_in=True)
    assert not is_foreign(origin(b"https://api.test"), ALL, hosts=HOSTS, logs_in=True)
