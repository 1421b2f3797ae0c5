"""Does any client take half an answer for a whole one, or lose a good answer that comes late?

One proxy that knows of its upstream nothing but the address, heartbeats and early answers on, and every published
client through it, each with every scene that may happen to it.
"""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.clients.catalogue import SERVICE_OF, clients_of
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.endings import CODE
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.scenes import LOST, TOO_LONG, TOO_MANY, Scene
from tests.support.programs import require
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

_CONFIG = """
server: {listen: 127.0.0.1:0}
defaults:
  heartbeat: {interval: 30ms, before_response: 100ms}
  timeouts: {response: RESPONSE}
routes:
  - match: {prefix: /}
    upstream: UPSTREAM
"""
_LIMIT = 40.0  # seconds, after which a client hangs

#: What these read says nothing of how a response ended, or which status it had.
_CARELESS = {"eventsource", "eventsource-parser", "sseclient-py"}
ANSWERED = [client for client in SERVICE_OF if client.name not in _CARELESS]
#: Those of services whose errors have a shape in a stream.
SDKS = [client for client in ANSWERED if SERVICE_OF[client] not in {"generic", "graphql", "cohere"}]
MODELS = [client for client in SDKS if SERVICE_OF[client] != "mcp"]
MCP = clients_of("mcp")
#: Whose last event is known before the stream ends.
ENDING = [client for client in MODELS if SERVICE_OF[client] != "gemini"]
OPENAI = [client for client in MODELS if SERVICE_OF[client].startswith("openai")]

#: The class that is caught for an error of the service; of other clients the first of these words does.
OWN_CLASS: Mapping[str, str] = {
    "openai": "APIError",
    "anthropic": "API",
    "google": "APIError",
    "@google": "ApiError",
    "groq": "groq.APIError",
    "mistralai": "mistralai.",
    "langchain-ollama": "ollama.ResponseError",
    "langchain": "openai.APIError",
    "@langchain": "APIError",
    "litellm": "litellm.",
    "ai 6": "",  # throws the chunk's own error member
    "ai 7": "Error",
    "mcp 1": "McpError",
    "mcp 2": "MCPError",
    "fastmcp": "MCPError",
    "@modelcontextprotocol": "Error",
}


@dataclass(frozen=True, slots=True)
class Key:
    """Which client with which scene; ``direct``: the whole answer, without the proxy."""

    client: Client
    scene: str


Outcomes = Mapping[Key, Outcome]

_SCENES: tuple[tuple[Scene, list[Client]], ...] = (
    (Scene.LATE_WHOLE, ANSWERED),
    (Scene.LATE_429, ANSWERED),
    (Scene.LATE_400, OPENAI),
    (Scene.LATE_404, MCP),
    (Scene.LATE_CRASH, ANSWERED),
    (Scene.SILENT, ANSWERED),
    (Scene.BREAKS, ANSWERED),
    (Scene.STAYS, ENDING),
    (Scene.LATE_JSON, clients_of("mcp", "graphql")),
    (Scene.LATE_INITIALIZE, MCP),
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[EndsUpstream]:
    with serving(EndsUpstream()) as server:
        yield server


@pytest.fixture(scope="module")
def outcomes(upstream: EndsUpstream, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("ends")
    # On a busy machine a late response is later still, so only the upstream that never answers has little time for it.
    with (
        _proxy(folder / "patient.yaml", upstream, "60s") as patient,
        _proxy(folder / "hasty.yaml", upstream, "10s") as hasty,
    ):
        jobs = {Key(client, "direct"): _job(upstream.url, client, "after/whole") for client in ANSWERED}
        jobs |= {
            Key(client, scene): _job((hasty if scene is Scene.SILENT else patient).url, client, f"scene/{scene}")
            for scene, clients in _SCENES
            for client in clients
        }
        done = run_clients(jobs.values())
    return {key: done[job] for key, job in jobs.items()}


def _proxy(config: Path, upstream: EndsUpstream, response: str) -> SseproxyProcess:
    config.write_text(_CONFIG.replace("UPSTREAM", upstream.url).replace("RESPONSE", response))
    return SseproxyProcess("-c", str(config))


def _job(server: str, client: Client, script: str) -> Job:
    return Job(client, f"{server}/{client.segment}/{SERVICE_OF[client]}/{script}", limit=_LIMIT)


def _of_its_own(error: Mapping[str, object], client: Client) -> bool:
    word = next((word for prefix, word in OWN_CLASS.items() if client.name.startswith(prefix)), "")
    return word in str(error["classes"])


@pytest.mark.parametrize("client", ANSWERED, ids=str)
def test_an_answer_that_begins_late_is_whole(client: Client, outcomes: Outcomes) -> None:
    assert outcomes[Key(client, Scene.LATE_WHOLE)] == outcomes[Key(client, "direct")]
    assert outcomes[Key(client, "direct")].error is None
    assert outcomes[Key(client, "direct")].items


@pytest.mark.parametrize("scene", [Scene.LATE_429, Scene.LATE_CRASH, Scene.SILENT, Scene.BREAKS])
@pytest.mark.parametrize("client", ANSWERED, ids=str)
def test_no_failure_looks_like_an_end(client: Client, scene: Scene, outcomes: Outcomes) -> None:
    error = outcomes[Key(client, scene)].error
    assert error is not None
    assert "Timeout" not in error["classes"][0], "it hangs"


@pytest.mark.parametrize("scene", [Scene.LATE_429, Scene.LATE_CRASH, Scene.SILENT, Scene.BREAKS])
@pytest.mark.parametrize("client", SDKS, ids=str)
def test_an_sdk_raises_its_own_class(client: Client, scene: Scene, outcomes: Outcomes) -> None:
    error = outcomes[Key(client, scene)].error
    assert error is not None
    assert _of_its_own(error, client), error["classes"]


@pytest.mark.parametrize(
    ("scene", "words"),
    [(Scene.BREAKS, "broke off"), (Scene.LATE_CRASH, "broke off"), (Scene.SILENT, "no response came in time")],
)
@pytest.mark.parametrize("client", SDKS, ids=str)
def test_an_sdk_has_the_words_of_the_error_event(client: Client, scene: Scene, words: str, outcomes: Outcomes) -> None:
    """A connection that breaks without an error event is raised too, but says nothing of it."""
    assert words in str(outcomes[Key(client, scene)].error)


@pytest.mark.parametrize("client", SDKS, ids=str)
def test_a_late_error_keeps_its_words(client: Client, outcomes: Outcomes) -> None:
    assert TOO_MANY in str(outcomes[Key(client, Scene.LATE_429)].error)


@pytest.mark.parametrize("client", OPENAI, ids=str)
def test_a_late_error_keeps_its_code(client: Client, outcomes: Outcomes) -> None:
    error = outcomes[Key(client, Scene.LATE_400)].error
    assert error is not None
    assert TOO_LONG in str(error)
    if client.name.startswith("openai"):
        assert error["code"] == CODE


@pytest.mark.parametrize("client", SDKS, ids=str)
def test_what_came_before_the_break_is_handed_out(client: Client, outcomes: Outcomes) -> None:
    outcome = outcomes[Key(client, Scene.BREAKS)]
    assert outcome.items or SERVICE_OF[client] == "mcp"


@pytest.mark.parametrize("client", ENDING, ids=str)
def test_an_upstream_that_stays_open_is_left_when_all_is_said(
    client: Client, outcomes: Outcomes, upstream: EndsUpstream
) -> None:
    assert outcomes[Key(client, Scene.STAYS)] == outcomes[Key(client, "direct")]
    path = f"/{client.segment}/{SERVICE_OF[client]}/scene/{Scene.STAYS}"
    [left] = [seconds for target, seconds in upstream.lingered.items() if target.startswith(path)]
    assert left is not None
    assert left < 10


@pytest.mark.parametrize("client", [*MCP, *clients_of("graphql")], ids=str)
def test_a_late_answer_in_json_arrives(client: Client, outcomes: Outcomes) -> None:
    outcome = outcomes[Key(client, Scene.LATE_JSON)]
    assert outcome.error is None
    assert outcome.items


@pytest.mark.parametrize("client", MCP, ids=str)
def test_a_session_that_begins_late_has_its_id(client: Client, outcomes: Outcomes) -> None:
    outcome = outcomes[Key(client, Scene.LATE_INITIALIZE)]
    assert outcome.error is None
    assert outcome.items


@pytest.mark.parametrize("client", MCP, ids=str)
def test_a_lost_session_is_raised(client: Client, outcomes: Outcomes) -> None:
    error = outcomes[Key(client, Scene.LATE_404)].error
    assert error is not None
    assert _of_its_own(error, client), error["classes"]
    assert LOST in str(error)


@pytest.mark.parametrize(
    ("scene", "good"),
    [(Scene.LATE_WHOLE, True), (Scene.LATE_429, False), (Scene.LATE_CRASH, False), (Scene.BREAKS, False)],
)
def test_curl_knows_a_failure_by_its_exit_code(upstream: EndsUpstream, scene: Scene, *, good: bool) -> None:
    """With the flags of README's first command."""
    flags = ("--upstream", upstream.url, "--listen", "127.0.0.1:0", "--before-response", "100ms", "--heartbeat", "30ms")
    with SseproxyProcess(*flags) as proxy:
        url = f"{proxy.url}/curl/openai-chat/scene/{scene}/v1/chat/completions"
        command = [require("curl"), "-sSfN", "--max-time", "60", "--json", '{"stream": true}', url]
        assert (subprocess.run(command, check=False, capture_output=True, timeout=90).returncode == 0) is good
