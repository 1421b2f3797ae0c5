"""What does each published client make of each end of a stream, without any proxy?

    python -m tests.e2e.clients.ends_rig [WORD …]    a table; only of clients whose name has one of the words
    python -m tests.e2e.clients.ends_rig --table     the same as one Markdown table, in the letters of `LETTERS`
    python -m tests.e2e.clients.ends_rig --fields    the header fields that each client sends

The heads of the columns are ``POSITION:CELL`` of `endings`. The exception for clients that lose the error by a broken
end, in the table of clients, is what this program shows.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.clients.endings import CODE, MESSAGE, SERVICES, Cell, Position
from tests.e2e.clients.ends_upstream import EndsUpstream, Request

_ROOT = Path(__file__).parents[3]
_LIMIT = 20.0  # seconds, after which a client hangs
_BUSY = 0.15  # seconds that a busy reader takes for each item

PYTHON = {
    "openai chat": "openai-chat",
    "openai chat async": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai completions": "openai-completions",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "anthropic": "anthropic",
    "anthropic helper": "anthropic",
    "google-genai": "gemini",
    "google-genai async": "gemini",
    "groq": "openai-chat",
    "mistralai": "mistral",
    "cohere": "cohere",
    "langchain-openai chat": "openai-chat",
    "langchain-openai responses": "openai-responses",
    "litellm openai": "openai-chat",
    "litellm anthropic": "anthropic",
    "ollama": "ollama",
    "mcp 2": "mcp",
    "fastmcp": "mcp",
    "httpx-sse": "generic",
    "sseclient-py": "generic",
    "requests iter_lines": "generic",
}
PYTHON_MCP_1 = {"mcp 1": "mcp"}
NODE = {
    "openai chat": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai completions": "openai-completions",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "@anthropic-ai/sdk": "anthropic",
    "@anthropic-ai/sdk helper": "anthropic",
    "@google/genai": "gemini",
    "ai 7 openai chat": "openai-chat",
    "ai 7 openai responses": "openai-responses",
    "ai 7 openai-compatible": "openai-chat",
    "ai 7 anthropic": "anthropic",
    "ai 6 openai chat": "openai-chat",
    "ai 6 openai responses": "openai-responses",
    "ai 6 openai-compatible": "openai-chat",
    "ai 6 anthropic": "anthropic",
    "@langchain/openai chat": "openai-chat",
    "@langchain/openai responses": "openai-responses",
    "ollama": "ollama",
    "@modelcontextprotocol/client 2": "mcp",
    "@modelcontextprotocol/sdk 1.32": "mcp",
    "@modelcontextprotocol/sdk 1.24": "mcp",
    "@urql/core": "graphql",
    "eventsource": "generic",
    "eventsource-parser": "generic",
    "@microsoft/fetch-event-source": "generic",
}
CURL = {"curl -f": "generic"}

_PYTHON_PROGRAM = [sys.executable, "-m", "tests.e2e.clients.python_clients"]
_NODE_PROGRAM = ["node", str(Path(__file__).parent / "node" / "clients.mjs")]
_MCP_1 = _ROOT / ".venv" / "mcp-1"
RUNTIMES: Mapping[str, tuple[Mapping[str, str], list[str], Mapping[str, str]]] = {
    "python": (PYTHON, _PYTHON_PROGRAM, {}),
    "python, mcp 1": (PYTHON_MCP_1, _PYTHON_PROGRAM, {"PYTHONPATH": str(_MCP_1)}),
    "node": (NODE, _NODE_PROGRAM, {}),
}
_QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL", "LANGSMITH_TRACING": "false"}

Key = tuple[str, str, str]  # runtime, client, "POSITION:CELL"


def columns(service: str) -> list[tuple[Position, Cell]]:
    """The cells that mean something for `service`."""
    after_only = (Cell.WHOLE, Cell.TERMINAL_BROKEN, Cell.TERMINAL_HEARTBEAT)
    wanted = [(position, cell) for cell in Cell for position in Position]
    wanted = [(position, cell) for position, cell in wanted if position is Position.AFTER or cell not in after_only]
    same = SERVICES[service].error == SERVICES[service].coded
    return [(position, cell) for position, cell in wanted if not (same and cell.startswith("code"))]


async def outcomes(words: Iterable[str]) -> tuple[Mapping[Key, Any], list[Request]]:
    """What came of each client and cell, and the requests that were sent for it."""
    found: dict[Key, Any] = {}
    async with EndsUpstream() as upstream:
        runs = [_run(upstream.url, runtime, list(words), found) for runtime in RUNTIMES]
        await asyncio.gather(*runs)
        _note_lingering(upstream, found)
        return found, upstream.requests


def _note_lingering(upstream: EndsUpstream, found: Mapping[Key, Any]) -> None:
    for target, seconds in upstream.lingered.items():
        _, run, _service, position, cell, *_ = target.split("/")
        for (runtime, client, column), done in found.items():
            if _segment(runtime, client) == run and column == f"{position}:{cell}":
                done["left"] = seconds


def _segment(runtime: str, client: str) -> str:
    return f"{runtime}_{client}".translate(str.maketrans(" /", "__", "@,"))


async def _run(url: str, runtime: str, words: list[str], found: dict[Key, Any]) -> None:
    clients, command, environment = RUNTIMES[runtime]
    jobs: list[Mapping[str, Any]] = []
    keys: list[Key] = []
    for client, service in clients.items():
        if words and not any(word in f"{runtime} {client}" for word in words):
            continue
        for position, cell in columns(service):
            base = f"{url}/{_segment(runtime, client)}/{service}/{position}/{cell}"
            pause = _BUSY if "busy" in cell else 0
            jobs.append({"id": len(jobs), "client": client, "url": base, "limit": _LIMIT, "pause": pause})
            keys.append((runtime, client, f"{position}:{cell}"))
    if not jobs:
        return
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=_ROOT,
        env={**os.environ, **_QUIET, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=2**24,
    )
    output, _ = await process.communicate(json.dumps(jobs).encode())
    for line in output.splitlines():
        if line.startswith(b'{"id"'):
            done = json.loads(line)
            found[keys[done["id"]]] = done
    if process.returncode:
        sys.stderr.write(f"{runtime} ended with {process.returncode}\n")


def verdict(done: Mapping[str, Any] | None, whole: int) -> str:
    """In a few words, what came of it."""
    if done is not None and "left" in done:
        left = "stays" if done["left"] is None else f"leaves after {done['left']:.2f} s"
        return f"{verdict({k: v for k, v in done.items() if k != 'left'}, whole)} ({left})"
    if done is None:
        return "NO OUTCOME"
    error, count = done.get("error"), len(done["result"])
    shown = json.dumps(error or "", default=str) + json.dumps(done["result"], default=str)
    if error is None:
        words = "whole" if count >= whole else f"SILENT {count}/{whole}"
        return f"{words}, error seen" if MESSAGE in shown and words != "whole" else words
    name = next(iter(error["classes"]), "?")
    if "Timeout" in name and MESSAGE not in shown:
        return f"HANGS ({name})"
    said = "message" if MESSAGE in error["message"] else "message elsewhere" if MESSAGE in shown else "NO MESSAGE"
    code = "+code" if CODE in shown else ""
    return f"raises {name} {said}{code} [{count}] {'' if MESSAGE in error['message'] else error['message'][:90]!r}"


async def _main(arguments: list[str]) -> None:
    words = [argument for argument in arguments if not argument.startswith("--")]
    found, requests = await outcomes(words)
    if "--fields" in arguments:
        _print_fields(requests)
        return
    by_client: dict[tuple[str, str], dict[str, Any]] = {}
    for (runtime, client, cell), done in found.items():
        by_client.setdefault((runtime, client), {})[cell] = done
    if "--table" in arguments:
        _print_table(by_client)
        return
    for (runtime, client), cells in by_client.items():
        whole = len(cells["after:whole"]["result"])
        sys.stdout.write(f"\n## {runtime}: {client}\n")
        for cell in (f"{position}:{cell}" for cell in Cell for position in Position):
            if cell in cells:
                sys.stdout.write(f"- {cell:28} {verdict(cells[cell], whole)}\n")


LETTERS = {
    "W": "the whole answer, no error",
    "S": "a clean end: part of the answer, no error",
    "S+": "a clean end, no error, but the error event was handed out as an event",
    "M": "raises, with the message of the error event",
    "R": "raises, without the message",
    "R+": "raises for the broken end, without the message, but the error event was handed out before as an event",
    "H": "hangs",
}


def letter(done: Mapping[str, Any], whole: int) -> str:
    """The outcome as one of `LETTERS`."""
    error, result = done.get("error"), done["result"]
    seen_as_event = MESSAGE in json.dumps(result)
    if error is None:
        return "S+" if seen_as_event else "W" if len(result) >= whole else "S"
    if MESSAGE in json.dumps(error, default=str):
        return "M"
    if "not done in time" in error["message"] or error["classes"][0] == "builtins.TimeoutError":
        return "H"
    return "R+" if seen_as_event else "R"


_TABLE = (
    *(Cell.BARE_CLEAN, Cell.BARE_BROKEN, Cell.BARE_CLOSE, Cell.OWN_CLEAN, Cell.OWN_BROKEN, Cell.OWN_BUSY),
    *(Cell.OWN_BUSY_LATE, Cell.OWN_BUSY_CLEAN, Cell.GENERIC_CLEAN, Cell.GENERIC_BROKEN, Cell.CODE_CLEAN),
    *(Cell.CODE_BROKEN, Cell.TERMINAL_BROKEN, Cell.TERMINAL_HEARTBEAT),
)


def _print_table(by_client: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    sys.stdout.write(f"| client | {' | '.join(_TABLE)} | error classes |\n{'|---' * (len(_TABLE) + 2)}|\n")
    for (runtime, client), cells in by_client.items():
        whole = len(cells["after:whole"]["result"])
        row = []
        for name in _TABLE:
            found = [letter(cells[f"{at}:{name}"], whole) for at in Position if f"{at}:{name}" in cells]
            row.append("/".join(dict.fromkeys(found)) or "-")
        own, bare = (_class(cells[f"after:{name}"]) for name in ("own-clean", "bare-broken"))
        sys.stdout.write(f"| {runtime}: {client} | {' | '.join(row)} | {own}; broken: {bare} |\n")


def _class(done: Mapping[str, Any]) -> str:
    error = done.get("error")
    return "none" if error is None else f"`{error['classes'][0]}`"


def _print_fields(requests: list[Request]) -> None:
    seen = set()
    for request in requests:
        _, run, _service, _position, _cell, *rest = request.target.split("/")
        fields = [(name, value) for name, value in request.fields if name.lower() not in {"host", "content-length"}]
        line = f"{request.method} /{'/'.join(rest)} " + json.dumps(dict(fields)) + f" body={request.body[:60]!r}"
        if (run, request.method, len(request.body) > 0 and request.body[:48]) not in seen:
            seen.add((run, request.method, len(request.body) > 0 and request.body[:48]))
            sys.stdout.write(f"{run}: {line}\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
