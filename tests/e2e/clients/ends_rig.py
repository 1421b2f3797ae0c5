"""What does each published client make of each end of a stream, without any proxy?

    python -m tests.e2e.clients.ends_rig [WORD …]    a table; only of clients whose name has one of the words
    python -m tests.e2e.clients.ends_rig --table     the same as one Markdown table, in the letters of `LETTERS`
    python -m tests.e2e.clients.ends_rig --forms     what each makes of each form of heartbeat, in each phase
    python -m tests.e2e.clients.ends_rig --fields    the header fields that each client sends

The heads of the columns are ``POSITION:CELL`` of `endings`. The exception for clients that lose the error by a broken
end, in the table of clients, is what this program shows.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence

from tests.e2e.clients.beats import Form, Phase
from tests.e2e.clients.catalogue import SERVICE_OF
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.endings import CODE, MESSAGE, SERVICES, Cell, Position
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.exchange import Request

_LIMIT = 20.0  # seconds, after which a client hangs
_BUSY = 0.15  # seconds that a busy reader takes for each item

Cells = dict[str, Outcome]  # by "POSITION:CELL"
Columns = Callable[[str], Sequence[tuple[str, str]]]


def columns(service: str) -> list[tuple[Position, Cell]]:
    """The cells that mean something for `service`."""
    after_only = (Cell.WHOLE, Cell.TERMINAL_BROKEN, Cell.TERMINAL_HEARTBEAT)
    wanted = [(position, cell) for cell in Cell for position in Position]
    wanted = [(position, cell) for position, cell in wanted if position is Position.AFTER or cell not in after_only]
    same = SERVICES[service].error == SERVICES[service].coded
    return [(position, cell) for position, cell in wanted if not (same and cell.startswith("code"))]


_OWN_FORMS = {"openai-chat": Form.CHUNK, "openai-responses": Form.KEEPALIVE, "anthropic": Form.PING}


def forms(service: str) -> list[tuple[Phase, Form]]:
    """The forms that may be sent to a client of `service`, by phase; white space alone for NDJSON is another matter."""
    if service == "ollama":
        return []
    plain = [(phase, form) for phase in Phase for form in (Form.NONE, Form.LINE, Form.BLOCK, Form.BLANK)]
    own = {"openai-chat": Form.CHUNK, "openai-responses": Form.KEEPALIVE, "anthropic": Form.PING}
    mine = [(phase, own[service]) for phase in Phase] if service in own else []
    return [
        (phase, form) for phase, form in (*plain, *mine) if phase is not Phase.INSIDE or form in {Form.NONE, Form.LINE}
    ]


def outcomes(words: Sequence[str], columns: Columns) -> tuple[Mapping[Client, Cells], EndsUpstream]:
    """What came of each cell, by client, and the server that saw it."""
    with serving(EndsUpstream()) as upstream:
        jobs = {
            (client, f"{place}:{what}"): _job(upstream.url, client, place, what)
            for client, service in SERVICE_OF.items()
            if not words or any(word in str(client) for word in words)
            for place, what in columns(service)
        }
        done = run_clients(jobs.values())
    found: dict[Client, Cells] = {}
    for (client, cell), job in jobs.items():
        found.setdefault(client, {})[cell] = done[job]
    return found, upstream


def _job(url: str, client: Client, place: str, what: str) -> Job:
    base = f"{url}/{client.segment}/{SERVICE_OF[client]}/{place}/{what}"
    return Job(client, base, limit=_LIMIT, pause=_BUSY if "busy" in what else 0.0)


def verdict(done: Outcome, whole: int) -> str:
    """In a few words, what came of it."""
    sign, error = letter(done, whole), done.error
    if error is None:
        return f"{sign} {len(done.items)}/{whole}"
    code = " with its code" if CODE in json.dumps(error, default=str) else ""
    shown = "" if MESSAGE in error["message"] else repr(error["message"][:90])
    return f"{sign} {error['classes'][0]}{code} {len(done.items)}/{whole} {shown}"


LETTERS = {
    "W": "the whole answer, no error",
    "S": "a clean end: part of the answer, no error",
    "S+": "a clean end, no error, but the error event was handed out as an event",
    "M": "raises, with the message of the error event",
    "R": "raises, without the message",
    "R+": "raises for the broken end, without the message, but the error event was handed out before as an event",
    "H": "hangs",
}


def letter(done: Outcome, whole: int) -> str:
    """The outcome as one of `LETTERS`."""
    seen_as_event = MESSAGE in json.dumps(done.items)
    if done.error is None:
        return "S+" if seen_as_event else "W" if len(done.items) >= whole else "S"
    if MESSAGE in json.dumps(done.error, default=str):
        return "M"
    if done.error["message"] == "not done in time" or done.error["classes"][0] == "builtins.TimeoutError":
        return "H"
    return "R+" if seen_as_event else "R"


def main(arguments: Sequence[str]) -> None:
    """Run what is asked for, and print it."""
    words = [argument for argument in arguments if not argument.startswith("--")]
    if "--forms" in arguments:
        _print_forms(outcomes(words, forms)[0])
        return
    found, upstream = outcomes(words, columns)
    if "--fields" in arguments:
        _print_fields(upstream.requests)
    elif "--table" in arguments:
        _print_table(found)
    else:
        _print_cells(found, upstream)


def _print_cells(found: Mapping[Client, Cells], upstream: EndsUpstream) -> None:
    for client, cells in found.items():
        whole = len(cells["after:whole"].items)
        sys.stdout.write(f"\n## {client}\n")
        for name, done in cells.items():
            left = upstream.lingered.get(f"/{client.segment}/{SERVICE_OF[client]}/{name.replace(':', '/')}")
            note = "" if left is None else f" (the client left after {left:.2f} s)"
            sys.stdout.write(f"- {name:28} {verdict(done, whole)}{note}\n")


_TABLE = (
    *(Cell.BARE_CLEAN, Cell.BARE_BROKEN, Cell.BARE_CLOSE, Cell.OWN_CLEAN, Cell.OWN_BROKEN, Cell.OWN_BUSY),
    *(Cell.OWN_BUSY_LATE, Cell.OWN_BUSY_CLEAN, Cell.GENERIC_CLEAN, Cell.GENERIC_BROKEN, Cell.CODE_CLEAN),
    *(Cell.CODE_BROKEN, Cell.TERMINAL_BROKEN, Cell.TERMINAL_HEARTBEAT),
)


def _print_table(found: Mapping[Client, Cells]) -> None:
    sys.stdout.write(f"| client | {' | '.join(_TABLE)} | error classes |\n{'|---' * (len(_TABLE) + 2)}|\n")
    for client, cells in found.items():
        whole = len(cells["after:whole"].items)
        row = []
        for name in _TABLE:
            signs = [letter(cells[f"{at}:{name}"], whole) for at in Position if f"{at}:{name}" in cells]
            row.append("/".join(dict.fromkeys(signs)) or "-")
        own, bare = (_class(cells[f"after:{name}"]) for name in (Cell.OWN_CLEAN, Cell.BARE_BROKEN))
        sys.stdout.write(f"| {client} | {' | '.join(row)} | {own}; broken: {bare} |\n")


def _class(done: Outcome) -> str:
    return "none" if done.error is None else f"`{done.error['classes'][0]}`"


def _print_forms(found: Mapping[Client, Cells]) -> None:
    """A Markdown table: ``ok``, ``X`` for an exception, ``d`` for other events than without heartbeats."""
    sys.stdout.write(f"| client | line | block | blank | own |\n{'|---' * 5}|\n")
    for client, cells in found.items():
        own = _OWN_FORMS.get(SERVICE_OF[client])
        row = [_phases(cells, form) for form in (Form.LINE, Form.BLOCK, Form.BLANK, own) if form is not None]
        sys.stdout.write(f"| {client} | {' | '.join(row)} |\n")


def _phases(cells: Cells, form: Form) -> str:
    words = []
    for phase in Phase:
        done, plain = cells.get(f"{phase}:{form}"), cells[f"{phase}:{Form.NONE}"]
        if done is None:
            words.append("-")
        elif plain.error:
            words.append("(X)")
        elif done.error:
            words.append("X")
        else:
            words.append("ok" if done.items == plain.items else "d")
    return "/".join(words)


def _print_fields(requests: Sequence[Request]) -> None:
    """One line for each kind of request of each client."""
    seen = set()
    for request in requests:
        _, run, _service, _place, _what, *rest = request.target.split("/")
        kind = (run, request.method, request.body[:48])
        if kind not in seen:
            seen.add(kind)
            fields = {name: value for name, value in request.fields if name.lower() not in {"host", "content-length"}}
            sys.stdout.write(f"{run}: {request.method} /{'/'.join(rest)} {json.dumps(fields)} {request.body[:48]!r}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
