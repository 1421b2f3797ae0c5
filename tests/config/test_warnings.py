"""Is what works and is dangerous said, at its place, without being an error?"""

from pathlib import Path

import pytest

from sseproxy.config.loader import load
from sseproxy.config.problems import ConfigErrors
from tests.config.reading import read

ROUTE = "routes: [{upstream: 'http://u:1'}]\n"


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
    assert warned(text, folder) == []


ALL = """\
server:
  trusted_proxies: [127.0.0.1, 0.0.0.0/0, '::/0', 128.0.0.0/1, '2000::/3']
  drain: {timeout: 26s}
admin: {listen: ':9090'}
defaults:
  tickets: {bind: none}
routes:
  - {match: {path: /a}, upstream: 'https://u', tls: {verify: false}}
  - {match: {path: /b}, upstream: 'http://u:1', auth: {cookie: sid}}
  - {match: {path: /c}, upstream: 'http://u:1', auth: {cookie: sid}, tickets: {}}
"""

STRANGERS = "trusts strangers: any of them may name another client, scheme and host (the addresses of your gateway)"
GRACE = "Kubernetes kills a pod 30s after SIGTERM by default (raise terminationGracePeriodSeconds"
UNVERIFIED = "anybody on the way to the upstream can read and change everything"
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
        f"c.yaml:8:62: routes[0].tls.verify: warning: {UNVERIFIED} (name its authority: ca)",
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "[::]", "sseproxy.internal"])
def test_an_admin_listener_that_others_reach_is_warned_of(host: str, folder: Path) -> None:
    assert len(warned(f"admin: {{listen: '{host}:9090'}}\n{ROUTE}", folder)) == 1


def test_a_drain_without_end_is_longer_than_any_grace_period(folder: Path) -> None:
    assert warned("server: {drain: {timeout: off}}\n" + ROUTE, folder) == [
        f"c.yaml:1:27: server.drain.timeout: warning: waits for the last stream: {GRACE})"
    ]


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


DIALECT = "errors in a stream now have the shape of the service that the request is for"
IDLE = "silence may last 15m in an answer and for ever in a feed or a tunnel; it was 5m in all of them"
RESPONSE = "the upstream has 15m for its response head; it was 5m"
FORM = "the form that is safe for the client now comes before the dialect's"


def test_each_default_that_has_changed_is_warned_of_once_with_both_ways_out(folder: Path) -> None:
    first, second = "c.yaml:3:5: routes[0]", "c.yaml:4:5: routes[1]"
    left_out = "warning: left out:"
    assert warned(OLD, folder) == [
        f"{first}.dialect: {left_out} {DIALECT} (dialect: auto confirms that, dialect: generic is as before)",
        f"{first}.timeouts.idle: {left_out} {IDLE} (idle: auto confirms that, idle: 5m is as before)",
        f"{first}.timeouts.response: {left_out} {RESPONSE} (response: 15m confirms that, response: 5m is as before)",
        f"{second}.heartbeat.form: {left_out} {FORM} (form: auto confirms that, form: anthropic is as before)",
    ]


def test_what_keeps_the_old_silences_its_warning(folder: Path) -> None:
    old = "defaults: {heartbeat: {before_response: 10s%s}%s}\n" + ROUTE
    assert relying(old % ("", ", timeouts: {idle: 5m}"), folder) == ["routes[0].dialect", "routes[0].timeouts.response"]
    assert relying(old % ("", ", dialect: generic, timeouts: {idle: 5m}"), folder) == ["routes[0].timeouts.response"]
    assert relying(old % ("", ", dialect: generic, timeouts: {idle: 5m, response: 5m}"), folder) == []
    named = "defaults: {dialect: gemini%s, timeouts: {idle: 5m, response: 5m}}\n" + ROUTE
    assert relying(named % "", folder) == ["routes[0].heartbeat.form"]
    assert relying(named % ", heartbeat: {form: blank}", folder) == []
    assert relying(named % ", heartbeat: {form: auto}", folder) == []


@pytest.mark.parametrize(
    "new",
    [
        "dialect: auto",
        "dialect: mcp",
        "timeouts: {idle: auto}",
        "stream: {kind: feed}",
        "stream: {declared: {query: stream}}",
        "end: {marker: done, only: marker}",
        "end: {marker: {event: done}}",
    ],
)
def test_a_file_with_a_word_of_this_version_was_written_for_it(new: str, folder: Path) -> None:
    text = f"routes: [{{upstream: 'http://u:1', heartbeat: {{before_response: 10s}}, {new}}}]"
    assert warned(text, folder) == []


@pytest.mark.parametrize("flags", [{}, {"--before-response": "10s"}, {"--dialect": "anthropic"}])
def test_without_a_file_nothing_relies_on_what_was(flags: dict[str, str]) -> None:
    assert load(None, flags={"--upstream": "http://127.0.0.1:1", **flags}, environ={}).warnings == ()


@pytest.mark.parametrize(("timeout", "count"), [("0", 0), ("5s", 1), ("9.9s", 1), ("10s", 0), ("25s", 0)])
def test_a_drain_that_is_too_short_for_an_answer_is_warned_of(timeout: str, count: int, folder: Path) -> None:
    said = warned(f"server: {{drain: {{timeout: {timeout}}}}}\n{ROUTE}", folder)
    assert len(said) == count
    assert all("breaks off with an error event" in line for line in said)
