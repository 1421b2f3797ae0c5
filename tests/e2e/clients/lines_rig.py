"""What do programs that read JSON lines make of white space between them? A table of ``docs/ndjson.md``.

    python -m tests.e2e.clients.lines_rig    measures it, through sseproxy, and prints it

Heartbeats go out every 20 ms, and the service is silent for 70 ms before, within and between its records.
"""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.clients.catalogue import READING
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.scenes import Scene
from tests.support.sseproxy_process import SseproxyProcess


class WhiteSpace(StrEnum):
    """The values of `heartbeat.ndjson` that name what is sent."""

    SPACE = "space"
    NEWLINE = "newline"
    OFF = "off"


#: CUTS has no silence behind the last record, CUTS_ENDING has some.
SCENES = (Scene.CUTS, Scene.CUTS_ENDING)

_LIMIT = 60.0  # seconds, after which a reader hangs
_HEAD = """
server: {listen: 127.0.0.1:0}
log: {format: json}
defaults: {heartbeat: {interval: 20ms}}
routes:
"""
_ROUTE = """
  - match: {prefix: /VALUE}
    upstream: UPSTREAM
    rewrite: {strip_prefix: /VALUE}
    heartbeat: {ndjson: "VALUE"}
"""

Column = tuple[WhiteSpace, Scene]
Measured = Mapping[Client, Mapping[Column, Outcome]]


def config(upstream: str) -> str:
    """A route for each value, by the first segment of the path."""
    return _HEAD + "".join(_ROUTE.replace("VALUE", value) for value in WhiteSpace).replace("UPSTREAM", upstream)


def measure(upstream: EndsUpstream, proxy: SseproxyProcess, service: str = "records") -> Measured:
    """What each reader made of each scene, with each kind of white space."""
    jobs = {
        client: {
            (value, scene): Job(client, f"{proxy.url}/{value}/{client.segment}/{service}/scene/{scene}", limit=_LIMIT)
            for value in WhiteSpace
            for scene in (*SCENES, Scene.BREAKS)
        }
        for client in READING
    }
    done = run_clients(job for row in jobs.values() for job in row.values())
    return {client: {column: done[job] for column, job in row.items()} for client, row in jobs.items()}


def verdict(found: Outcome, plain: Outcome) -> str:
    """In a few words, what came of it. plain: what the reader makes of it without heartbeats."""
    if found == plain:
        return "all"
    if found.error is None:
        return "lost"
    raised = f"raises `{found.error['classes'][0].removeprefix('builtins.')}`"
    return f"all, then {raised}" if found.items == plain.items else raised


_HEADINGS = (
    "how the client reads",
    *(f"`{value}`{where}" for value in ("space", "newline") for where in ("", ", silence behind the last record")),
)


def table(measured: Measured) -> list[str]:
    """The lines of the table, in Markdown."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS)]
    for client, row in measured.items():
        columns = [(value, scene) for value in (WhiteSpace.SPACE, WhiteSpace.NEWLINE) for scene in SCENES]
        lines.append((READING[client], *(verdict(row[column], row[WhiteSpace.OFF, column[1]]) for column in columns)))
    return [f"| {' | '.join(cells)} |" for cells in lines]


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder, serving(EndsUpstream()) as upstream:
        file = Path(folder) / "sseproxy.yaml"
        file.write_text(config(upstream.url))
        with SseproxyProcess("-c", str(file)) as proxy:
            sys.stdout.write("\n".join(table(measure(upstream, proxy))) + "\n")


if __name__ == "__main__":
    main()
