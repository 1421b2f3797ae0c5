"""What does a route take from ``defaults``, and what from its dialect?"""

from dataclasses import replace
from pathlib import Path

import pytest

from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, Reopen, TicketBinding, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match, UpstreamTLS
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.end_message import EndPolicy, EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.request import StreamRequest
from sseproxy.core.stream.timeouts import TimeoutPolicy
from tests.config.reading import read, upstream_of

UP = "upstream: http://u:1"


def test_a_route_with_nothing_but_an_upstream_has_the_policies_own_defaults(folder: Path) -> None:
    (route,) = read(f"routes: [{{{UP}}}]", folder).routes
    assert route.heartbeat == HeartbeatPolicy()
    assert route.timeouts == TimeoutPolicy()
    assert route.limits == LimitPolicy()
    assert (route.dialect, route.stream, route.match) == (Dialect.AUTO, StreamMode.AUTO, Match())


def test_keys_are_inherited_one_by_one_at_any_depth(folder: Path) -> None:
    config = read(
        f"""
defaults:
  stream: always
  heartbeat: {{interval: 7s, comment: here, event: {{name: beat, data: x}}}}
  timeouts: {{idle: 1h, connect: 1s, request_body: 1m}}
  limits: {{streams: 5}}
routes:
  - {UP}
    match: {{path: /a}}
    heartbeat: {{interval: 9s, event: {{data: ""}}}}
    timeouts: {{idle: off, request_body: off}}
    limits: {{line: 1MiB}}
  - {UP}
""",
        folder,
    )
    first, second = config.routes
    assert first.heartbeat == HeartbeatPolicy(interval=9.0, comment="here", event_name="beat", event_data="")
    assert second.heartbeat == HeartbeatPolicy(interval=7.0, comment="here", event_name="beat", event_data="x")
    assert first.timeouts == TimeoutPolicy(idle=None, connect=1.0)
    assert second.timeouts == TimeoutPolicy(idle=3600.0, connect=1.0, request_body=60.0)
    assert first.limits == LimitPolicy(streams=5, line=1 << 20)
    assert first.stream is second.stream is StreamMode.ALWAYS


@pytest.mark.parametrize(
    ("defaults", "route", "dialect", "form"),
    [
        ("{}", "{}", "auto", "auto"),
        ("{dialect: gemini}", "{}", "gemini", "blank"),
        ("{}", "{dialect: anthropic}", "anthropic", "anthropic"),
        ("{}", "{dialect: openai-chat}", "openai-chat", "auto"),
        ("{}", "{dialect: openai-responses}", "openai-responses", "auto"),
        ("{dialect: gemini}", "{dialect: anthropic}", "anthropic", "anthropic"),
        ("{heartbeat: {form: event}}", "{dialect: gemini}", "gemini", "event"),
        ("{heartbeat: {form: auto}}", "{dialect: gemini}", "gemini", "blank"),
        ("{heartbeat: {form: event}}", "{dialect: gemini, heartbeat: {form: comment-line}}", "gemini", "comment-line"),
        ("{heartbeat: {interval: 5s}}", "{dialect: gemini, heartbeat: {comment: x}}", "gemini", "blank"),
        ("{dialect: gemini}", "{heartbeat: {form: auto}}", "gemini", "blank"),
    ],
)
def test_a_named_form_wins_over_the_dialect(defaults: str, route: str, dialect: str, form: str, folder: Path) -> None:
    text = f"defaults: {defaults}\nroutes: [{{{UP}, {route[1:]}]".replace(", }", "}")
    (found,) = read(text, folder).routes
    plan = StreamRequest(found, method="GET", path="/", query="", fields={}).plan()
    assert (found.dialect, plan.form) == (Dialect(dialect), HeartbeatForm(form))


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
    assert upstream_of(route).tls == UpstreamTLS(ca=str(pem_folder / "ca.pem"), server_name="inner")
    assert route.upstream_target("/api/x?y") == "/base/x?y"
    assert route.request_headers == HeaderRules((("X-A", "b"),), ("Cookie",))
    assert route.response_headers == HeaderRules((), ("Server",))


def test_what_is_done_for_browsers_is_off_until_it_is_named(folder: Path) -> None:
    (route,) = read(f"routes: [{{{UP}}}]", folder).routes
    assert (route.tickets, route.auth, route.end, route.cors) == (None, None, None, None)


def test_an_empty_section_switches_on_with_the_defaults(folder: Path) -> None:
    (route,) = read(
        f"routes: [{{{UP}, tickets: {{}}, auth: {{cookie: sid}}, end: {{}}, cors: {{origins: '*'}}}}]", folder
    ).routes
    assert route.tickets == TicketPolicy()
    assert route.auth == CookieAuth("sid")
    assert route.end == EndPolicy(stop_reconnect=True)
    assert route.cors == CorsPolicy(frozenset({"*"}))


def test_what_is_done_for_browsers_is_inherited_and_switched_off(folder: Path) -> None:
    config = read(
        f"""
defaults:
  tickets: {{path: /t/, ttl: 5m, max_body: 1KiB, bind: 'cookie:sid', reopen: always}}
  auth: {{cookie: sid, header: X-Token, format: '{{value}}', strip_cookie: false}}
  end: {{event: {{data: bye}}, stop_reconnect: false, marker: '[DONE]'}}
  cors: {{origins: [https://a.test, 'http://[::1]:8080', capacitor://localhost], credentials: true}}
routes:
  - match: {{path: /a}}
    {UP}
    tickets:
    auth: {{header: Authorization}}
    end: {{event: {{name: finished}}, stop_reconnect: true, secret: 0123456789abcdef}}
    cors: {{origins: https://b.test}}
  - match: {{path: /b}}
    {UP}
    tickets: {{bind: address}}
    end: {{event: off, marker: {{event: done}}, only: marker}}
  - {UP}
    tickets: off
    auth: off
    end: off
    cors: off
""",
        folder,
    )
    first, second, third = config.routes
    tickets = TicketPolicy("/t", 300.0, 1024, TicketBinding.COOKIE, "sid", Reopen.ALWAYS)
    assert first.tickets == tickets
    assert first.auth == CookieAuth("sid", "Authorization", "{value}", strip_cookie=False)
    assert first.end == EndPolicy(("finished", "bye"), True, Marker("[DONE]"), EndsAt.END, "0123456789abcdef")
    assert first.cors == CorsPolicy(frozenset({"https://b.test"}), credentials=True)
    assert second.tickets == replace(tickets, bind=TicketBinding.ADDRESS, bind_cookie="")
    assert second.auth == CookieAuth("sid", "X-Token", "{value}", strip_cookie=False)
    assert second.end == EndPolicy(None, False, Marker(event="done"), EndsAt.MARKER)
    origins = frozenset({"https://a.test", "http://[::1]:8080", "capacitor://localhost"})
    assert second.cors == CorsPolicy(origins, credentials=True)
    assert (third.tickets, third.auth, third.end, third.cors) == (None, None, None, None)


def test_a_switch_may_come_from_the_environment(folder: Path) -> None:
    text = f"defaults: {{tickets: {{}}}}\nroutes: [{{{UP}, tickets: '${{T:-off}}'}}]"
    assert read(text, folder).routes[0].tickets is None


def test_one_worker_may_have_tickets(folder: Path) -> None:
    read(f"server: {{workers: 1}}\nstore: memory\nroutes: [{{{UP}, tickets: {{}}}}]", folder)
    read(f"server: {{workers: 2}}\ndefaults: {{tickets: {{}}}}\nroutes: [{{{UP}, tickets: off}}]", folder)


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
