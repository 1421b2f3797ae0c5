"""How are the published clients run?"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.support.programs import require

_ROOT = Path(__file__).parents[3]
_NODE_PROGRAM = Path(__file__).parent / "node" / "clients.mjs"
_LIMIT = 400  # seconds, for a program with all of its jobs


class Runtime(StrEnum):
    """What a client is written for."""

    PYTHON = "python"
    PYTHON_MCP_1 = "python, mcp 1"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Client:
    """A published client, in one of the ways in which it reads streams. name: what its program calls it."""

    runtime: Runtime
    name: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.name}"

    @property
    def segment(self) -> str:
        """As a segment of a path."""
        return str(self).translate(str.maketrans(" /", "__", "@,"))


@dataclass(frozen=True, slots=True)
class Job:
    """One stream to read. url: the base that the client is given.

    limit: seconds after which the client counts as hanging. pause: seconds that its reader takes for each item.
    """

    client: Client
    url: str
    limit: float | None = None
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client made of a stream: the items that it handed out, and what it raised, if it did."""

    items: list[Any]
    error: Mapping[str, Any] | None = None


def run_clients(jobs: Iterable[Job]) -> dict[Job, Outcome]:
    """What came of each of `jobs`; all programs run at the same time."""
    todo = dict(enumerate(jobs))
    runtimes = {job.client.runtime for job in todo.values()}
    running = [_start(runtime, _jobs_for(runtime, todo)) for runtime in sorted(runtimes)]
    # Of all at once: a program whose pipe is full waits, and the others may be waiting for it at a gate.
    with ThreadPoolExecutor(len(running)) as pool:
        lines = [line for output in pool.map(_output, running) for line in output.splitlines()]
    return {todo[done["id"]]: Outcome(done["result"], done.get("error")) for done in map(json.loads, lines)}


def _command(runtime: Runtime) -> list[str]:
    if runtime is not Runtime.NODE:
        return [sys.executable, "-m", "tests.e2e.clients.python_clients"]
    node = require("node")
    require("npm")
    subprocess.run(["sh", ".ci/node"], cwd=_ROOT, check=True, timeout=_LIMIT)
    return [node, str(_NODE_PROGRAM)]


def _environment(runtime: Runtime) -> Mapping[str, str]:
    """No SDK asks the network for anything, and mcp 1 is found before mcp 2 where it is asked for."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}
    old = {"PYTHONPATH": str(_ROOT / ".venv" / "mcp-1")} if runtime is Runtime.PYTHON_MCP_1 else {}
    return {**os.environ, **quiet, **old}


def _jobs_for(runtime: Runtime, todo: Mapping[int, Job]) -> str:
    mine = [(number, job) for number, job in todo.items() if job.client.runtime is runtime]
    return json.dumps(
        [
            {"id": number, "client": job.client.name, "url": job.url, "limit": job.limit, "pause": job.pause}
            for number, job in mine
        ]
    )


def _start(runtime: Runtime, jobs: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        _command(runtime),
        cwd=_ROOT,
        env=_environment(runtime),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # SDKs that give up say so at length
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(jobs)
    process.stdin.close()
    process.stdin = None
    return process


def _output(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=_LIMIT)
    finally:
        process.kill()
    assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}"
    return output
