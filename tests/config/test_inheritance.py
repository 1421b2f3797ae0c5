"""What does a route take from ``defaults``, and what from its dialect?"""

from pathlib import Path

import pytest

from sseproxy.core.dialects import Dialect
from sseproxy.core.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import HeaderRules, Match, StreamMode, UpstreamTLS
from sseproxy.core.timeouts import TimeoutPolicy
from tests.config.reading import read

UP = "upstream: http://u:1"


def test_a_route_with_nothing_but_an_upstream_has_the_policies_own_defaults(folder: Path) -> None:
    (route,) = read(f"routes: [{{{UP}}}]", folder).routes
    assert route.heartbeat == HeartbeatPolicy()
    assert route.timeouts == TimeoutPolicy()
    assert route.limits == LimitPolicy()
    assert (route.dialect, route.stream, route.match) == (Dialect.GENERIC, StreamMode.AUTO, Match())


def test_keys_are_inherited_one_by_one_at_any_depth(folder: Path) -> None:
    config = read(
        f"""
defaults:
  stream: always
  heartbeat: {{interval: 7s, comment: here, event: {{name: beat, data: x}}}}
  timeouts: {{idle: 1h, connect: 1s}}
  limits: {{streams: 5}}
routes:
  - {UP}
    match: {{path: /a}}
    heartbeat: {{interval: 9s, event: {{data: ""}}}}
    timeouts: {{idle: off}}
    limits: {{line: 1MiB}}
  - {UP}
""",
        folder,
    )
    first, second = config.routes
    assert first.heartbeat == HeartbeatPolicy(interval=9.0, comment="here", event_name="beat", event_data="")
    assert second.heartbeat == HeartbeatPolicy(interval=7.0, comment="here", event_name="beat", event_data="x")
    assert first.timeouts == TimeoutPolicy(idle=None, connect=1.0)
    assert second.timeouts == TimeoutPolicy(idle=3600.0, connect=1.0)
    assert first.limits == LimitPolicy(streams=5, line=1 << 20)
    assert first.stream is second.stream is StreamMode.ALWAYS


@pytest.mark.parametrize(
    ("defaults", "route", "dialect", "form"),
    [
        ("{}", "{}", "generic", "auto"),
        ("{dialect: gemini}", "{}", "gemini", "blank"),
        ("{}", "{dialect: anthropic}", "anthropic", "anthropic"),
        ("{}", "{dialect: openai-chat}", "openai-chat", "auto"),
        ("{}", "{dialect: openai-responses}", "openai-responses", "auto"),
        ("{dialect: gemini}", "{dialect: anthropic}", "anthropic", "anthropic"),
        ("{heartbeat: {form: event}}", "{dialect: gemini}", "gemini", "event"),
        ("{heartbeat: {form: auto}}", "{dialect: gemini}", "gemini", "auto"),
        ("{heartbeat: {form: event}}", "{dialect: gemini, heartbeat: {form: comment-line}}", "gemini", "comment-line"),
        ("{heartbeat: {interval: 5s}}", "{dialect: gemini, heartbeat: {comment: x}}", "gemini", "blank"),
        ("{dialect: gemini}", "{heartbeat: {form: auto}}", "gemini", "auto"),
    ],
)
def test_a_named_form_wins_over_the_dialect(defaults: str, route: str, dialect: str, form: str, folder: Path) -> None:
    text = f"defaults: {defaults}\nroutes: [{{{UP}, {route[1:]}]".replace(", }", "}")
    (found,) = read(text, folder).routes
    assert (found.dialect, found.heartbeat.form) == (Dialect(dialect), HeartbeatForm(form))


def test_all_that_only_a_route_has(pem_folder: Path) -> None:
    (route,) = read(
        """
routes:
  - name: chat
    match: {prefix: /api, methods: [post, GET], host: API.example}
    upstream: https://u/base/
    rewrite: {strip_prefix: /api}
    headers: {request: {set: {X-A: b}, remove: [Cookie]}, response: {remove: [Server]}}
    tls: {ca: ca.pem, server_name: inner}
""",
        pem_folder,
    ).routes
    assert route.name == "chat"
    assert route.match == Match(None, "/api", frozenset({"GET", "POST"}), "api.example")
    assert route.upstream.tls == UpstreamTLS(ca=str(pem_folder / "ca.pem"), server_name="inner")
    assert route.upstream_target("/api/x?y") == "/base/x?y"
    assert route.request_headers == HeaderRules((("X-A", "b"),), ("Cookie",))
    assert route.response_headers == HeaderRules((), ("Server",))


def test_routes_without_a_name_are_numbered(folder: Path) -> None:
    text = "\n".join(
        f"  - {{match: {{path: /{i}}}, {UP}{name}}}" for i, name in enumerate(["", ", name: route-3", "", ""])
    )
    names = [route.name for route in read(f"routes:\n{text}", folder).routes]
    assert names == ["route-1", "route-3", "route-3-3", "route-4"]


def test_before_response_may_be_inherited_by_what_is_no_stream(folder: Path) -> None:
    read(f"defaults: {{heartbeat: {{before_response: 5s}}}}\nroutes: [{{stream: never, {UP}}}]", folder)


def test_a_short_drain_shortens_the_default_spread(folder: Path) -> None:
    server = read(f"server: {{drain: {{timeout: 2s}}}}\nroutes: [{{{UP}}}]", folder).server
    assert (server.drain_timeout, server.drain_spread) == (2.0, 2.0)


def test_certificate_and_key_stand_beside_the_file(pem_folder: Path) -> None:
    tls = read(f"server: {{tls: {{certificate: ca.pem, key: ca.key}}}}\nroutes: [{{{UP}}}]", pem_folder).server.tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (str(pem_folder / "ca.pem"), str(pem_folder / "ca.key"))


def test_an_upstream_elsewhere_on_the_same_port_is_no_loop(folder: Path) -> None:
    read("server: {listen: ':8080'}\nroutes: [{upstream: 'http://app:8080'}]", folder)
