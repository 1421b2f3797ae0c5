"""Is what works and is dangerous said, at its place, without being an error?"""

from pathlib import Path

import pytest

from sseproxy.config.loader import load
from sseproxy.config.problems import ConfigErrors
from tests.config.reading import read

#: Defaults that have changed, as they are now.
CONFIRMED = "dialect: auto, timeouts: {response: 15m, idle: auto}"
ROUTE = f"routes: [{{upstream: 'http://u:1', {CONFIRMED}}}]\n"


def warned(text: str, folder: Path, **environ: str) -> list[str]:
    return [str(warning) for warning in read(text, folder, environ=environ).warnings]


@pytest.mark.parametrize(
    "text",
    [
        ROUTE,
        "server: {trusted_proxies: [10.0.0.0/8, 'fc00::/7', 127.0.0.1]}\n" + ROUTE,
        "server: {drain: {timeout: 25s}}\n" + ROUTE,
        "admin: {listen: '127.0.0.1:9090'}\n" + ROUTE,
        "admin: {listen: '127.1.2.3:9090'}\n" + ROUTE,
        "admin: {listen: '[::1]:9090'}\n" + ROUTE,
        "admin: {listen: 'localhost:9090'}\n" + ROUTE,
        "admin: {listen: 'unix:/tmp/sseproxy-admin.sock'}\n" + ROUTE,
        "routes: [{upstream: 'https://u', tls: {server_name: x}}]",
        "routes: [{upstream: 'http://u:1', tickets: {}}]",
        "routes: [{upstream: 'http://u:1', auth: {cookie: sid}}]",
        "routes: [{upstream: 'http://u:1', auth: {cookie: sid}, tickets: {bind: 'cookie:sid'}}]",
        "routes: [{upstream: 'http://u:1', auth: {cookie: sid}, tickets: {bind: address}}]",
    ],
)
def test_nothing_is_said_about_what_is_not_dangerous(text: str, folder: Path) -> None:
    assert warned(f"{text}\ndefaults: {{{CONFIRMED}}}", folder) == []


ALL = """\
server:
  trusted_proxies: [127.0.0.1, 0.0.0.0/0, '::/0', 128.0.0.0/1, '2000::/3']
  drain: {timeout: 26s}
admin: {listen: ':9090'}
defaults:
  tickets: {bind: none}
  dialect: auto
  timeouts: {response: 15m, idle: auto}
routes:
  - {match: {path: /a}, upstream: 'https://u', tls: {verify: false}}
  - {match: {path: /b}, upstream: 'http://u:1', auth: {cookie: sid}}
  - {match: {path: /c}, upstream: 'http://u:1', auth: {cookie: sid}, tickets: {}}
"""

STRANGERS = "trusts strangers: any of them may name another client, scheme and host (the addresses of your gateway)"
GRACE = "Kubernetes kills a pod 30s after SIGTERM by default (raise terminationGracePeriodSeconds"
UNVERIFIED = "each hop on the way to the upstream can read and change everything"
UNBOUND = "with auth: who learns the URL of a ticket gets an answer in the name of the user who is logged in"


def test_every_warning_has_its_place(folder: Path) -> None:
    assert warned(ALL, folder) == [
        f"c.yaml:2:32: server.trusted_proxies[1]: warning: 0.0.0.0/0 {STRANGERS}",
        f"c.yaml:2:43: server.trusted_proxies[2]: warning: ::/0 {STRANGERS}",
        f"c.yaml:2:51: server.trusted_proxies[3]: warning: 128.0.0.0/1 {STRANGERS}",
        f"c.yaml:2:64: server.trusted_proxies[4]: warning: 2000::/3 {STRANGERS}",
        f"c.yaml:3:20: server.drain.timeout: warning: 26s is a long time: {GRACE} to 31s)",
        (
            "c.yaml:4:17: admin.listen: warning: :9090 can be reached from other machines (127.0.0.1:9090, or let the "
            "network keep strangers out)"
        ),
        f"c.yaml:6:19: defaults.tickets.bind: warning: {UNBOUND} (bind: cookie:sid)",
        f"c.yaml:10:62: routes[0].tls.verify: warning: {UNVERIFIED} (name its authority: ca)",
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "[::]", "sseproxy.internal"])
def test_an_admin_listener_that_others_reach_is_warned_of(host: str, folder: Path) -> None:
    assert len(warned(f"admin: {{listen: '{host}:9090'}}\n{ROUTE}", folder)) == 1


def test_a_drain_without_end_is_longer_than_any_grace_period(folder: Path) -> None:
    assert warned("server: {drain: {timeout: off}}\n" + ROUTE, folder) == [
        f"c.yaml:1:27: server.drain.timeout: warning: waits for the last stream: {GRACE})"
    ]


@pytest.mark.parametrize(("delay", "timeout"), [("5s", "20s"), ("off", "25s"), ("0", "25s")])
def test_a_delay_that_leaves_the_grace_period_its_reserve(delay: str, timeout: str, folder: Path) -> None:
    assert warned(f"server: {{drain: {{delay: {delay}, timeout: {timeout}}}}}\n{ROUTE}", folder) == []


def test_a_delay_counts_for_the_grace_period(folder: Path) -> None:
    said = warned("server: {drain: {delay: 1s}}\n" + ROUTE, folder)
    place = "c.yaml:1:25: server.drain.delay: warning: "
    assert said == [f"{place}with drain.timeout (25s) 26s is a long time: {GRACE} to 31s)"]


def test_a_value_from_the_environment_is_warned_of_by_its_name(folder: Path) -> None:
    (said,) = warned(ROUTE, folder, SSEPROXY_ADMIN="0.0.0.0:9090")
    assert said.startswith("SSEPROXY_ADMIN: warning: 0.0.0.0:9090 can be reached from other machines")


def test_a_socket_that_everybody_may_connect_to_is_warned_of(folder: Path) -> None:
    open_to_all = folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o1777)

    def about(listen: str) -> list[str]:
        return warned(f"server: {{listen: {listen}}}\n{ROUTE}", folder)

    path = open_to_all / "x.sock"
    (said,) = about(f"'unix:{path}'")
    assert said.startswith("c.yaml:1:18: server.listen: warning: everybody on this machine reaches this folder")
    assert len(about(f"['127.0.0.1:1', {{unix: {path}, mode: '0666'}}]")) == 1
    assert about(f"{{unix: {path}, mode: '0660'}}") == []
    assert about(f"{{unix: {path}, trust: false}}") == []
    assert about(f"'unix:{folder}/x.sock'") == []


@pytest.mark.parametrize(
    ("defaults", "route", "place"),
    [
        ("", "tickets: {}", "1:35: routes[0].tickets.bind"),
        ("heartbeat: {prelude: true}", "tickets: {}", "1:35: routes[0].tickets.bind"),
        ("tickets: {}", "name: a", "2:12: defaults.tickets.bind"),
        ("tickets: {bind: none}", "tickets: {}", "2:28: defaults.tickets.bind"),
        ("tickets: {}", "tickets: {bind: none}", "1:51: routes[0].tickets.bind"),
    ],
)
def test_unbound_tickets_are_warned_of_where_they_are_switched_on(
    defaults: str, route: str, place: str, folder: Path
) -> None:
    text = f"routes: [{{upstream: 'http://u:1', {route}, auth: {{cookie: sid}}, {CONFIRMED}}}]\n"
    (said,) = warned(text + (f"defaults: {{{defaults}}}\n" if defaults else ""), folder)
    assert said == f"c.yaml:{place}: warning: {UNBOUND} (bind: cookie:sid)"


RUNS = "any response may become a run, which is read as a stream"


def test_json_that_is_promised_to_no_client_is_warned_of_where_the_route_says_so(folder: Path) -> None:
    text = f"""\
defaults: {{heartbeat: {{json: 30s}}, {CONFIRMED}}}
routes:
  - {{match: {{path: /a}}, upstream: 'http://u:1', heartbeat: {{json: 20s}}, stream: never}}
  - {{match: {{path: /b}}, upstream: 'http://u:1', heartbeat: {{json: 20s}}, journal: {{kind: answer}}}}
  - {{match: {{path: /c}}, upstream: 'http://u:1', journal: {{kind: answer}}}}
  - {{match: {{path: /d}}, upstream: 'http://u:1', stream: never}}
  - {{match: {{path: /e, methods: [GET, HEAD]}}, upstream: 'http://u:1', heartbeat: {{json: 20s}}}}
  - {{match: {{path: /f, methods: [GET, POST]}}, upstream: 'http://u:1', heartbeat: {{json: 20s}}}}
  - {{match: {{path: /g}}, upstream: 'http://u:1', heartbeat: {{json: 20s}}}}
"""
    said = [line for line in warned(text, folder) if "heartbeat.json" in line]
    effect = "heartbeat.json: warning: has no effect with"
    assert said == [
        f"c.yaml:3:67: routes[0].{effect} stream: never (leave one of them out)",
        f"c.yaml:4:67: routes[1].{effect} a journal: {RUNS} (a route of its own for what is no stream)",
        f"c.yaml:7:89: routes[4].{effect} methods: [GET, HEAD] (such as POST)",
    ]
    assert [route.heartbeat.json for route in read(text, folder).routes] == [None, None, None, None, 20.0, 20.0, 20.0]


def test_white_space_between_records_that_are_never_touched_is_warned_of(folder: Path) -> None:
    text = f"""\
defaults: {{heartbeat: {{ndjson: newline}}, {CONFIRMED}}}
routes:
  - {{match: {{path: /a}}, upstream: 'http://u:1', heartbeat: {{ndjson: space}}, stream: never}}
  - {{match: {{path: /b}}, upstream: 'http://u:1', heartbeat: {{ndjson: 'off'}}, stream: never}}
  - {{match: {{path: /c}}, upstream: 'http://u:1', stream: never}}
  - {{match: {{path: /d}}, upstream: 'http://u:1', heartbeat: {{ndjson: space}}}}
"""
    said = [line for line in warned(text, folder) if "ndjson" in line]
    effect = "routes[0].heartbeat.ndjson: warning: has no effect with stream: never (leave one of them out)"
    assert said == [f"c.yaml:3:69: {effect}"]


def test_errors_come_without_warnings(folder: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        read("server: {trusted_proxies: ['::/0'], wokers: 2}\n" + ROUTE, folder)
    assert str(raised.value) == "c.yaml:1:37: server.wokers: unknown key (did you mean workers?)"


# Defaults that have changed.


def relying(text: str, folder: Path) -> list[str]:
    """The keys that are warned of because their default has changed, in the order of their places."""
    return [line.split(": ")[1] for line in warned(text, folder)]


OLD = """\
defaults: {heartbeat: {before_response: 10s}}
routes:
  - {match: {path: /a}, upstream: 'http://u:1'}
  - {match: {path: /b}, upstream: 'http://u:1', dialect: anthropic}
  - {upstream: 'http://u:1', dialect: gemini}
"""


DIALECT = "errors in a stream have the shape of the service that the request is for; they were generic"
IDLE = "silence may last 15m in an answer, and for ever in a feed, a tunnel and a download; it was 5m in all of them"
RESPONSE = "the upstream has 15m for its response head; it was 5m"
BOTH_FORMS = "form: auto confirms that, form: anthropic is as before"
FORM = "a client that is known gets the form that is safe for it; it was the dialect's"


def test_each_default_that_has_changed_is_warned_of_once_with_both_ways_out(folder: Path) -> None:
    """At the one route that relies on it, or where one line is for all that do."""
    route, defaults = "c.yaml:3:5: routes[0]", "c.yaml:1:1: defaults"
    left_out = "warning: left out:"
    assert warned(OLD, folder) == [
        f"{defaults}.timeouts.idle: {left_out} {IDLE} (idle: auto confirms that, idle: 5m is as before)",
        f"{defaults}.timeouts.response: {left_out} {RESPONSE} (response: 15m confirms that, response: 5m is as before)",
        f"c.yaml:1:12: defaults.heartbeat.form: {left_out} {FORM} ({BOTH_FORMS})",
        f"{route}.dialect: {left_out} {DIALECT} (dialect: auto confirms that, dialect: generic is as before)",
    ]


@pytest.mark.parametrize(
    ("said", "relied_on"),
    [
        ("limits: {streams: 1}", ["dialect", "timeouts.idle", "timeouts.response"]),
        ("dialect: generic", ["timeouts.idle", "timeouts.response"]),
        ("dialect: auto", ["timeouts.idle", "timeouts.response"]),
        ("dialect: mcp", ["timeouts.idle", "timeouts.response"]),
        ("timeouts: {idle: 5m}", ["dialect", "timeouts.response"]),
        ("timeouts: {idle: auto}", ["dialect", "timeouts.response"]),
        ("timeouts: {response: 5m}", ["dialect", "timeouts.idle"]),
        ("stream: {kind: feed}", ["dialect", "timeouts.idle", "timeouts.response"]),
        ("end: {marker: {event: done}}", ["dialect", "timeouts.idle", "timeouts.response"]),
        ("stream: never", ["timeouts.idle", "timeouts.response"]),
        (CONFIRMED, []),
    ],
)
def test_each_key_is_judged_by_itself_whatever_else_the_file_says(
    said: str, relied_on: list[str], folder: Path
) -> None:
    assert relying(f"routes: [{{upstream: 'http://u:1', {said}}}]", folder) == [f"routes[0].{key}" for key in relied_on]
    inherits = f"routes: [{{upstream: 'http://u:1'}}]\ndefaults: {{{said}}}"
    assert relying(inherits, folder) == [f"routes[0].{key}" for key in relied_on]


def test_the_form_of_a_dialect_that_came_before_the_client_is_warned_of(folder: Path) -> None:
    named = "defaults: {dialect: gemini%s, timeouts: {idle: 5m, response: 5m}}\n"
    named += "routes: [{upstream: 'http://u:1'%s}]\n"
    assert relying(named % ("", ""), folder) == ["routes[0].heartbeat.form"]
    assert relying(named % (", heartbeat: {form: blank}", ""), folder) == []
    assert relying(named % (", heartbeat: {form: auto}", ""), folder) == []
    assert relying(named % ("", ", dialect: openai-chat"), folder) == []


def test_a_route_that_says_a_key_does_not_say_it_for_others(folder: Path) -> None:
    text = (
        f"routes:\n  - {{match: {{path: /a}}, upstream: 'http://u:1', {CONFIRMED}}}\n  - {{upstream: 'http://u:1'%s}}\n"
    )
    keys = ["dialect", "timeouts.idle", "timeouts.response"]
    assert relying(text % "", folder) == [f"routes[1].{key}" for key in keys]
    assert relying(text % f", {CONFIRMED}", folder) == []


def test_without_defaults_several_routes_are_warned_of_at_the_first_of_them(folder: Path) -> None:
    text = f"routes:\n  - {{match: {{path: /a}}, upstream: 'http://u:1', {CONFIRMED}}}\n"
    text += "  - {match: {path: /b}, upstream: 'http://u:1'}\n  - {upstream: 'http://u:1'}\n"
    places = [line.split(": warning")[0] for line in warned(text, folder)]
    keys = ["dialect", "timeouts.idle", "timeouts.response"]
    assert places == [f"c.yaml:3:5: defaults.{key}" for key in keys]


def test_a_flag_says_a_key_for_the_whole_file(folder: Path) -> None:
    text = "routes: [{upstream: 'http://u:1', timeouts: {response: 5m}}]"
    flags = {"--dialect": "generic", "--idle-timeout": "5m"}
    assert read(text, folder, flags=flags).warnings == ()


@pytest.mark.parametrize("flags", [{}, {"--before-response": "10s"}, {"--dialect": "anthropic"}])
def test_without_a_file_nothing_relies_on_what_was(flags: dict[str, str]) -> None:
    assert load(None, flags={"--upstream": "http://127.0.0.1:1", **flags}, environ={}).warnings == ()


@pytest.mark.parametrize(("timeout", "count"), [("0", 0), ("5s", 1), ("9.9s", 1), ("10s", 0), ("25s", 0)])
def test_a_drain_that_is_too_short_for_an_answer_is_warned_of(timeout: str, count: int, folder: Path) -> None:
    said = warned(f"server: {{drain: {{timeout: {timeout}}}}}\n{ROUTE}", folder)
    assert len(said) == count
    assert all("breaks off with an error event" in line for line in said)


PUSH = "routes: [{{redis: {{{}}}}}]"


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.5",
        "redis://user@10.0.0.5",
        "redis://:secret@127.0.0.1:6379/1",
        "redis://:secret@[::1]",
        "redis://:secret@localhost",
        "rediss://:secret@redis.internal",
        "redis+unix://:secret@/run/redis.sock",
        "redis+sentinel://:secret@10.0.0.5,10.0.0.6/main?ssl=true",
    ],
)
def test_a_redis_that_shows_no_password_is_no_danger(url: str, folder: Path) -> None:
    assert warned(PUSH.format(f"url: '{url}', stream: a"), folder) == []


@pytest.mark.parametrize("url", ["redis://:secret@redis.internal", "redis+sentinel://u:secret@127.0.0.1,10.0.0.6/main"])
def test_a_password_in_clear_text_is_warned_of_and_never_shown(url: str, folder: Path) -> None:
    said = "warning: each hop on the way to Redis can read the password, and all messages (rediss:// encrypts)"
    assert warned(PUSH.format(f"url: '{url}', stream: a"), folder) == [f"c.yaml:1:24: routes[0].redis.url: {said}"]
    assert warned(f"store: {{url: '{url}'}}\n{PUSH.format('stream: a')}", folder) == [f"c.yaml:1:14: store.url: {said}"]


def test_a_permission_that_nothing_needs_is_warned_of(folder: Path) -> None:
    text = PUSH.format("url: redis://127.0.0.1, stream: 'a:{{x}}', unsafe_identity: true")
    assert warned(text, folder) == [
        (
            "c.yaml:1:79: routes[0].redis.unsafe_identity: warning: is not needed: no name holds cookie, query or "
            "header (leave it out, so that none can be added unseen)"
        )
    ]
    assert warned(PUSH.format("url: redis://127.0.0.1, stream: 'a:{query:x}', unsafe_identity: true"), folder) == []


def test_a_redis_of_no_route_is_warned_of(folder: Path) -> None:
    said = "warning: no route is served from there (leave it out)"
    url = "store: {url: redis://127.0.0.1}\n"
    assert warned(url + ROUTE, folder) == [f"c.yaml:1:14: store.url: {said}"]
    assert warned(url + PUSH.format("url: redis://127.0.0.1:2, stream: a"), folder) == [
        f"c.yaml:1:14: store.url: {said}"
    ]
    assert warned(url + PUSH.format("stream: a"), folder) == []


def test_a_ticket_that_is_opened_once_ends_a_feed(folder: Path) -> None:
    once = PUSH.format("url: redis://127.0.0.1, stream: news}, tickets: {ttl: 1m")
    (said,) = warned(once, folder)
    assert "tickets.reopen: warning: an EventSource that comes back" in said
    always = PUSH.format("url: redis://127.0.0.1, stream: news}, tickets: {reopen: always")
    assert warned(always, folder) == []
