"""Does `check --print` say what holds, in a form that can be read again, and never a secret?"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sseproxy.config import loader
from sseproxy.config.printing import printed
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.settings import Config
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Route
from sseproxy.core.stream.plan import StreamMode
from sseproxy.stores.redis.urls import RedisURL

ROOT = Path(__file__).parents[2]
FILES = [
    path for folder in ("config", "deploy", "examples", "nginx") for path in (ROOT / folder).rglob("sseproxy*.yaml")
]

#: What a file may hold that must not be shown, each in its place.
SECRETS = """\
store: {url: 'redis://app:secret-1@127.0.0.1:6379', secret: secret-2-long-enough}
routes:
  - match: {path: /a}
    authorize: {url: 'http://127.0.0.1:1/whoami?key=secret-3', take: {user: X-User}}
    redis: {stream: 'a:{auth:user}', url: 'redis://:secret-4@127.0.0.1'}
  - upstream: http://127.0.0.1:2
    end: {secret: secret-5-long-enough}
    headers:
      request:
        set: {X-Other: "${OTHER}", Authorization: Bearer secret-6, Key: secret-7, X-Team: blue, X-Via: Basic secret-9}
      response: {set: {Set-Cookie: a=secret-8}}
"""


def meaning(config: Config) -> Config:
    """What is left to compare: warnings are about the file, one URL of Redis can be written in several ways, and a
    route whose responses are not looked at, or whose events are not kept, may inherit what it cannot use.
    """

    def with_place(route: Route) -> Route:
        if route.stream is StreamMode.NEVER:
            route = replace(route, end=None, heartbeat=replace(route.heartbeat, before_response=None))
        unused, usual = route.limits, LimitPolicy()
        if route.journal is None:
            unused = replace(unused, detached=usual.detached, detached_per_client=usual.detached_per_client)
            route = replace(route, limits=unused if route.redis else replace(unused, event=usual.event))
        if route.redis is None:
            return route
        redis = replace(route.redis, url=RedisURL.parse(route.redis.url).place)
        return replace(route, redis=redis, auth=None if route.authorize is None else route.auth)

    store = replace(config.store, url=RedisURL.parse(config.store.url).place if config.store.url else "")
    return replace(config, warnings=(), store=store, routes=tuple(with_place(route) for route in config.routes))


def text_of(path: Path, environ: dict[str, str] | None = None) -> str:
    return printed(loader.check(path, flags={}, environ=environ or {}))


def means_the_same(path: Path, folder: Path) -> None:
    again = folder / "again.yaml"
    again.write_text(text_of(path), encoding="utf-8")
    expected = meaning(loader.load(path, flags={}, environ={}))
    assert meaning(loader.load(again, flags={}, environ={})) == expected
    # What has been printed once is printed the same again.
    assert text_of(again) == again.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_printed_means_the_same(path: Path, tmp_path: Path) -> None:
    means_the_same(path, tmp_path)


#: Each holds something that is written in more than one way, or that a route inherits and could not say itself.
FRAGMENTS = [
    "stream: never, heartbeat: {prelude: true}",
    "stream: {declared: {json: mode, equals: null}, kind: feed}",
    "stream: {declared: {json: mode, equals: streaming}}",
    "stream: {declared: {query: s}}",
    "end: {marker: {event: done}, only: marker}",
    "end: {marker: '[DONE]', event: {name: off, data: 'a ${X:-b}'}}",
    "end: off",
    "tickets: {bind: 'cookie:s', ttl: 90s}, auth: {cookie: s}",
    "cors: {origins: '*', expose: [X-A]}",
    "heartbeat: {interval: 1.5s, comment: 'yes', event: {name: 'null', data: '$${'}}",
    "timeouts: {idle: off, connect: 1h, write: 500ms}, limits: {streams: off, line: 1000}",
    "headers: {request: {set: {X-A: '1'}, remove: [X-B]}}",
    "rewrite: {strip_prefix: /a}",
    "journal: {kind: answer, reopen: off, stop: {path: '/s/{run}'}}, limits: {event: 2KiB, detached: off}",
    "journal: {kind: feed, login: anyone, keep: {events: off, age: 1.5s}, detach: end}",
    "journal: {kind: answer, key: ['header:X-A', url], login: 'cookie:a', again: join, resume: {path: '/r/{run}/x'}}",
    "journal: {kind: answer, key: 'body:a', login: ['cookie:a', 'header:b'], resume: {path: '/q/{key}'}, detach: off}",
]
DEFAULTS = [
    "",
    "end: {}",
    "heartbeat: {before_response: 10s}",
    "heartbeat: {json: 20s}",
    "cors: {origins: [https://a.example]}",
    "dialect: gemini",
    "limits: {event: 5KiB, detached: 3, detached_per_client: off}",
]
UPSTREAMS = ["http://127.0.0.1:9", "https://[::1]/x", "http+unix:///run/a.sock", "http+unix://%2Frun%2Fa.sock/v1"]


def written(defaults: str, fragments: list[tuple[int, str]]) -> str:
    routes = [
        f"  - {{match: {{prefix: /a/{number}}}, upstream: '{UPSTREAMS[number % len(UPSTREAMS)]}', {said}}}\n"
        for number, said in fragments
    ]
    return f"defaults: {{{defaults}}}\nroutes:\n{''.join(routes)}"


@pytest.mark.parametrize("defaults", DEFAULTS)
def test_whatever_a_route_says(defaults: str, tmp_path: Path) -> None:
    path, fragments = tmp_path / "c.yaml", list(enumerate(FRAGMENTS))
    path.write_text(written(defaults, fragments))
    try:
        loader.check(path, flags={}, environ={})
    except ConfigErrors as errors:
        # A route that cannot be combined with these defaults is no configuration.
        wrong = {int(number) for number in re.findall(r"routes\[(\d+)\]", str(errors))}
        fragments = [said for said in fragments if said[0] not in wrong]
        path.write_text(written(defaults, fragments))
    assert len(fragments) >= len(FRAGMENTS) - 2
    means_the_same(path, tmp_path)


def test_a_channel_and_a_short_drain(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "server: {drain: {timeout: 2s}, listen: [':0', {unix: /tmp/x.sock, mode: '0660', trust: false}]}\n"
        "defaults: {heartbeat: {before_response: 5s}, end: {}, auth: {cookie: a}}\n"
        "routes: [{redis: {url: 'redis://h', channel: [a, b], format: flask-sse}}]\n"
    )
    means_the_same(path, tmp_path)
    assert text_of(path).startswith("# drain: 2s in all ")


def test_the_delay_is_added_to_the_drain(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "server: {drain: {delay: 5s, timeout: 20s}}\n"
        "defaults: {timeouts: {connect_retry: 30s}}\n"
        "routes:\n"
        "  - {match: {path: /a}, redis: {url: 'redis://h', channel: a}, authorize: {url: 'http://a'}}\n"
        "  - {match: {path: /b}, redis: {url: 'redis://h', channel: b}}\n"
        "  - {upstream: 'http://a'}\n"
    )
    means_the_same(path, tmp_path)
    text = text_of(path)
    assert text.startswith("# drain: 25s in all (server.drain.delay: 5s + server.drain.timeout: 20s). ")
    assert text.count("connect_retry: 30s") == 2


def test_what_follows_from_the_kind_of_a_journal_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "store: {file: runs}\n"
        "routes:\n"
        "  - {match: {path: /a}, name: a, upstream: 'http://a', journal: {kind: feed, login: anyone}}\n"
        "  - {upstream: 'http://b'}\n"
    )
    means_the_same(path, tmp_path)
    text = text_of(path)
    for shown in (
        "key:\n    - url",
        "login: anyone",
        "events: 1000",
        "bytes: 4MiB",
        "path: /_runs/a/{run}",
        "file: runs",
    ):
        assert shown in text
    # A route without a journal could not say them itself.
    assert text.count("detached: 1000") == text.count("event: 1MiB") == 1


def test_no_limit_for_the_drain(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("server: {drain: {timeout: off}}\nroutes: [{upstream: 'http://a'}]\n")
    assert text_of(path).startswith("# drain: waits for the last stream")


def test_secrets_are_masked(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SECRETS)
    text = text_of(path, {"OTHER": "secret-10"})
    assert "secret-" not in text
    for shown in (
        "redis://***@127.0.0.1:6379",
        "redis://***@127.0.0.1",
        "whoami?key=***",
        "X-Team: blue",
        "Authorization: '***'",
        "X-Other: '***'",
    ):
        assert shown in text


def test_variables_are_shown_where_they_are_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("routes: [{upstream: '${URL}'}]\n")
    text = text_of(path, {"URL": "http://app:1", "SSEPROXY_HEARTBEAT": "3s"})
    assert "upstream: http://app:1" in text
    assert "interval: 3s" in text
