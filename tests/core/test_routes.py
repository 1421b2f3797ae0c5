"""Does a request find its route, and its target arrive upstream as it was sent?"""

import pytest

from sseproxy.core.http.paths import has_prefix
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.journal.templates import Template
from sseproxy.core.routes import (
    Match,
    Route,
    Upstream,
    bare_host,
    find_route,
    split_target,
)


def route(name: str = "r", match: Match = Match(), base: str = "", strip: str | None = None) -> Route:  # noqa: B008 - frozen
    return Route(name, Upstream("http", "127.0.0.1", 9000, base_path=base), match, strip_prefix=strip)


@pytest.mark.parametrize(
    ("path", "prefix", "matches"),
    [
        ("/api", "/api", True),
        ("/api/", "/api", True),
        ("/api/x", "/api", True),
        ("/api/x", "/api/", True),
        ("/api", "/api/", True),
        ("/apix", "/api", False),
        ("/ap", "/api", False),
        ("/API", "/api", False),
        ("/%61pi", "/api", False),
        ("//api", "/api", False),
        ("/", "/", True),
        ("/anything", "/", True),
        ("/anything", "", True),
        ("*", "/", True),
    ],
)
def test_prefixes_go_by_whole_segments(path: str, prefix: str, matches: bool) -> None:
    assert has_prefix(path, prefix) is matches


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        (Match(), True),
        (Match(path="/a/b"), True),
        (Match(path="/a"), False),
        (Match(path="/a/b/"), False),
        (Match(prefix="/a"), True),
        (Match(methods=frozenset({"POST"})), True),
        (Match(methods=frozenset({"GET", "HEAD"})), False),
        (Match(host="api.example.com"), True),
        (Match(host="www.example.com"), False),
        (Match(prefix="/a", methods=frozenset({"POST"}), host="api.example.com"), True),
        (Match(prefix="/a", methods=frozenset({"POST"}), host="example.com"), False),
    ],
)
def test_all_that_is_named_must_match(match: Match, matches: bool) -> None:
    assert match.matches(method="POST", path="/a/b", host="api.example.com") is matches


def test_the_first_route_that_matches_wins() -> None:
    routes = [route("one", Match(path="/x")), route("two", Match(prefix="/")), route("three", Match(path="/y"))]
    assert [
        found.name for path in ("/x", "/y") if (found := find_route(routes, method="GET", path=path, host="h"))
    ] == [
        "one",
        "two",
    ]
    assert find_route(routes[:1], method="GET", path="/y", host="h") is None
    assert find_route([], method="GET", path="/", host="") is None


@pytest.mark.parametrize("host", ["api.example.com", "API.Example.COM", "api.example.com:8443"])
def test_a_host_matches_in_any_case_and_with_any_port(host: str) -> None:
    assert find_route([route(match=Match(host="api.example.com"))], method="GET", path="/", host=host) is not None


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("a:80", "a"),
        ("A", "a"),
        ("", ""),
        ("[::1]:80", "[::1]"),
        ("[FE80::1]", "[fe80::1]"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("A.test.:80", "a.test"),
        ("a.test.", "a.test"),
        ("%61.t%45st", "a.test"),
        ("[0:0::1]", "[::1]"),
        ("[::z]", "[::z]"),
    ],
)
def test_the_host_without_its_port(authority: str, host: str) -> None:
    assert bare_host(authority) == host


VERBATIM = ["/", "/a%2Fb", "/a;p=1", "//double//slash", "/a+b?c+d", "/x?", "/?", "/x?a=1&b=%20", "/..%2f", "/é", "*"]


@pytest.mark.parametrize("target", VERBATIM)
def test_a_target_goes_upstream_verbatim(target: str) -> None:
    assert route().upstream_target(target) == target


@pytest.mark.parametrize(
    ("strip", "base", "target", "upstream"),
    [
        (None, "/v1", "/x?y=1", "/v1/x?y=1"),
        ("/api", "", "/api", "/"),
        ("/api", "", "/api/", "/"),
        ("/api/", "", "/api/x", "/x"),
        ("/api", "", "/api/x?", "/x?"),
        ("/api", "", "/api?q", "/?q"),
        ("/api", "", "/apix", "/apix"),
        ("/api", "", "/other", "/other"),
        ("/api", "", "/api//x", "//x"),
        ("/api", "/base", "/api/a%2Fb", "/base/a%2Fb"),
        ("/", "", "/x", "/x"),
        ("/api", "/base", "*", "*"),
    ],
)
def test_the_prefix_is_taken_off_and_the_base_put_on(strip: str | None, base: str, target: str, upstream: str) -> None:
    assert route(base=base, strip=strip).upstream_target(target) == upstream


@pytest.mark.parametrize("target", VERBATIM)
def test_path_and_query_together_are_the_target(target: str) -> None:
    path, query = split_target(target)
    assert path + query == target
    assert "?" not in path
    assert query == "" or query.startswith("?")


@pytest.mark.parametrize(
    ("upstream", "authority"),
    [
        (Upstream("http", "a", 80), "a"),
        (Upstream("http", "a", 443), "a:443"),
        (Upstream("https", "a", 443), "a"),
        (Upstream("https", "a", 80), "a:80"),
        (Upstream("http", "::1", 9000), "[::1]:9000"),
        (Upstream("http", "::1", 80), "[::1]"),
        (Upstream("http+unix", socket_path="/run/a.sock"), "localhost"),
    ],
)
def test_the_host_field_for_an_upstream(upstream: Upstream, authority: str) -> None:
    assert upstream.authority == authority


def test_a_route_leads_to_an_upstream_or_to_redis() -> None:
    policy = RedisPolicy(channels=(Template.parse("news"),))
    for ends in ({}, {"upstream": Upstream("http", "u"), "redis": policy}):
        with pytest.raises(ValueError, match="an upstream or to Redis"):
            Route("r", **ends)  # type: ignore[arg-type]
    assert Route("r", redis=policy).admits("/a/../b")
