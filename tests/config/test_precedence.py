"""Who wins: flag, variable, file or default? And where is a wrong value said to come from?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from sseproxy.config.flags import OVERRIDES, FlagValue
from sseproxy.config.loader import load
from sseproxy.config.settings import Config
from sseproxy.core.stream.timeouts import Auto
from tests.config.reading import complaints, read, upstream_of

FILE = """
server: {{listen: '127.0.0.1:1', workers: 2}}
admin: {{listen: '127.0.0.1:11'}}
log: {{level: error, format: json, access: false}}
defaults:
  dialect: openai-chat
  heartbeat: {{interval: 1s, form: event, before_response: 1s}}
  timeouts: {{idle: 1s}}
routes:
  - match: {{path: /a}}
    upstream: http://file/base
{route}
  - upstream: http://file/base
"""
OF_THE_ROUTE = """
    dialect: anthropic
    heartbeat: {interval: 4s, form: blank, before_response: 4s, comment: kept}
    timeouts: {idle: 4s, write: 4s}
"""

Look = Callable[[Config], object]


#: Flag, what looks at its effect, then: flag, its effect; variable, its effect; the file's effect; the default's.
TABLE: list[tuple[str, Look, FlagValue, object, str, object, object, object]] = [
    ("--upstream", lambda c: upstream_of(c.routes[0]).authority, "http://f", "f", "http://v", "v", "file", None),
    ("--listen", lambda c: [str(a) for a in c.server.listen], [":3"], [":3"], ":4, :5", [":4", ":5"],
     ["127.0.0.1:1"], ["127.0.0.1:8080"]),
    ("--heartbeat", lambda c: c.routes[0].heartbeat.interval, "2s", 2.0, "3s", 3.0, 4.0, 15.0),
    ("--heartbeat-form", lambda c: c.routes[0].heartbeat.form, "auto", "auto", "event", "event", "blank", "auto"),
    ("--before-response", lambda c: c.routes[0].heartbeat.before_response, "2s", 2.0, "off", None, 4.0, None),
    ("--idle-timeout", lambda c: c.routes[0].timeouts.idle, "auto", Auto.AUTO, "3s", 3.0, 4.0, Auto.AUTO),
    ("--dialect", lambda c: c.routes[0].dialect, "gemini", "gemini", "generic", "generic", "anthropic", "auto"),
    ("--workers", lambda c: c.server.workers, "3", 3, "4", 4, 2, 1),
    ("--admin", lambda c: str(c.admin.listen) if c.admin else None, ":7", ":7", ":8", ":8", "127.0.0.1:11", None),
    ("--log-level", lambda c: c.log.level, "debug", "debug", "critical", "critical", "error", "info"),
    ("--log-format", lambda c: c.log.format, "text", "text", "json", "json", "json", "text"),
    ("--no-access-log", lambda c: c.log.access, True, False, "true", True, False, True),
]  # fmt: skip
VARIABLES = {override.flag: override.variable for override in OVERRIDES}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_flags_win_over_variables_those_over_the_file_that_over_defaults(
    row: tuple[str, Look, FlagValue, object, str, object, object, object], folder: Path
) -> None:
    flag, look, flag_says, by_flag, variable_says, by_variable, by_file, by_default = row
    text = FILE.format(route=OF_THE_ROUTE)
    flags, environ = {flag: flag_says}, {VARIABLES[flag]: variable_says}
    assert look(read(text, folder, flags=flags, environ=environ)) == by_flag
    assert look(read(text, folder, environ=environ)) == by_variable
    assert look(read(text, folder)) == by_file
    assert look(read(text, folder, flags={flag: None}, environ={VARIABLES[flag]: ""})) == by_file
    if flag != "--upstream":
        assert look(load(None, flags={"--upstream": "http://u"}, environ={})) == by_default


def test_the_table_has_every_flag() -> None:
    assert [row[0] for row in TABLE] == [override.flag for override in OVERRIDES]


def test_an_override_holds_for_every_route_and_leaves_the_rest_alone(folder: Path) -> None:
    config = read(FILE.format(route=OF_THE_ROUTE), folder, flags={"--heartbeat": "9s", "--idle-timeout": "9s"})
    first, second = config.routes
    assert (first.heartbeat.interval, first.timeouts.idle, first.heartbeat.comment) == (9.0, 9.0, "kept")
    assert (second.heartbeat.interval, second.timeouts.idle, second.heartbeat.comment) == (9.0, 9.0, "heartbeat")
    assert first.timeouts.write == 4.0


def test_upstream_alone_is_enough() -> None:
    (route,) = load(None, flags={"--upstream": "http://u:1/v1"}, environ={}).routes
    assert upstream_of(route).base_path == "/v1"
    assert route.match.matches(method="PUT", path="/any", host="any")


def test_upstream_replaces_that_of_every_route_and_completes_those_without(folder: Path) -> None:
    text = "routes:\n  - match: {path: /a}\n  - upstream: http://file\n"
    config = read(text, folder, flags={"--upstream": "http://u"})
    assert [upstream_of(route).host for route in config.routes] == ["u", "u"]


def test_a_variable_names_the_file(folder: Path) -> None:
    (folder / "other.yaml").write_text("routes: [{upstream: 'http://u'}]")
    assert load(None, flags={}, environ={"SSEPROXY_CONFIG": "other.yaml"}).routes
    assert complaints(None, environ={"SSEPROXY_CONFIG": "gone.yaml"}) == [
        "gone.yaml: cannot be read: no such file or directory"
    ]


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ({}, {}, ["nothing to proxy: there are no routes and no upstream (--upstream URL, or routes)"]),
        (
            {"--upstream": "ftp://u", "--heartbeat": "soon", "--workers": "0"},
            {},
            [
                "--heartbeat: expected a duration, got 'soon' (such as 15s, 1.5s, 500ms, 2m, 1h or off)",
                "--upstream: scheme 'ftp' is not http, https or http+unix",
                "--workers: must be between 1 and 1024, not 0",
            ],
        ),
        (
            {"--upstream": "http://u", "--before-response": "15m"},
            {},
            ["--before-response: must be shorter than timeouts.response (15m)"],
        ),
        (
            {"--upstream": "http://u", "--heartbeat": "off", "--before-response": "5s"},
            {},
            ["--heartbeat: is off, but heartbeat.before_response needs heartbeats (or set before_response: off)"],
        ),
        (
            {"--listen": [":1", "127.0.0.1:1"]},
            {"SSEPROXY_UPSTREAM": "http://u", "SSEPROXY_ADMIN": "x"},
            [
                "--listen: takes the same place as :1",
                "SSEPROXY_ADMIN: expected HOST:PORT, got 'x' (such as x:8080)",
            ],
        ),
        (
            {"--upstream": ""},
            {"SSEPROXY_ACCESS_LOG": "off", "SSEPROXY_HEARTBAET": "5s", "SSEPROXY_STORE": "1"},
            [
                "--upstream: expected a URL, got '' (such as http://127.0.0.1:9000)",
                "SSEPROXY_ACCESS_LOG: expected true or false, got 'off' (write false)",
                "SSEPROXY_HEARTBAET: unknown variable (did you mean SSEPROXY_HEARTBEAT?)",
                "SSEPROXY_STORE: unknown variable",
            ],
        ),
    ],
)
def test_wrong_values_name_their_flag_or_variable(
    flags: dict[str, FlagValue], environ: dict[str, str], said: list[str]
) -> None:
    assert sorted(complaints(None, flags=flags, environ=environ)) == said


def test_a_wrong_file_stays_wrong_when_a_flag_stands_above_it(folder: Path) -> None:
    (folder / "c.yaml").write_text("defaults: {heartbeat: {interval: soon}}\nroutes: [{upstream: 'http://u', tls: {}}]")
    wrong = "expected a duration, got 'soon' (such as 15s, 1.5s, 500ms, 2m, 1h or off)"
    assert complaints(Path("c.yaml"), flags={"--heartbeat": "soon", "--upstream": "http://v"}) == [
        f"c.yaml:1:34: defaults.heartbeat.interval: {wrong}",
        "c.yaml:2:33: routes[0].tls: has no effect on an http upstream",
        f"--heartbeat: {wrong}",
    ]


def test_variables_of_kubernetes_and_of_the_file_are_not_unknown(folder: Path) -> None:
    environ = {
        "SSEPROXY_PORT": "tcp://10.0.0.1:80",
        "SSEPROXY_SERVICE_HOST": "10.0.0.1",
        "SSEPROXY_SERVICE_PORT_HTTP": "80",
        "SSEPROXY_PORT_80_TCP_ADDR": "10.0.0.1",
        "SSEPROXY_ADMIN_SERVICE_HOST": "10.0.0.1",
        "SSEPROXY_TEAM": "blue",
    }
    text = "routes: [{upstream: 'http://u', headers: {request: {set: {X-Team: '${SSEPROXY_TEAM}'}}}}]"
    assert read(text, folder, environ=environ).routes[0].request_headers.set == (("X-Team", "blue"),)


def test_an_unknown_flag_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="--nope"):
        load(None, flags={"--nope": "x"}, environ={})
