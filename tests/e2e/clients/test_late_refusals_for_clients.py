"""Does a client that reconnects by itself stop when the service would refuse it for ever, but refuses it late?"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.clients.catalogue import clients_of
from tests.e2e.clients.client_programs import Client, Job, Runtime, run_clients
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.scenes import Scene
from tests.support.sseproxy_process import SseproxyProcess

_LIMIT = 120.0  # seconds, for all of it
_ARGUMENTS = ("--listen", "127.0.0.1:0", "--before-response", "100ms", "--heartbeat", "50ms", "--log-format", "json")
_EVENT_SOURCE = Client(Runtime.NODE, "eventsource until closed")
_SDKS = [client for client in clients_of("mcp") if client.runtime is Runtime.NODE]

pytestmark = pytest.mark.timeout(300)


def test_node_clients_are_told_in_a_way_that_their_parser_takes() -> None:
    """Their eventsource-parser hands out an id only with data: an id alone would not stop them."""
    with serving(EndsUpstream()) as upstream, SseproxyProcess("--upstream", upstream.url, *_ARGUMENTS) as proxy:
        jobs = [
            Job(client, f"{proxy.url}/{client.segment}/mcp/scene/{Scene.LATE_GET}", limit=_LIMIT) for client in _SDKS
        ]
        jobs.append(Job(_EVENT_SOURCE, f"{proxy.url}/{_EVENT_SOURCE.segment}/generic/scene/{Scene.LATE_404}"))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_clients, jobs)
            proxy.stdout.wait_for(lambda lines: _stopped(lines) == {job.client.segment for job in jobs}, _LIMIT)
            upstream.gate.open()
            done = running.result()
        assert [done[job].error for job in jobs] == [None] * len(jobs)
        asked = [request.target.split("/")[1] for request in upstream.requests if request.method == "GET"]
        assert sorted(asked) == sorted(job.client.segment for job in jobs)


def _stopped(lines: list[str]) -> set[str]:
    """The clients that have come back and were answered 204."""
    records = [json.loads(line) for line in lines]
    return {record["path"].split("/")[1] for record in records if record.get("status") == 204}
