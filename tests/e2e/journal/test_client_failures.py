"""Do published clients hear of a service that fails on a journalled route exactly as they do without a journal?"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.matrix import PARSERS, SDKS
from tests.e2e.clients.replay import ReplayUpstream
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

_ROUTE = """
  - match: {prefix: /WAY-DIALECT}
    upstream: UPSTREAM
    dialect: DIALECT
    stream: always
    heartbeat: {interval: 20ms, before_response: 50ms}
    timeouts: {response: 8s, idle: 8s}
"""
_WAYS = {"without": "", "with": "    journal: {kind: answer}\n"}

#: The service answers late with an error, never, or is silent in the middle of a stream.
_FAULTS = ("rate-limit", "server-error", "silent", "stall")

#: What is another one in each response.
_OWN = re.compile(r"[\w-]{22}\.\d+-\d+|[0-9a-f]{12}-[0-9a-f]+")

CASES = list(itertools.product((*SDKS, *PARSERS), _FAULTS))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[tuple[str, Client, str], Outcome]]:
    """What came of each case, with a journal and without one."""
    config: Path = tmp_path_factory.mktemp("journal-failures") / "sseproxy.yaml"
    dialects = sorted({*SDKS.values(), "generic"})
    with ReplayUpstream() as upstream:
        routes = [
            _ROUTE.replace("WAY", way).replace("DIALECT", dialect) + more
            for way, more in _WAYS.items()
            for dialect in dialects
        ]
        text = 'server: {listen: "127.0.0.1:0"}\nroutes:' + "".join(routes)
        config.write_text(text.replace("UPSTREAM", upstream.url))
        with SseproxyProcess("-c", str(config)) as proxy:
            jobs = {(way, *case): _job(proxy.url, way, *case) for way in _WAYS for case in CASES}
            done = run_clients(jobs.values())
            yield {key: done[job] for key, job in jobs.items()}


def _job(url: str, way: str, client: Client, fault: str) -> Job:
    stream = SDKS.get(client, "generic")
    script = f"stall-{stream}" if fault == "stall" else fault
    return Job(client, f"{url}/{way}-{stream}/{client.segment}/fault/{script}")


def told(outcome: Outcome) -> Any:
    """What a client was told, less the ids of ours that are in it."""
    return json.loads(_OWN.sub("", json.dumps([outcome.items, outcome.error])))


@pytest.mark.parametrize(("client", "fault"), CASES, ids=str)
def test_a_failure_is_the_same_as_without_a_journal(
    client: Client, fault: str, outcomes: Mapping[tuple[str, Client, str], Outcome]
) -> None:
    found, wanted = (outcomes[way, client, fault] for way in ("with", "without"))
    if (client.name, fault) == ("@microsoft/fetch-event-source", "stall"):
        del wanted.items[1]  # it makes an empty message of a comment of the service's: a journal keeps no comments
    assert told(found) == told(wanted)
    assert found.error is not None or found.items
