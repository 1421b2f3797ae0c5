"""Does a restart of the proxy cost a published client any word of its answer, or make half of one look whole?"""

import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.clients.catalogue import SERVICE_OF
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.scenes import Scene
from tests.support.sseproxy_process import SseproxyProcess

_CONFIG = """
server: {listen: 127.0.0.1:0, drain: {timeout: TIMEOUT, spread: 500ms}}
defaults:
  heartbeat: {interval: 100ms}
routes:
  - match: {prefix: /}
    upstream: UPSTREAM
"""
_LIMIT = 300.0  # seconds for one more client to come to the gate, and after which one of them hangs

#: litellm and langchain-ollama read with SDKs that are here anyway, and litellm takes as long to load as all others;
#: helpers read with their own SDK. EventSource comes back by itself.
_LEFT_OUT = ("litellm", "langchain-ollama", "eventsource", "sseclient-py")
CLIENTS = [client for client in SERVICE_OF if not client.name.startswith(_LEFT_OUT) and "helper" not in client.name]
SDKS = [client for client in CLIENTS if SERVICE_OF[client] not in {"generic", "graphql", "cohere"}]

Outcomes = Mapping[Client, Outcome]

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcomes, Outcomes, Outcomes]]:
    """What came of each client without a proxy, of a proxy that has time to drain, and of one that has too little."""
    with ExitStack() as stack:
        patient, hasty = (stack.enter_context(serving(EndsUpstream())) for _ in range(2))
        proxies = [
            stack.enter_context(_proxy(tmp_path_factory, upstream, timeout))
            for upstream, timeout in ((patient, "60s"), (hasty, "1s"))
        ]
        bases = [patient.url, proxies[0].url, proxies[1].url]
        scripts = ["after/whole", f"scene/{Scene.GATED}", f"scene/{Scene.GATED}"]
        jobs = [{client: _job(*where, client) for client in CLIENTS} for where in zip(bases, scripts, strict=True)]
        pool = stack.enter_context(ThreadPoolExecutor(1))
        running = pool.submit(run_clients, [job for some in jobs for job in some.values()])
        _wait_for(patient)
        _wait_for(hasty)
        for proxy in proxies:
            proxy.send_signal(signal.SIGTERM)
        assert proxies[1].wait() == 0
        patient.gate.open()
        done = running.result()
        first, second, third = ({client: done[job] for client, job in some.items()} for some in jobs)
        yield first, second, third


def _proxy(folders: pytest.TempPathFactory, upstream: EndsUpstream, timeout: str) -> SseproxyProcess:
    config = folders.mktemp("drain") / "sseproxy.yaml"
    config.write_text(_CONFIG.replace("UPSTREAM", upstream.url).replace("TIMEOUT", timeout))
    return SseproxyProcess("-c", str(config))


def _job(server: str, script: str, client: Client) -> Job:
    return Job(client, f"{server}/{client.segment}/{SERVICE_OF[client]}/{script}", limit=_LIMIT)


def _wait_for(upstream: EndsUpstream) -> None:
    """Until every client has half of its answer."""
    for _ in CLIENTS:
        assert upstream.gate.await_arrival(_LIMIT), f"not here: {_missing(upstream)}"


def _missing(upstream: EndsUpstream) -> list[str]:
    come = {request.target.split("/")[1] for request in upstream.requests if Scene.GATED in request.target}
    return [str(client) for client in CLIENTS if client.segment not in come]


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_an_answer_under_way_is_finished(client: Client, restarted: tuple[Outcomes, Outcomes, Outcomes]) -> None:
    direct, patient, _ = restarted
    assert direct[client].error is None
    assert direct[client].items
    assert patient[client] == direct[client]


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_an_answer_that_takes_too_long_does_not_look_whole(
    client: Client, restarted: tuple[Outcomes, Outcomes, Outcomes]
) -> None:
    error = restarted[2][client].error
    assert error is not None
    assert "Timeout" not in error["classes"][0], "it hangs"


@pytest.mark.parametrize("client", SDKS, ids=str)
def test_an_sdk_says_why(client: Client, restarted: tuple[Outcomes, Outcomes, Outcomes]) -> None:
    assert "shut" in str(restarted[2][client].error)
