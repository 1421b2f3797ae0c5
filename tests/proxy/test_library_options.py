"""Do the options of the library mean what they mean elsewhere, and does a wrong one name itself?"""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from asgiref.typing import ASGI3Application
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp as StarletteApp

from sseproxy.asgi.options import MiddlewareOptions, SharedOptions, StreamOptions, read_options
from sseproxy.config import embedded
from sseproxy.config.flags import OVERRIDES
from sseproxy.config.schema import InheritedSection, RouteSection, section_in
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.proxy import ReverseProxy
from sseproxy.proxy.library.options import ProxyOptions, ProxySettings

UPSTREAM = "http://127.0.0.1:9000"

#: A value for each option that middlewares and proxy share, which is not its default.
SHARED: dict[str, Any] = {
    "heartbeat": "7s",
    "form": "event",
    "comment": "still here",
    "event": {"name": "ping"},
    "before_response": timedelta(seconds=3),
    "prelude": True,
    "json": timedelta(seconds=20),
    "ndjson": "space",
    "dialect": "anthropic",
    "response_timeout": 70,
    "idle_timeout": None,
    "write_timeout": "5s",
    "max_duration": "1h",
    "drain": "9s",
    "drain_spread": "1s",
    "secret": "the same in all replicas",
}


def settings(upstream: str | None = UPSTREAM, **options: Any) -> ProxySettings:
    return ProxySettings.read(upstream, cast(ProxyOptions, options))


def of_middleware(**options: Any) -> StreamOptions:
    return read_options(cast(MiddlewareOptions, options))


class TestOneList:
    def test_the_options_that_are_read_are_those_that_are_typed(self) -> None:
        assert set(embedded.OPTIONS) == set(ProxyOptions.__annotations__)

    def test_every_key_of_a_route_is_an_option_or_below_one(self) -> None:
        keys: set[tuple[str, ...]] = set()
        for name, field in RouteSection.model_fields.items():
            section = section_in(field.annotation)
            # Scalars of these two are flat; all other sections are groups.
            if name in ("heartbeat", "timeouts") and section is not None:
                keys |= {(name, key) for key in section.model_fields}
            else:
                keys.add((name,))
        of_routes = {(name,) for name in ("upstream", *embedded.OF_ONE_ROUTE)}
        assert keys == {*embedded.INHERITED.values(), *of_routes}

    def test_what_routes_inherit_is_an_option_of_all_of_them(self) -> None:
        assert {path[0] for path in embedded.INHERITED.values()} == set(InheritedSection.model_fields)

    def test_a_flag_sets_the_same_key_as_the_option_of_its_name(self) -> None:
        by_flag = {override.argument: override.path for override in OVERRIDES if override.inherited}
        by_flag["form"] = by_flag.pop("heartbeat_form")
        assert by_flag == {name: embedded.INHERITED[name] for name in by_flag}

    def test_a_flag_that_is_no_option_says_what_takes_its_place(self) -> None:
        for override in OVERRIDES:
            if override.argument not in (*embedded.OPTIONS, "upstream"):
                assert embedded.hint_for(override.argument), override.flag

    def test_an_option_means_the_same_to_a_middleware(self) -> None:
        assert (
            SHARED.keys()
            == SharedOptions.__annotations__.keys()
            == ProxyOptions.__annotations__.keys() & (MiddlewareOptions.__annotations__.keys())
        )
        proxy, middleware = settings(**SHARED), of_middleware(**SHARED)
        (route,) = proxy.routes
        assert route.heartbeat == middleware.heartbeat
        assert route.timeouts == middleware.timeouts
        assert route.dialect == middleware.dialect
        assert proxy.drain == middleware.drain
        assert proxy.store.secret == middleware.secret

    def test_each_of_them_does_something(self) -> None:
        for name, value in SHARED.items():
            assert settings(**{name: value, "heartbeat": "7s"}) != settings(
                heartbeat="8s" if name == "heartbeat" else "7s"
            )

    def test_the_defaults_are_those_of_the_middlewares_but_for_the_drain(self) -> None:
        proxy, middleware = settings(), of_middleware(drain="25s")
        (route,) = proxy.routes
        assert (route.heartbeat, route.timeouts, route.dialect) == (
            middleware.heartbeat,
            middleware.timeouts,
            middleware.dialect,
        )
        assert proxy.drain == middleware.drain
        assert settings(drain="off").drain is None is of_middleware(drain="off").drain


def test_values_may_be_those_of_python(tmp_path: Path) -> None:
    found = settings(
        "http://127.0.0.1:9000",
        form=HeartbeatForm.BLANK,
        dialect=Dialect.GEMINI,
        match={"methods": {"POST"}, "prefix": "/a"},
        tickets={"ttl": timedelta(minutes=2)},
        journal={"kind": "answer"},
        store={"file": tmp_path / "runs"},
        trusted_proxies=("10.0.0.0/8",),
        limits={"streams": 3},
        cors=None,
    )
    (route,) = found.routes
    assert route.heartbeat.form is HeartbeatForm.BLANK
    assert route.dialect is Dialect.GEMINI
    assert route.match.methods == {"POST"}
    assert route.tickets is not None
    assert route.tickets.ttl == 120.0
    assert found.store.file == str(tmp_path / "runs")
    assert route.limits.streams == 3
    assert route.cors is None


def test_routes_inherit_options_and_override_them() -> None:
    found = settings(
        None,
        heartbeat="7s",
        limits={"streams": 5},
        routes=[
            {"match": {"path": "/a"}, "upstream": UPSTREAM, "heartbeat": {"interval": "3s"}},
            {"name": "rest", "upstream": UPSTREAM},
        ],
    )
    first, rest = found.routes
    assert (first.name, rest.name) == ("route-1", "rest")
    assert (first.heartbeat.interval, rest.heartbeat.interval) == (3.0, 7.0)
    assert first.limits.streams == rest.limits.streams == 5


def test_a_route_may_lead_to_redis() -> None:
    found = settings(None, redis={"stream": "news"}, store={"url": "redis://127.0.0.1:6379"})
    assert found.routes[0].redis is not None


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"heartbeat": "soon"}, ValueError, r"^heartbeat: expected a duration, got 'soon' \(such as 15s"),
    ({"heartbeat": {"interval": 3}}, ValueError, r"^heartbeat: expected a duration, got a mapping"),
    ({"form": "coment-line"}, ValueError, r"^form: .*\(did you mean comment-line\?\)$"),
    ({"event": {"nam": "ping"}}, ValueError, r"^event\.nam: unknown key \(did you mean name\?\)$"),
    ({"connect_timeout": 0}, ValueError, r"^connect_timeout: must be more than zero"),
    ({"tickets": {"ttl": "off"}}, ValueError, r"^tickets\.ttl: cannot be off"),
    ({"stream": "alway"}, ValueError, r"^stream: expected .*\(did you mean always\?\)$"),
    ({"stream": {"kind": "x"}}, ValueError, r"^stream\.kind: expected"),
    ({"match": {"prefix": "/x/*"}}, ValueError, r"^match\.prefix: wildcards are not supported"),
    ({"match": {"path": "/a", "prefix": "/b"}}, ValueError, r"^match\.prefix: cannot stand beside path"),
    ({"trusted_proxies": ["10.0.0.1", "gate way"]}, ValueError, r"^trusted_proxies\[1\]: 'gate way' is not a network"),
    ({"headers": {"request": {"set": {"Host:": "x"}}}}, ValueError, r"^headers\.request\.set\.Host:: 'Host:' is not"),
    (
        {"heartbeat": None, "before_response": 3},
        ValueError,
        r"^before_response: needs heartbeats, but heartbeat is off$",
    ),
    (
        {"before_response": 30, "response_timeout": 20},
        ValueError,
        r"^before_response: must be shorter than response_timeout \(20s\)$",
    ),
    (
        {"connect_retry": 30, "request_body_timeout": 20},
        ValueError,
        r"^request_body_timeout: must be longer than connect_retry \(30s\)$",
    ),
    ({"drain": 3, "drain_spread": 5}, ValueError, r"^drain_spread: must not be longer than drain \(3s\)$"),
    ({"tls": {"verify": False}}, ValueError, r"^tls: has no effect on an http upstream$"),
    ({"journal": {}}, ValueError, r"^journal\.kind: is missing"),
    (
        {"tickets": {}, "store": {"memory": "1MiB"}},
        ValueError,
        r"^store\.memory: must be at least 2MiB: twice tickets\.max_body$",
    ),
    ({"end": {}, "store": {"url": "redis://h"}}, ValueError, r"^secret: is missing: with a url, replicas .* \(end\)"),
    ({"store": {"file": "a", "url": "redis://h"}}, ValueError, r"^store\.file: cannot stand beside url"),
    ({"secret": "of some letters", "store": "memory"}, ValueError, r"^secret: must have at least 16 characters"),
    ({"secret": "x" * 16, "store": {"secret": "y" * 16}}, ValueError, r"^secret: stands in store, too"),
    ({"store": {"secret": "short"}}, ValueError, r"^store\.secret: must have at least 16 characters"),
    ({"routes": [{}]}, ValueError, r"^upstream: cannot stand beside routes"),
    ({"hearbeat": "15s"}, TypeError, r"^hearbeat: there is no such option \(did you mean heartbeat\?\)$"),
    ({"interval": "15s"}, TypeError, r"^interval: .*\(did you mean heartbeat\?\)$"),
    ({"idle": "15s"}, TypeError, r"^idle: .*\(did you mean idle_timeout\?\)$"),
    ({"heartbeat_form": "blank"}, TypeError, r"^heartbeat_form: .*\(did you mean form\?\)$"),
    ({"prefix": "/a"}, TypeError, r'^prefix: .*\(did you mean match=\{"prefix": \.\.\.\}\?\)$'),
    ({"paths": ["/a"]}, TypeError, r"^paths: .*match"),
    ({"listen": ":80"}, TypeError, r"^listen: .*the server in front"),
    ({"workers": 2}, TypeError, r"^workers: .*the server in front"),
    ({"admin": ":90"}, TypeError, r"^admin: .*open_streams"),
    ({"log_level": "debug"}, TypeError, r"^log_level: .*loggers sseproxy"),
    ({"server": {}}, TypeError, r"^server: .*trusted_proxies"),
    ({"defaults": {}}, TypeError, r"^defaults: .*heartbeat"),
    ({"timeouts": {}}, TypeError, r"^timeouts: .*idle_timeout"),
    ({"qqqqq": 1}, TypeError, r"^qqqqq: there is no such option$"),
    ({"heartbeat_json": "5s"}, TypeError, r"^heartbeat_json: there is no such option \(did you mean json\?\)$"),
    (
        {"qqqqq": 1, "dialekt": "mcp"},
        TypeError,
        r"^qqqqq: there is no such option\ndialekt: there is no such option \(did you mean dialect\?\)$",
    ),
    ({"upstream": 3}, TypeError, r"^upstream: expected a URL as text, got int$"),
    ({"upstream": "127.0.0.1:9000"}, ValueError, r"^upstream: .*did you mean http://127\.0\.0\.1:9000\?"),
    ({"upstream": None}, ValueError, r"^upstream: is missing \(a URL such as"),
    ({"upstream": None, "redis": {"stream": "a"}}, ValueError, r"^redis\.url: is missing"),
    ({"upstream": None, "routes": []}, ValueError, r"^routes: must not be empty$"),
    ({"upstream": None, "routes": {}}, ValueError, r"^routes: expected a list"),
    ({"upstream": None, "routes": [3]}, ValueError, r"^routes\[0\]: expected a mapping"),
    ({"upstream": None, "routes": [{}]}, ValueError, r"^routes\[0\]\.upstream: is missing"),
    (
        {"upstream": None, "routes": [{"upstream": UPSTREAM, "match": {"prefix": "a"}}]},
        ValueError,
        r"^routes\[0\]\.match\.prefix: must begin with a slash",
    ),
    (
        {"upstream": None, "routes": [{"upstream": UPSTREAM}, {"upstream": UPSTREAM}]},
        ValueError,
        r"^routes\[1\]: is never reached: routes\[0\] matches",
    ),
    (
        {"upstream": None, "routes": [{"upstream": UPSTREAM}], "headers": {}},
        ValueError,
        r'^headers: cannot stand beside routes \(it is of one: routes=\[\{"headers": \.\.\.\}\]\)$',
    ),
    (
        {"upstream": None, "routes": [{"upstream": UPSTREAM}], "before_response": "20m"},
        ValueError,
        r"^before_response: must be shorter than response_timeout",
    ),
    (
        {"upstream": None, "routes": [{"upstream": UPSTREAM, "heartbeat": {"before_response": "20m"}}]},
        ValueError,
        r"^routes\[0\]\.heartbeat\.before_response: must be shorter than timeouts\.response",
    ),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_a_wrong_option_names_itself_and_what_would_be_right(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ReverseProxy(**{"upstream": UPSTREAM, **options})


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="heartbeat") as raised:
        ReverseProxy(UPSTREAM, heartbeat="soon", idle_timeout="later", match={"prefix": "a"})
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == [
        "heartbeat",
        "idle_timeout",
        "match.prefix",
    ]


def test_a_mapping_that_holds_itself_is_an_error_like_others() -> None:
    match: dict[str, object] = {}
    match["path"] = match
    with pytest.raises(ValueError, match=r"^match: stands inside of itself$"):
        ReverseProxy(UPSTREAM, match=match)


def test_an_upstream_may_have_the_port_that_a_server_of_sseproxy_would_have() -> None:
    assert settings("http://127.0.0.1:8080").routes


SECRETS: list[dict[str, Any]] = [
    {"secret": "s3cr3t"},
    {"secret": 5, "store": {"secret": "s3cr3t"}},
    {"store": "redis://:s3cr3t@127.0.0.1"},
    {"store": {"url": "redis://:s3cr3t@127.0.0.1:port"}},
    {"upstream": "http://a:s3cr3t@127.0.0.1"},
    {"end": {"secret": "s3cr3t"}},
    {"headers": {"request": {"set": {"Authorization": "s3cr3t\n"}}}},
    {"redis": "redis://:s3cr3t@127.0.0.1"},
    {"authorize": "http://a:s3cr3t@127.0.0.1/may"},
    {"journal": "redis://:s3cr3t/@127.0.0.1"},
    {"upstream": "a:s3cr3t@127.0.0.1"},
]


@pytest.mark.parametrize("options", SECRETS, ids=[str(number) for number in range(len(SECRETS))])
def test_a_secret_is_not_repeated(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=":") as raised:
        ReverseProxy(**{"upstream": UPSTREAM, **options})
    assert "s3cr3t" not in str(raised.value)


def test_what_is_kept_does_not_show_secrets() -> None:
    found = settings(secret="s3cr3t of many letters", store={"url": "redis://:s3cr3t@127.0.0.1"})
    assert "s3cr3t" not in repr(found)


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"upstream": "https://a.test", "tls": {"verify": False}}, "tls.verify: each hop"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "trusted_proxies[0]: 0.0.0.0/0 trusts strangers"),
        ({"auth": {"cookie": "a"}, "tickets": {}}, "tickets.bind: with auth:"),
    ],
)
def test_what_is_dangerous_is_logged(options: dict[str, Any], warning: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sseproxy"):
        ReverseProxy(**{"upstream": UPSTREAM, **options})
    assert [record.getMessage()[: len(warning)] for record in caplog.records] == [warning]


def test_nothing_is_logged_of_what_the_server_in_front_decides(caplog: pytest.LogCaptureFixture) -> None:
    for drain in ("off", "10m", 3):
        ReverseProxy(UPSTREAM, drain=drain, drain_spread=1)
    assert not caplog.records


def test_type_checkers_and_frameworks_know_it() -> None:
    """What would fail here is `make types`."""
    proxy = ReverseProxy(
        UPSTREAM, heartbeat=timedelta(seconds=15), dialect="mcp", idle_timeout=None, match={"path": "/"}
    )
    app = Starlette(routes=[Mount("/v1", proxy)])
    kinds: tuple[ASGI3Application, ASGIFramework, StarletteApp] = (proxy, proxy, proxy)
    assert all(map(callable, (app, *kinds)))
    with pytest.raises(TypeError, match=r"^hearbeat: .*did you mean heartbeat"):
        ReverseProxy(UPSTREAM, hearbeat="15s")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^form: .*did you mean comment-line"):
        ReverseProxy(UPSTREAM, form="coment-line")  # type: ignore[arg-type]
