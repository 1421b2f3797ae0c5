"""What does each SDK make of a JSON answer that was begun before the service had one? A table of ``docs/json.md``.

python -m tests.e2e.clients.answers_rig    measures it, through sseproxy, and prints it
"""

import json
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.clients.catalogue import ANSWERING
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.late_answers import TEXT, WORDS, LateAnswer
from tests.support.sseproxy_process import SseproxyProcess


class Way(StrEnum):
    """How the answer comes: directly, through a proxy, one that waits a second for it, or one that is stopped.

    DRAINED has time to let all answers be finished, STOPPED has not.
    """

    DIRECT = "direct"
    PATIENT = "patient"
    HASTY = "hasty"
    DRAINED = "drained"
    STOPPED = "stopped"


_LIMIT = 300.0  # seconds for all clients to be there, and after which one of them hangs
_CONFIG = """
server: {{listen: 127.0.0.1:0, drain: {{timeout: {drain}, spread: off}}}}
log: {{format: json, level: debug}}
defaults:
  heartbeat: {{json: 100ms, interval: 50ms}}
  timeouts: {{response: {response}}}
routes:
  - match: {{prefix: /}}
    upstream: {upstream}
"""
_WITH_OWN_ERROR = (LateAnswer.E400, LateAnswer.E401, LateAnswer.E429, LateAnswer.E500)
_CASES = (
    *((way, what) for way in (Way.DIRECT, Way.PATIENT) for what in LateAnswer if what not in {"silent", "gated"}),
    (Way.HASTY, LateAnswer.SILENT),
    (Way.DRAINED, LateAnswer.GATED),
    (Way.STOPPED, LateAnswer.GATED),
)
#: What came of these cases is a column of the table.
COLUMNS: Mapping[str, tuple[tuple[Way, LateAnswer], ...]] = {
    "a late answer": ((Way.PATIENT, LateAnswer.WHOLE), (Way.DRAINED, LateAnswer.GATED)),
    "a late error of the service": tuple((Way.PATIENT, what) for what in _WITH_OWN_ERROR),
    "an error of sseproxy": (
        (Way.PATIENT, LateAnswer.PAGE),
        (Way.PATIENT, LateAnswer.CRASH),
        (Way.HASTY, LateAnswer.SILENT),
        (Way.STOPPED, LateAnswer.GATED),
    ),
    "a late 204": ((Way.PATIENT, LateAnswer.NOTHING),),
    "it breaks off": ((Way.PATIENT, LateAnswer.HALF),),
}
# What the errors say: the service's own, and those of sseproxy.
_WORDS = (WORDS, "marker-5c1", "broke off", "no response came in time", "shut")

Column = tuple[Way, LateAnswer]
Measured = Mapping[Client, Mapping[Column, Outcome]]


def measure(folder: Path) -> tuple[Measured, list[str]]:
    """What each client made of each case, and the log of the patient proxy. folder: for configurations."""
    with ExitStack() as stack:
        upstreams = {way: stack.enter_context(serving(EndsUpstream())) for way in Way}
        proxies = {
            way: stack.enter_context(_proxy(folder / f"{way}.yaml", way, upstreams[way].url))
            for way in Way
            if way is not Way.DIRECT
        }
        bases = {way: proxies[way].url if way in proxies else upstreams[way].url for way in Way}
        jobs = {
            (client, case): Job(client, f"{bases[case[0]]}/{client.segment}/{service}/answer/{case[1]}", limit=_LIMIT)
            for case in reversed(_CASES)  # those first for which all others wait
            for client, service in ANSWERING.items()
        }
        pool = stack.enter_context(ThreadPoolExecutor(1 + len(proxies)))
        promised = {
            way: pool.submit(_follow, proxy, upstreams[way], sum(case[0] is way for case in _CASES) * len(ANSWERING))
            for way, proxy in proxies.items()
        }
        running = pool.submit(run_clients, jobs.values())
        for way in (Way.DRAINED, Way.STOPPED):
            promised[way].result()
            proxies[way].send_signal(signal.SIGTERM)
        assert proxies[Way.STOPPED].wait() == 0
        upstreams[Way.DRAINED].gate.open()
        done = running.result()
        of_patient = 2 * sum(way is Way.PATIENT for way, _ in _CASES) * len(ANSWERING)  # a beginning and an end
        log = proxies[Way.PATIENT].stdout.wait_for(lambda lines: len(lines) >= of_patient)
    return {client: {case: done[jobs[client, case]] for case in _CASES} for client in ANSWERING}, log


def _follow(proxy: SseproxyProcess, upstream: EndsUpstream, wanted: int) -> None:
    """Tell `upstream` which clients have been promised an answer, until it is `wanted` of them."""
    upstream.promises.is_late = True
    proxy.stdout.wait_for(lambda lines: upstream.promises.read_log(lines) >= wanted, _LIMIT)


def _proxy(file: Path, way: Way, upstream: str) -> SseproxyProcess:
    response = "10s" if way is Way.HASTY else "300s"
    drain = "1s" if way is Way.STOPPED else "300s"
    file.write_text(_CONFIG.format(upstream=upstream, response=response, drain=drain))
    return SseproxyProcess("-c", str(file))


def verdict(found: Outcome) -> str:
    """In a few words, what came of it."""
    error = found.error
    if error is None and found.items[-1] == TEXT:
        return "the answer"
    if error is None or found.items:
        return f"**no error**, no text{_words(found.items)}"
    return f"raises `{error['classes'][0].removeprefix('builtins.')}`{_words(error)}"


def _words(said: object) -> str:
    text = json.dumps(said, default=str)
    return ", words" if any(word in text for word in _WORDS) else ""


def table(measured: Measured) -> list[str]:
    """The lines of the table, in Markdown."""
    lines = [("client", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
    for client, row in measured.items():
        cells = (dict.fromkeys(verdict(row[case]) for case in cases) for cases in COLUMNS.values())
        runtime, _, name = str(client).partition(" answer ")
        lines.append((f"{name} ({runtime.capitalize()})", *("; ".join(cell) for cell in cells)))
    return [f"| {' | '.join(cells)} |" for cells in lines]


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        sys.stdout.write("\n".join(table(measure(Path(folder))[0])) + "\n")


if __name__ == "__main__":
    main()
