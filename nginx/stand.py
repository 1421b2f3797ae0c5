"""What does nginx do to a silent stream, and what does it do with sseproxy in between? Measures it, as a table.

Runs the configuration files of this directory as they are, except for the ports, which become free ones, and the
times, which are divided by one number. Needs nginx; no root, no Docker.
"""

import argparse
import asyncio
import contextlib
import json
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import CASES, READ_TIMEOUT, Case, behaviours

from sseproxy.demo.exchange import Ending, exchange, post
from sseproxy.demo.model import ModelServer, Noticed, Visit, serving
from sseproxy.demo.nginx import NginxFailed, find_nginx, nginx, nginx_version
from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.sidecar import SidecarFailed, sidecar
from sseproxy.demo.verdict import Verdict

_HERE = Path(__file__).parent
_CONFIGURATIONS = ("problem.conf", "solved.conf", "two-hops.conf", "gzip.conf", "http10.conf", "json.conf")
_SERVICE = 9000
#: Each sseproxy, by the port in the configuration files.
_SSEPROXIES = {8090: "sseproxy.yaml", 8092: "json.yaml"}
_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
_LISTEN = re.compile(r"listen 127\.0\.0\.1:(\d+);")
_SECONDS = re.compile(r"\b(\d+)s\b")
# After its client has got its answer, a service that has noticed nothing for so many seconds will not.
_NOTICE_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One case, one way: what the client got, and what the service noticed."""

    verdict: Verdict
    visit: Visit | None

    @property
    def client(self) -> str:
        """What the client got."""
        return str(self.verdict)

    @property
    def after(self) -> str:
        """When that was over."""
        return f"{self.verdict.answer.seconds:.1f} s"

    @property
    def service(self) -> str:
        """What the service noticed, and when."""
        visit = self.visit
        if visit is None:
            return "no request"
        if visit.ended is None or visit.noticed in (Noticed.SENT_ALL, Noticed.DIED):
            return str(visit.noticed)
        if self.verdict.answer.ending is Ending.LEFT:
            return f"{visit.noticed} {max(0.0, visit.ended - self.verdict.answer.ended) * 1000:.0f} ms later"
        return f"{visit.noticed} after {visit.ended - visit.began:.1f} s"

    @property
    def facts(self) -> dict[str, object]:
        """The same for programs."""
        answer, read = self.verdict.answer, self.verdict.transcript
        return {
            "status": answer.status,
            "ending": answer.ending.name.lower(),
            "whole": self.verdict.whole,
            "in_one_go": self.verdict.in_one_go,
            "tokens": read.tokens,
            "error": read.error,
            "seconds": round(answer.seconds, 3),
            "noticed": None if self.visit is None else self.visit.noticed.name.lower(),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One case both ways."""

    name: str
    direct: Measured
    through: Measured

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            self.name,
            *(cell for way in (self.direct, self.through) for cell in (way.client, way.after, way.service)),
        ]


class Stand:
    """The running stack; `ports` translates the ports in the configuration files to those in use."""

    def __init__(self, model: ModelServer, ports: Mapping[int, int], scale: float) -> None:
        self._model, self._ports, self._scale = model, ports, scale

    async def rows(self) -> list[Row]:
        """Measure all cases at the same time."""
        return await asyncio.gather(*(self.row(case) for case in CASES))

    async def row(self, case: Case) -> Row:
        """Measure one case both ways, at the same time."""
        direct, through = await asyncio.gather(self._measure(case, case.direct), self._measure(case, case.through))
        return Row(case.name, direct, through)

    async def _measure(self, case: Case, port: int) -> Measured:
        user = f"{case.name}, {port}"
        coding = "gzip" if case.gzip else "identity"
        body = case.shape.request_body(case.behaviour, user=user)
        request = post(case.shape.path, body, accept_encoding=coding, user_agent=case.shape.user_agent)
        leaves = None if case.leaves is None else case.leaves / self._scale
        limit = 10 * READ_TIMEOUT / self._scale
        answer = await exchange(self._ports[port], request, limit=limit, leave_after=leaves)
        return Measured(Verdict(answer, case.tokens, case.shape), await self._model.visit(user, limit=_NOTICE_LIMIT))


def adapted(text: str, ports: Mapping[int, int], scale: float) -> str:
    """A configuration with other ports, and its times divided by `scale`."""
    text = _ADDRESS.sub(lambda found: f"127.0.0.1:{ports.get(int(found[1]), int(found[1]))}", text)
    return _SECONDS.sub(lambda found: f"{int(found[1]) * 1000 / scale:.0f}ms", text)


@contextlib.asynccontextmanager
async def stand(program: str, scale: float) -> AsyncIterator[Stand]:
    """The service, sseproxy and every nginx, from the back to the front."""
    confs = [(_HERE / name).read_text() for name in _CONFIGURATIONS]
    async with contextlib.AsyncExitStack() as exits:
        model, service = await exits.enter_async_context(serving(behaviours(scale)))
        kept = {
            port: await exits.enter_async_context(_sseproxy(name, {_SERVICE: service}, scale))
            for port, name in _SSEPROXIES.items()
        }
        sockets = {port: exits.enter_context(listener()) for conf in confs for port in _listens(conf)}
        ports = {_SERVICE: service} | kept | {port: port_of(sock) for port, sock in sockets.items()}
        for conf in confs:
            mine: list[socket.socket] = [sockets[port] for port in _listens(conf)]
            await exits.enter_async_context(nginx(program, adapted(conf, ports, scale), mine))
        yield Stand(model, ports, scale)


@contextlib.asynccontextmanager
async def _sseproxy(name: str, ports: Mapping[int, int], scale: float) -> AsyncIterator[int]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(adapted((_HERE / name).read_text(), ports, scale))
        file.flush()
        async with sidecar(["-c", file.name, "--no-access-log"]) as port:
            yield port


def _listens(conf: str) -> list[int]:
    return [int(port) for port in _LISTEN.findall(conf)]


_HEADINGS = [
    *("the case", "**direct**: client gets", "after", "service notices"),
    *("**through sseproxy**: client gets", "after", "service notices"),
]


def markdown(rows: Sequence[Row]) -> str:
    """The table of README.md."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal: two lines for each case."""
    lines = [("the case", "", "client gets", "after", "service notices")]
    for row in rows:
        ways = ((row.name, "direct", row.direct), ("", "through sseproxy", row.through))
        lines += [(name, way, got.client, got.after, got.service) for name, way, got in ways]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def facts(rows: Sequence[Row]) -> str:
    """The table for programs: JSON."""
    return json.dumps({row.name: {"direct": row.direct.facts, "through": row.through.facts} for row in rows}, indent=1)


async def measure(scale: float) -> tuple[str, list[Row]]:
    """The version of nginx, and the rows. Raises `NginxFailed` and `SidecarFailed`."""
    program = find_nginx()
    if program is None:
        raise NginxFailed("nginx is not installed")
    async with stand(program, scale) as running:
        return await nginx_version(program), await running.rows()


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=30.0, help="divide all times by this: 30 makes 60 s 2 s")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", dest="render", action="store_const", const=markdown, help="as README.md has it")
    form.add_argument("--json", dest="render", action="store_const", const=facts, help="for programs")
    arguments = parser.parse_args()
    try:
        version, rows = asyncio.run(measure(arguments.scale))
    except (NginxFailed, SidecarFailed) as error:
        print(f"stand: {error}", file=sys.stderr)
        return 1
    print(f"nginx {version}, read timeout {READ_TIMEOUT / arguments.scale:g} s", file=sys.stderr)
    print((arguments.render or text)(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
