"""Do published clients read from a journalled route exactly what they read without one?

Heartbeats go out every 20 ms, and the service is silent for 70 ms before each piece of a stream.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.clients.client_programs import Client, Job, Outcome, Runtime, run_clients
from tests.e2e.clients.matrix import PARSERS, SDKS, Case
from tests.e2e.clients.recordings import Cutting, Ids, recorded_names
from tests.e2e.clients.replay import ReplayUpstream
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

_CONFIG = """
server: {listen: "127.0.0.1:0"}
log: {format: json}
defaults: {dialect: auto, timeouts: {response: 15m, idle: auto}, heartbeat: {interval: 20ms}}
routes:
  - match: {prefix: /journal}
    upstream: UPSTREAM
    stream: always
    journal: {kind: answer}
"""

_LANGGRAPH = Client(Runtime.PYTHON, "langgraph-sdk")

#: Clients whose `Accept` says that they take ids: they get ours where the service has none.
_TAKE_IDS = {
    Client(Runtime.PYTHON, "httpx-sse"): 2,
    Client(Runtime.NODE, "eventsource"): 2,
    Client(Runtime.NODE, "@microsoft/fetch-event-source"): 2,
    _LANGGRAPH: 2,
}


def _cases() -> Iterator[Case]:
    for client, dialect in SDKS.items():
        yield from (Case(client, "journal", dialect, ids, Cutting.CUT) for ids in Ids)
    for client in PARSERS:
        yield from (Case(client, "journal", name, ids, Cutting.CUT) for ids in Ids for name in recorded_names())
    yield from (Case(_LANGGRAPH, "journal", "openai-responses", ids, Cutting.CUT) for ids in Ids)


CASES = tuple(_cases())

#: A position, as it is in an id.
_OURS = re.compile(r"[\w-]{22}\.\d+-\d+")


@dataclass(frozen=True, slots=True)
class Read:
    """What came of each case, and what the access log says of its path."""

    outcomes: Mapping[Case, Outcome]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    config: Path = tmp_path_factory.mktemp("journal-clients") / "sseproxy.yaml"
    with ReplayUpstream() as upstream:
        config.write_text(_CONFIG.replace("UPSTREAM", upstream.url))
        with SseproxyProcess("-c", str(config)) as proxy:
            jobs: dict[Case, Job] = {case: case.job(proxy.url) for case in CASES}
            jobs |= {case.direct(): case.direct().job(upstream.url) for case in CASES}
            done = run_clients(jobs.values())
            lines = proxy.stdout.wait_for(lambda lines: sum('"journal":' in line for line in lines) >= len(CASES))
    assert lines
    return Read({case: done[job] for case, job in jobs.items()})


#: Where a client makes an empty message of a comment of the service's: a journal keeps no comments.
_COMMENTS = {(Client(Runtime.NODE, "@microsoft/fetch-event-source"), "generic"): 1}


def without_ours(case: Case, found: Outcome, wanted: Outcome) -> Outcome:
    """What a client has read, less ids of ours where the service has given none so far."""
    at = _TAKE_IDS.get(case.client)
    if at is None or len(found.items) != len(wanted.items):
        return found
    items = [list(item) for item in found.items]
    for item, direct in zip(items, wanted.items, strict=True):
        if _OURS.fullmatch(item[at] or "") and not direct[at]:
            item[at] = direct[at]
    return replace(found, items=items)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_result_is_the_same_as_without_a_journal(case: Case, read: Read) -> None:
    found, wanted = (read.outcomes[each] for each in (case, case.direct()))
    if (comment := _COMMENTS.get((case.client, case.stream))) is not None:
        del wanted.items[comment]
    assert without_ours(case, found, wanted) == wanted


@pytest.mark.parametrize("case", [case for case in CASES if case.ids is Ids.PLAIN], ids=str)
def test_only_who_takes_ids_gets_them(case: Case, read: Read) -> None:
    at = _TAKE_IDS.get(case.client)
    if at is not None:
        ids = [item[at] for item in read.outcomes[case].items]
        assert all(_OURS.fullmatch(position) for position in ids)
