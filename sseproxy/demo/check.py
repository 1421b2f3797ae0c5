"""Does the direct way fail, and does the way through sseproxy succeed?"""

import asyncio
from collections.abc import Mapping, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.demo.exchange import exchange, post
from sseproxy.demo.shapes import EVENTS, LINES, TEXT, Shape
from sseproxy.demo.timing import Timing, tokens
from sseproxy.demo.verdict import Verdict

#: The path prefixes of the two ways, as the gateway is configured.
DIRECT, KEPT = "/direct/", "/kept/"

_NAMES = {DIRECT: "direct", KEPT: "through sseproxy"}
_THINKING: Mapping[str, tuple[Shape, str]] = {
    "thinks-first": (EVENTS, "before the first token"),
    "thinks-between": (EVENTS, "between two tokens"),
    "lines": (LINES, "between two JSON lines (Ollama)"),
    "text": (TEXT, "before a JSON answer (no stream)"),
}
_COLUMNS = ("model is silent", "way", "status", "seconds", "tokens", "heartbeats", "ended")


@frozen
class Result:
    """One attempt: which way, with which model, and how it went."""

    way: str
    model: str
    verdict: Verdict

    @property
    def as_promised(self) -> bool:
        """The direct way fails, the other does not."""
        return self.verdict.whole is (self.way == KEPT)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        answer, read = self.verdict.answer, self.verdict.transcript
        return (
            _THINKING[self.model][1],
            _NAMES[self.way],
            "none" if answer.status is None else str(answer.status),
            f"{answer.seconds:.1f}",
            f"{read.tokens} of {self.verdict.expected}",
            str(read.comments),
            self.ended,
        )

    @property
    def ended(self) -> str:
        """How the response ended, for people."""
        if self.verdict.whole:
            return "whole"
        return str(self.verdict.answer.ending) if self.verdict.answer.status == 200 else "never began"


async def check_both_ways(host: str, port: int, timing: Timing) -> list[Result]:
    """Try both ways with all models, at the same time."""
    return await asyncio.gather(
        *(_attempt((host, port), way, model, timing) for model in _THINKING for way in (DIRECT, KEPT))
    )


async def _attempt(address: tuple[str, int], way: str, model: str, timing: Timing) -> Result:
    """Ask `model` once, through the gateway at `address`. Raises `TimeoutError`, `OSError`."""
    shape, _ = _THINKING[model]
    request = post(f"{way.rstrip('/')}{shape.path}", shape.request_body(model), user_agent=shape.user_agent)
    answer = await exchange(address[1], request, limit=timing.limit, host=address[0])
    return Result(way, model, Verdict(answer, len(tokens()), shape))


def table(results: Sequence[Result]) -> str:
    """The results for people, in aligned columns."""
    rows = [_COLUMNS, *(result.cells for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)
