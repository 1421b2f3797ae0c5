"""Which Redis URLs are understood, and do errors and reprs keep passwords to themselves?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.stores.redis.urls import Kind, RedisURL

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://127.0.0.1", RedisURL(Kind.SERVER, (("127.0.0.1", 6379),))),
        ("redis://cache:7000/3", RedisURL(Kind.SERVER, (("cache", 7000),), database=3)),
        ("redis://cache/?db=3", RedisURL(Kind.SERVER, (("cache", 6379),), database=3)),
        ("redis://[::1]:7000/", RedisURL(Kind.SERVER, (("::1", 7000),))),
        ("redis://[::1]", RedisURL(Kind.SERVER, (("::1", 6379),))),
        ("redis://:pa%40ss@h", RedisURL(Kind.SERVER, (("h", 6379),), password="pa@ss")),
        ("redis://me:a:b@h", RedisURL(Kind.SERVER, (("h", 6379),), username="me", password="a:b")),
        (
            "rediss://h/1?ssl_ca_certs=/etc/ca.pem",
            RedisURL(
                Kind.TLS_SERVER, (("h", 6379),), database=1, is_tls=True, options=(("ssl_ca_certs", "/etc/ca.pem"),)
            ),
        ),
        ("redis+unix:///run/r%20.sock?db=2", RedisURL(Kind.UNIX, path="/run/r .sock", database=2)),
        ("redis+unix://:pw@/run/r.sock", RedisURL(Kind.UNIX, path="/run/r.sock", password="pw")),
        (
            "redis+sentinel://a:1,[::1],c/main/4",
            RedisURL(Kind.SENTINEL, (("a", 1), ("::1", 26379), ("c", 26379)), service="main", database=4),
        ),
        ("redis+sentinel://a/main?ssl=true", RedisURL(Kind.SENTINEL, (("a", 26379),), service="main", is_tls=True)),
        ("redis+cluster://a:1,b", RedisURL(Kind.CLUSTER, (("a", 1), ("b", 6379)))),
        ("redis+cluster://a/0", RedisURL(Kind.CLUSTER, (("a", 6379),))),
    ],
)
def test_the_five_forms(text: str, expected: RedisURL) -> None:
    assert RedisURL.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"http://:{SECRET}@h", "must begin with"),
        (f"{SECRET}", "must begin with"),
        (f"redis:{SECRET}@h", "must begin with"),
        (f"redis://:{SECRET}/x@h", "%2F"),
        (f"redis://:{SECRET}#x@h", "%23"),
        (f"redis://:{SECRET}@x@h", "%40"),
        (f"redis://:{SECRET} @h", "percent-encoded"),
        (f"redis://:{SECRET}é@h", "percent-encoded"),
        (f"redis://:{SECRET}@", "a host is"),
        (f"redis://:{SECRET}@h:0", "a port is"),
        (f"redis://:{SECRET}@h:65536", "a port is"),
        (f"redis://:{SECRET}@h:99999999999", "a port is"),
        (f"redis://:{SECRET}@h:x", "a port is"),
        (f"redis://:{SECRET}@::1", "in brackets"),
        (f"redis://:{SECRET}@a,b", "several hosts"),
        (f"redis://:{SECRET}@h/x", "a database is a number"),
        (f"redis://:{SECRET}@h/1/2", "the path is"),
        (f"redis://:{SECRET}@h/1?db=2", "stands twice"),
        (f"redis://h?password={SECRET}", "the options of redis://"),
        (f"redis://h?{SECRET}=1", "the options of redis://"),
        ("rediss://h?ssl_ca_certs=", "each with a value"),
        ("rediss://h?ssl_ca_certs=a&ssl_ca_certs=b", "twice"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("redis+unix://h/run/r.sock", "absolute"),
        ("redis+unix://", "is missing"),
        ("redis+sentinel://a", "name of the master"),
        ("redis+sentinel://a/main?ssl_ca_certs=x", "ssl=true"),
        ("redis+cluster://a/1", "no databases"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        RedisURL.parse(text)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("form", ["redis://{}@h:1/2", "redis+unix://{}@/r.sock?db=1", "redis+sentinel://{}@a,b/m"])
def test_no_secret_is_shown(form: str) -> None:
    url = RedisURL.parse(form.format(f"me:{SECRET}"))
    assert url.password == SECRET
    for shown in (repr(url), str(url), url.place, f"{url}"):
        assert SECRET not in shown
        assert "me" not in shown


@given(st.text(alphabet="redis+unixsentlcu:/@?#[],.%0123456789=&", max_size=60))
def test_anything_else_is_a_value_error(text: str) -> None:
    for scheme in ("", "redis://", "rediss://", "redis+unix://", "redis+sentinel://", "redis+cluster://"):
        try:
            url = RedisURL.parse(scheme + text)
        except ValueError:
            continue
        assert all(0 < port < 65536 and host for host, port in url.hosts)
        assert bool(url.path) != bool(url.hosts)
