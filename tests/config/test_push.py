"""What becomes of the keys of a route that is served from Redis?"""

import sys
from pathlib import Path

import pytest

from sseproxy.config.loader import load
from sseproxy.config.push import StoreSection
from sseproxy.config.push_values import masked_url
from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.policy import Format, RedisPolicy, Start
from sseproxy.core.journal.templates import Template
from sseproxy.core.limits import KIB
from sseproxy.core.store import StorePolicy
from sseproxy.core.stream.plan import StreamKind, StreamMode
from tests.config.reading import complaints, read

URL = "redis://:geheimnis@127.0.0.1:6379/1"

FULL = f"""\
store: {{url: '{URL}', prefix: a-b, secret: sixteen characters, timeout: 500ms, memory: 1MiB}}
defaults:
  stream: never
  end: {{}}
  heartbeat: {{before_response: 5s, json: 3s}}
  timeouts: {{idle: 5m, response: 4s, write: 7s}}
routes:
  - match: {{path: /inbox, methods: [GET]}}
    authorize: {{url: 'http://a:1/who', take: {{user: X-User}}}}
    redis: {{stream: ['inbox:{{auth:user}}', news], format: json, start: oldest, gap: {{event: {{name: lost}}}}}}
    limits: {{event: 2KiB}}
  - {{match: {{path: /push}}, redis: {{url: 'redis://10.0.0.1', channel: 'a', format: flask-sse}}}}
"""


def test_a_route_is_served_from_streams(folder: Path) -> None:
    config = read(FULL, folder)
    route = config.routes[0]
    assert route.redis == RedisPolicy(
        streams=(Template.parse("inbox:{auth:user}"), Template.parse("news")),
        format=Format.JSON,
        start=Start.OLDEST,
        gap=GapPolicy("lost"),
        url=URL,
        place="redis://127.0.0.1:6379/1",
    )
    assert (route.upstream, route.leads_to) == (None, "redis://127.0.0.1:6379/1")
    assert route.authorize is not None
    assert route.limits.event == 2 * KIB
    assert config.store == StorePolicy("sixteen characters", 1024 * KIB, URL, "a-b", 0.5)


def test_a_route_is_served_from_channels_of_a_redis_of_its_own(folder: Path) -> None:
    policy = read(FULL, folder).routes[1].redis
    assert policy == RedisPolicy(
        channels=(Template.parse("a"),),
        format=Format.FLASK_SSE,
        url="redis://10.0.0.1",
        place="redis://10.0.0.1:6379",
    )


def test_what_is_inherited_for_upstreams_has_no_effect(folder: Path) -> None:
    route = read(FULL, folder).routes[0]
    assert (route.stream, route.kind, route.end) == (StreamMode.AUTO, StreamKind.FEED, None)
    assert route.heartbeat.json is None
    assert (route.heartbeat.before_response, route.timeouts.idle, route.timeouts.write) == (None, None, 7.0)


def test_a_url_comes_from_the_environment(folder: Path) -> None:
    text = "store: {url: '${REDIS_URL}'}\nroutes: [{redis: {channel: '${ROOM:-lobby}'}}]"
    policy = read(text, folder, environ={"REDIS_URL": URL}).routes[0].redis
    assert policy is not None
    assert (policy.url, policy.channels) == (URL, (Template.parse("lobby"),))


def test_no_password_is_ever_shown(folder: Path) -> None:
    config = read(FULL, folder)
    shown = [repr(config), repr(StoreSection(url=URL)), StoreSection(url=URL).model_dump_json()]
    assert [text for text in shown if "geheimnis" in text] == []
    assert masked_url(URL) == "redis://***@127.0.0.1:6379/1"
    assert masked_url("redis://h:1?db=2") == "redis://h:1/2"


@pytest.mark.parametrize("name", ["redis", "hiredis"])
def test_a_package_that_is_missing_is_named_at_each_url(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    (folder / "c.yaml").write_text(FULL)
    said = "needs the Python packages redis and hiredis (pip install 'sseproxy[redis]')"
    assert complaints(Path("c.yaml")) == [
        f"c.yaml:1:14: store.url: {said}",
        f"c.yaml:12:41: routes[1].redis.url: {said}",
    ]


def test_a_flag_for_the_upstream_is_for_other_routes(folder: Path) -> None:
    (folder / "c.yaml").write_text(f"{FULL}  - {{upstream: 'http://v:1', stream: auto, timeouts: {{response: 20s}}}}\n")
    routes = load(Path("c.yaml"), flags={"--upstream": "http://u:1"}, environ={}).routes
    assert [route.upstream and route.upstream.host for route in routes] == [None, None, "u"]
