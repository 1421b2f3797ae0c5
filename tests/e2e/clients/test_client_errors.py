"""Does an error event, of a head that went out early or of a stream that broke off, raise the SDK's own error?"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.clients.client_programs import Client, Job, Outcome, Runtime, run_clients
from tests.e2e.clients.matrix import PARSERS, SDKS
from tests.e2e.clients.replay import ReplayUpstream
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.


@dataclass(frozen=True, slots=True)
class Failure:
    """route: by which the proxy fails, or lets the upstream fail. kind: the type of error, where it is ours to name."""

    name: str
    route: str
    script: str
    status: int
    kind: str | None = None
    message: str | None = None


LATE = (
    Failure("429 with a body of its own", "late", "rate-limit", 429, "rate_limit_error", "Too many tokens per minute"),
    Failure("500 in plain text", "late", "server-error", 500, "upstream_response", "the model fell over"),
    Failure("no answer", "late", "silent", 504, "response_timeout"),
    Failure("no connection", "unreachable", "silent", 502, "connect_error"),
)
STALL = Failure("silence in the middle", "late", "stall", 504, "idle_timeout")
BROKEN = Failure("silence in the middle without a dialect", "late", "stall", 504)
REFUSED = Failure("connection refused", "refused", "silent", 502)

#: The class that a client of each SDK expects to catch, by runtime and dialect.
API_ERRORS = {
    (Runtime.PYTHON, "openai-chat"): "openai.APIError",
    (Runtime.PYTHON, "openai-responses"): "openai.APIError",
    (Runtime.PYTHON, "anthropic"): "anthropic.APIStatusError",
    (Runtime.PYTHON, "gemini"): "google.APIError",
    (Runtime.NODE, "openai-chat"): "OpenAI.APIError",
    (Runtime.NODE, "openai-responses"): "OpenAI.APIError",
    (Runtime.NODE, "anthropic"): "Anthropic.APIError",
    (Runtime.NODE, "gemini"): "ApiError",
}
ANTHROPIC_TYPES = {429: "rate_limit_error", 500: "api_error", 502: "api_error", 504: "timeout_error"}

Key = tuple[Client, str]


@pytest.fixture(scope="module")
def errors(upstream: ReplayUpstream, proxy: SseproxyProcess) -> Mapping[Key, Outcome]:
    """What came of each client and failure, by the failure's name."""
    sdks = itertools.product(SDKS, (*LATE, STALL, BROKEN, REFUSED))
    parsers = itertools.product(PARSERS, (*LATE, BROKEN))
    jobs = {(client, failure.name): _job(client, failure, proxy) for client, failure in (*sdks, *parsers)}
    done = run_clients(jobs.values())
    return {key: done[job] for key, job in jobs.items()}


def _job(client: Client, failure: Failure, proxy: SseproxyProcess) -> Job:
    stream = SDKS.get(client, "generic")
    dialect = "generic" if failure is BROKEN else stream
    script = f"stall-{stream}" if failure.script == "stall" else failure.script
    return Job(client, f"{proxy.url}/{failure.route}-{dialect}/{client.segment}/fault/{script}")


def _named(failure: Failure) -> str:
    return failure.name


@pytest.mark.parametrize("failure", [*LATE, STALL, REFUSED], ids=_named)
@pytest.mark.parametrize("client", SDKS, ids=str)
def test_the_sdk_raises_its_own_error(client: Client, failure: Failure, errors: Mapping[Key, Outcome]) -> None:
    error = errors[client, failure.name].error
    assert error is not None
    assert API_ERRORS[client.runtime, SDKS[client]] in error["classes"]


@pytest.mark.parametrize("failure", [*LATE, STALL], ids=_named)
@pytest.mark.parametrize("client", SDKS, ids=str)
def test_the_error_says_what_happened(client: Client, failure: Failure, errors: Mapping[Key, Outcome]) -> None:
    error = errors[client, failure.name].error
    assert error is not None
    assert failure.message is None or failure.message in error["message"]
    assert error["message"].strip()
    _SHOWN[SDKS[client]](error, failure)


def _openai_shows(error: Mapping[str, Any], failure: Failure) -> None:
    assert str(error["code"]) == str(failure.status)
    assert error["type"] == failure.kind
    assert error["body"].get("retry_after") == ("7" if failure.status == 429 else None)


def _anthropic_shows(error: Mapping[str, Any], failure: Failure) -> None:
    assert error["type"] == ANTHROPIC_TYPES[failure.status]
    assert error["body"]["error"].get("retry_after") == ("7" if failure.status == 429 else None)


def _google_shows(error: Mapping[str, Any], failure: Failure) -> None:
    assert failure.status in {error.get("code"), error.get("status")}
    assert ("retry_after" in error["message"]) is (failure.status == 429)


_SHOWN = {
    "openai-chat": _openai_shows,
    "openai-responses": _openai_shows,
    "anthropic": _anthropic_shows,
    "gemini": _google_shows,
}


@pytest.mark.parametrize("client", SDKS, ids=str)
def test_a_refused_connection_is_an_ordinary_error_status(client: Client, errors: Mapping[Key, Outcome]) -> None:
    """It comes before the head would have gone out early."""
    error = errors[client, REFUSED.name].error
    assert error is not None
    assert REFUSED.status in {error.get("status_code"), error.get("status"), error.get("code")}


@pytest.mark.parametrize("client", SDKS, ids=str)
def test_what_came_before_the_silence_is_not_lost(client: Client, errors: Mapping[Key, Outcome]) -> None:
    assert errors[client, STALL.name].items


@pytest.mark.parametrize("failure", LATE, ids=_named)
@pytest.mark.parametrize("client", PARSERS, ids=str)
def test_a_generic_client_gets_one_error_event(client: Client, failure: Failure, errors: Mapping[Key, Outcome]) -> None:
    """And then a broken end, that nothing takes the answer for whole: only EventSource calls every end an error."""
    outcome = errors[client, failure.name]
    assert (outcome.error is None) is (client.name == "eventsource")
    [(name, data, *_)] = outcome.items
    assert name == "error"
    assert json.loads(data)["status"] == failure.status


@pytest.mark.parametrize("client", [*SDKS, *PARSERS], ids=str)
def test_a_stream_that_broke_off_does_not_look_complete(client: Client, errors: Mapping[Key, Outcome]) -> None:
    """Where no error event would be understood, the connection breaks; EventSource calls every end an error."""
    outcome = errors[client, BROKEN.name]
    assert outcome.items
    assert outcome.error is not None or client.name == "eventsource"
