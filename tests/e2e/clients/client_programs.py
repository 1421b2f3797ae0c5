"""How are the published clients run?"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.support.programs import require

_ROOT = Path(__file__).parents[3]
_NODE_PROGRAM = Path(__file__).parent / "node" / "clients.mjs"
_LIMIT = 120  # seconds, for a program with all of its jobs


class Runtime(StrEnum):
    """What a client is written for."""

    PYTHON = "python"
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
        return str(self).translate(str.maketrans(" /", "__", "@"))


@dataclass(frozen=True, slots=True)
class Job:
    """One stream to read. url: the base that the client is given."""

    client: Client
    url: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client made of a stream: the items that it handed out, and what it raised, if it did."""

    items: list[Any]
    error: Mapping[str, Any] | None = None


def run_clients(jobs: Iterable[Job]) -> dict[Job, Outcome]:
    """What came of each of `jobs`; both programs run at the same time."""
    todo = dict(enumerate(jobs))
    running = [_start(command, _jobs_for(runtime, todo)) for runtime, command in _commands().items()]
    lines = [line for process in running for line in _output(process).splitlines()]
    return {todo[done["id"]]: Outcome(done["result"], done.get("error")) for done in map(json.loads, lines)}


def _commands() -> Mapping[Runtime, list[str]]:
    node = require("node")
    require("npm")
    subprocess.run(["sh", ".ci/node"], cwd=_ROOT, check=True, timeout=_LIMIT)
    return {
        Runtime.PYTHON: [sys.executable, "-m", "tests.e2e.clients.python_clients"],
        Runtime.NODE: [node, str(_NODE_PROGRAM)],
    }


def _jobs_for(runtime: Runtime, todo: Mapping[int, Job]) -> str:
    mine = [(number, job) for number, job in todo.items() if job.client.runtime is runtime]
    return json.dumps([{"id": number, "client": job.client.name, "url": job.url} for number, job in mine])


def _start(command: list[str], jobs: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
