"""Does a wrong option raise where it is written, with a message that names it?"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast, get_args

import pytest

from sseproxy.aiohttp import sse_keepalive
from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.asgi.options import DEFAULTS, DialectName, FormName, MiddlewareOptions, StreamOptions, read_options
from sseproxy.asgi.requests import stream_request
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm, HeartbeatPolicy
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.engine.live import LiveStreams
from tests.support.asgi_exchange import Exchange, script

LIVE = LiveStreams()
NO_DURATIONS = ["soon", "-1s", "", -3, "0s", 0, True, timedelta(days=-1), timedelta(0)]
DURATIONS = [
    "heartbeat",
    "before_response",
    "json",
    "response_timeout",
    "idle_timeout",
    "write_timeout",
    "max_duration",
]


async def selects_later(path: str) -> bool:
    return True


class SelectsLater:
    def __repr__(self) -> str:
        return "SelectsLater()"  # the name of a test: the same in every process

    async def __call__(self, path: str) -> bool:
        return True


WRONG: list[tuple[str, object, type[Exception]]] = [
    *((name, value, ValueError) for name in DURATIONS for value in NO_DURATIONS),
    ("form", "coment-line", ValueError),
    ("form", 3, ValueError),
    ("dialect", "openai", ValueError),
    ("dialect", None, ValueError),
    ("comment", "two\nlines", ValueError),
    ("comment", "two\rlines", ValueError),
    ("comment", "nul\0", ValueError),
    ("comment", b"bytes", TypeError),
    ("event", "ping", TypeError),
    ("event", {"nam": "ping"}, TypeError),
    ("event", {"name": "two\nlines"}, ValueError),
    ("event", {"data": 3}, TypeError),
    ("event", {"data": "nul\0"}, ValueError),
    ("prelude", "yes", TypeError),
    ("prelude", 1, TypeError),
    ("paths", "/events", TypeError),
    ("paths", ["events"], ValueError),
    ("paths", [3], ValueError),
    ("paths", 3, TypeError),
    ("paths", SelectsLater(), TypeError),
    ("comment", "\ud800", ValueError),
    ("event", {"name": ""}, ValueError),
    ("event", {"data": "\udfff"}, ValueError),
    ("streams", [], TypeError),
    ("secret", 3, TypeError),
    ("secret", b"a secret that is bytes", TypeError),
    ("secret", "", ValueError),
    ("secret", "too short", ValueError),
    ("app", None, TypeError),
    ("app", "app:app", TypeError),
]


def options_of(**options: Any) -> StreamOptions:
    SSEKeepaliveMiddleware(**{"app": script(), **options})  # refuses what is wrong
    return read_options(cast(MiddlewareOptions, options))


@pytest.mark.parametrize(("name", "value", "kind"), WRONG, ids=[f"{name}={value!r}" for name, value, _ in WRONG])
def test_a_wrong_option_raises_at_once_and_names_itself(name: str, value: object, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=rf"^{name}\b"):
        options_of(**{name: value})


def test_a_value_of_another_type_is_called_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^heartbeat: .*\bbytes\b"):
        options_of(heartbeat=b"15s")


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"^secret: must have at least 16 characters") as raised:
        options_of(secret="too short", before_response="10s")
    assert "too short" not in str(raised.value)
    assert "sixteen" not in repr(options_of(secret="of sixteen letters", before_response="10s"))


def test_aiohttp_refuses_the_same() -> None:
    with pytest.raises(ValueError, match=r"^heartbeat\b"):
        sse_keepalive(heartbeat="soon")
    with pytest.raises(TypeError, match=r"^hearbeat: .*did you mean heartbeat"):
        sse_keepalive(hearbeat="15s")  # type: ignore[call-arg]


def test_every_option_has_a_default_and_the_words_are_all_there_are() -> None:
    assert DEFAULTS.keys() == MiddlewareOptions.__annotations__.keys()
    assert get_args(DialectName) == tuple(Dialect)
    assert get_args(FormName) == tuple(HeartbeatForm)


def test_a_coroutine_function_selects_no_paths() -> None:
    with pytest.raises(TypeError, match=r"^paths: .*coroutine function"):
        options_of(paths=selects_later)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="hearbeat"):
        options_of(hearbeat="15s")


def test_a_misspelt_word_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="anthropic"):
        options_of(dialect="antropic")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("before_response", {"heartbeat": "off", "before_response": "10s"}),
        ("prelude", {"heartbeat": "off", "prelude": True}),
        ("secret", {"secret": "of sixteen letters"}),
        ("before_response", {"before_response": "5m", "response_timeout": "5m"}),
        ("json", {"heartbeat": "off", "json": "10s"}),
        ("json", {"json": "5m", "response_timeout": "5m"}),
    ],
)
def test_options_that_exclude_each_other_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        options_of(**options)


def test_the_defaults_are_those_of_the_configuration_file() -> None:
    options = options_of()
    assert options.heartbeat == HeartbeatPolicy()
    policy = TimeoutPolicy()
    assert options.timeouts == policy
    assert options.dialect is Dialect.AUTO
    assert options.selects is None


def test_durations_are_seconds_or_text_or_off() -> None:
    options = options_of(
        heartbeat=0.5, idle_timeout="1.5s", write_timeout="off", max_duration="2m", before_response="100ms"
    )
    assert options.heartbeat.interval == 0.5
    assert options.heartbeat.before_response == 0.1
    assert (options.timeouts.idle, options.timeouts.write, options.timeouts.max_duration) == (1.5, None, 120)


@pytest.mark.parametrize("value", [0.5, "500ms", "0.5s", timedelta(milliseconds=500)])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_may_be_said_in_many_ways(name: str, value: object) -> None:
    options = options_of(**{name: value})
    timeouts = options.timeouts
    others = (timeouts.response, timeouts.idle, timeouts.write, timeouts.max_duration)
    heartbeat = options.heartbeat
    assert 0.5 in (heartbeat.interval, heartbeat.before_response, heartbeat.json, *others)


@pytest.mark.parametrize("name", [*DURATIONS, "drain"])
def test_none_switches_off(name: str) -> None:
    assert replace(options_of(**{name: None}), live=LIVE) == replace(options_of(**{name: "off"}), live=LIVE)


def test_every_option_arrives_in_a_policy() -> None:
    options = options_of(form="event", comment="hi", event={"name": "tick"}, prelude=True, response_timeout=7)
    assert options.heartbeat.form is HeartbeatForm.EVENT
    assert options.heartbeat.comment == "hi"
    assert (options.heartbeat.event_name, options.heartbeat.event_data) == ("tick", "{}")
    assert options.heartbeat.prelude
    assert options.timeouts.response == 7


def test_a_dialect_brings_its_form_unless_one_is_named() -> None:
    def form_of(**options: Any) -> HeartbeatForm:
        return stream_request(Exchange(script()).scope, options_of(**options), None).plan().form

    assert form_of(dialect="anthropic") is HeartbeatForm.ANTHROPIC
    assert form_of(dialect="gemini") is HeartbeatForm.BLANK
    assert form_of(dialect="anthropic", form="comment-line") is HeartbeatForm.COMMENT_LINE


SELECTIONS: list[tuple[object, list[str], list[str]]] = [
    (["/api"], ["/api", "/api/", "/api/x"], ["/", "/apix", "/x/api"]),
    (("/a/", "/b"), ["/a", "/a/x", "/b"], ["/c", "/ab"]),
    (["/"], ["/", "/x"], []),
    ([], [], ["/", "/x"]),
    (lambda path: path.endswith("/stream"), ["/x/stream"], ["/x"]),
]


@pytest.mark.parametrize(("paths", "in_", "out"), SELECTIONS)
def test_paths_select_by_whole_segments_or_by_a_function(paths: Any, in_: list[str], out: list[str]) -> None:
    selects: Callable[[str], bool] | None = options_of(paths=paths).selects
    assert selects is not None
    assert [path for path in in_ + out if selects(path)] == in_
