"""What does `authorize` mean, once it has been read?"""

from pathlib import Path

import pytest

from sseproxy.core.routes import AuthorizePolicy, Upstream
from tests.config.reading import read

CONFIRMED = "dialect: auto, timeouts: {response: 15m, idle: auto}"


def policy(section: str, folder: Path, **environ: str) -> AuthorizePolicy | None:
    text = f"routes: [{{upstream: 'http://u:1', {CONFIRMED}, authorize: {section}}}]"
    return read(text, folder, environ=environ).routes[0].authorize


@pytest.mark.parametrize(
    ("url", "upstream", "target"),
    [
        ("http://a", Upstream("http", "a", 80), "/"),
        ("http://a:81/", Upstream("http", "a", 81), "/"),
        ("https://a/x/y", Upstream("https", "a", 443), "/x/y"),
        ("http://a/x/", Upstream("http", "a", 80), "/x/"),
        ("http://[::1]:81/x", Upstream("http", "::1", 81), "/x"),
        ("http://a?x=y", Upstream("http", "a", 80), "/?x=y"),
        ("http://a/x?", Upstream("http", "a", 80), "/x?"),
        ("http://a/x?y=http://b?c", Upstream("http", "a", 80), "/x?y=http://b?c"),
        ("http+unix:///run/x.sock", Upstream("http+unix", socket_path="/run/x.sock"), "/"),
        ("http+unix://%2Frun%2Fx.sock", Upstream("http+unix", socket_path="/run/x.sock"), "/"),
        ("http+unix://%2Frun%2Fx.sock/y/?z", Upstream("http+unix", socket_path="/run/x.sock"), "/y/?z"),
    ],
)
def test_where_it_asks(url: str, upstream: Upstream, target: str, folder: Path) -> None:
    assert policy(f"{{url: '{url}'}}", folder) == AuthorizePolicy(upstream, target)


def test_what_it_says(folder: Path) -> None:
    section = "{url: 'http://a', take: {user: x-user, 'a_1-b': X_Org}, cache: 1m, timeout: 500ms}"
    asked = policy(section, folder)
    assert asked == AuthorizePolicy(Upstream("http", "a", 80), "/", (("user", "x-user"), ("a_1-b", "X_Org")), 60.0, 0.5)
    assert asked.taken == {b"x-user", b"x-org"}


def test_it_may_come_from_the_environment(folder: Path) -> None:
    asked = policy("{url: '${URL}', cache: '${CACHE:-off}'}", folder, URL="http://a/x")
    assert asked == AuthorizePolicy(Upstream("http", "a", 80), "/x")


def test_it_is_not_inherited(folder: Path) -> None:
    text = "routes: [{match: {path: /a}, upstream: 'http://u', authorize: {url: 'http://a'}}, {upstream: 'http://u'}]"
    assert read(text, folder).routes[1].authorize is None


@pytest.mark.parametrize(("cache", "warned"), [("off", []), ("5s", ["c.yaml:1:125"])])
def test_a_cache_is_warned_of(cache: str, warned: list[str], folder: Path) -> None:
    text = f"routes: [{{upstream: 'http://u:1', {CONFIRMED}, authorize: {{url: 'http://a', cache: {cache}}}}}]"
    said = [str(warning) for warning in read(text, folder).warnings]
    assert [line.partition(": ")[0] for line in said] == warned
    for line in said:
        assert "routes[0].authorize.cache: warning: only credentials are compared" in line
