"""What does a gateway timeout look like, and its cure? Measures both ways once, and draws them below each other.

Runs the first case of the stand in real time: nginx with its stock timeouts, a model that thinks for 90 s. It takes
105 s and writes an SVG for light pages and one for dark ones. Needs nginx; no root, no Docker.
"""

import argparse
import asyncio
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cases import CASES, READ_TIMEOUT
from stand import Measured, Row, stand

from sseproxy.demo.nginx import NginxFailed, find_nginx, nginx_version
from sseproxy.demo.sidecar import SidecarFailed

_IMAGES = Path(__file__).parents[1] / "docs" / "images"

WIDTH, HEIGHT = 830, 316
_LEFT, _RIGHT = 28, WIDTH - 28
_TRACK = 30
#: Where the two tracks begin, and the axis.
_DIRECT, _THROUGH, _AXIS = 92, 188, 262
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one scheme; those of the demo's pages (sseproxy/demo/page/page.css)."""

    name: str
    ground: str
    text: str
    quiet: str
    edge: str
    groove: str
    wait: str
    token: str
    heartbeat: str
    good: str
    bad: str


LIGHT = Palette(
    *("light", "#ffffff", "#1b1f24", "#57606a", "#d5d9de", "#eceff3", "#d5dae1"),
    *("#0b62d6", "#b4368a", "#17703b", "#b3261e"),
)
DARK = Palette(
    *("dark", "#0d1117", "#e7eaee", "#a3acb6", "#363c44", "#21262d", "#373e47"),
    *("#6cabff", "#f08cc9", "#63cc8c", "#ff8a80"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured: the version of nginx, its patience and the two ways, all in seconds of this run."""

    nginx: str
    patience: float
    row: Row

    @property
    def thinking(self) -> float:
        """How long the model was silent, as the client saw it, to the whole second where seconds are that long."""
        first = next(self.words)
        return float(round(first)) if first > 10 else round(first, 1)

    @property
    def words(self) -> Iterator[float]:
        """When the words of the answer came through."""
        return (piece.at for piece in self.row.through.verdict.answer.pieces if b'"content"' in piece.data)

    @property
    def heartbeats(self) -> Iterator[float]:
        """When heartbeats came through."""
        return (piece.at for piece in self.row.through.verdict.answer.pieces if piece.data.startswith(b":"))

    @property
    def end(self) -> float:
        """The right end of the axis: a whole number of quarters of the gateway's patience."""
        step = self.patience / 4
        return step * math.ceil(self.row.through.verdict.answer.seconds / step + 0.1)


class Picture:
    """An SVG of a run, in one palette."""

    def __init__(self, run: Run, palette: Palette) -> None:
        self._run, self._palette = run, palette

    def __str__(self) -> str:
        run, colour = self._run, self._palette
        title = f"The model thinks for {run.thinking:g} seconds. nginx waits for {run.patience:g}."
        size, card = (f'width="{WIDTH - less}" height="{HEIGHT - less}"' for less in (0, 1))
        font = f'font-family="{_FONT}" font-size="14"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {font}>',
            f"<title>{escape(title)} {escape(self._outcomes())}</title>",
            f'<rect x=".5" y=".5" {card} rx="8" fill="{colour.ground}" stroke="{colour.edge}"/>',
            self._text(_LEFT, 38, title, size=20, weight=600),
            *self._axis(),
            *self._direct(),
            *self._through(),
            self._text(_LEFT, HEIGHT - 16, self._source(), fill=colour.quiet, size=13),
            "</svg>\n",
        ]
        return "\n".join(parts)

    def _outcomes(self) -> str:
        return f"Directly: {_outcome(self._run.row.direct)}. Through sseproxy: {_outcome(self._run.row.through)}."

    def _source(self) -> str:
        what = "its default timeouts" if self._run.patience == READ_TIMEOUT else "shorter timeouts"
        return f"Measured with nginx {self._run.nginx} and {what}. See it live on your machine: make demo"

    def _axis(self) -> Iterator[str]:
        step = self._run.patience / 4
        for number in range(round(self._run.end / step) + 1):
            at = self._x(number * step)
            anchor = "start" if number == 0 else "end" if number * step == self._run.end else "middle"
            is_limit = number == 4
            yield self._text(
                *(at, _AXIS + 4, f"{number * step:g} s"),
                anchor=anchor,
                size=13,
                fill=self._palette.bad if is_limit else self._palette.quiet,
                weight=600 if is_limit else 400,
            )

    def _direct(self) -> Iterator[str]:
        colour, got = self._palette, self._run.row.direct
        ended = self._x(got.verdict.answer.seconds)
        yield from self._lane(_DIRECT, "Directly", "browser → nginx → model", f"✕ {_outcome(got)}", colour.bad)
        yield self._bar(_LEFT, ended, _DIRECT, colour.wait)
        yield self._text((_LEFT + ended) / 2, _DIRECT + 20, "silence", anchor="middle", fill=colour.quiet)
        # The limit of the gateway, through both ways: one of them ends there.
        line = f'x1="{ended:.1f}" x2="{ended:.1f}" y1="{_DIRECT}" y2="{_AXIS - 10}"'
        yield f'<line {line} stroke="{colour.bad}" stroke-width="1.5" stroke-dasharray="3 4" opacity=".7"/>'
        yield self._mark(ended, _DIRECT - 5, _TRACK + 10, colour.bad)
        yield self._text(ended + 12, _DIRECT + 20, "nginx has given up", fill=colour.quiet)

    def _through(self) -> Iterator[str]:
        colour, got = self._palette, self._run.row.through
        way = "browser → nginx → sseproxy → model"
        yield from self._lane(_THROUGH, "Through sseproxy", way, f"✓ {_outcome(got)}", colour.good)
        yield self._bar(_LEFT, self._x(got.verdict.answer.seconds), _THROUGH, colour.wait)
        beats, words = list(self._run.heartbeats), list(self._run.words)
        for at in beats:
            yield self._mark(self._x(at), _THROUGH + 4, _TRACK - 8, colour.heartbeat)
        for at in words:
            yield self._mark(self._x(at), _THROUGH + 4, _TRACK - 8, colour.token)
        below = _THROUGH + _TRACK + 18
        yield self._text(
            self._x(beats[0]) - 2, below, "heartbeats: comments, no part of the answer", fill=colour.heartbeat
        )
        yield self._text(self._x(words[-1]) + 2, below, "the answer", anchor="end", fill=colour.token)

    def _lane(self, top: int, name: str, way: str, outcome: str, fill: str) -> Iterator[str]:
        spans = (
            f'<tspan font-weight="600" font-size="16">{escape(name)}</tspan>'
            f'<tspan dx="10" fill="{self._palette.quiet}">{escape(way)}</tspan>'
        )
        yield f'<text x="{_LEFT}" y="{top - 12}" fill="{self._palette.text}">{spans}</text>'
        yield self._text(_RIGHT, top - 12, outcome, anchor="end", size=16, weight=600, fill=fill)
        yield self._bar(_LEFT, _RIGHT, top, self._palette.groove)

    def _bar(self, left: float, right: float, top: int, fill: str) -> str:
        place = f'x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_TRACK}"'
        return f'<rect {place} rx="4" fill="{fill}"/>'

    def _mark(self, at: float, top: int, height: int, fill: str) -> str:
        return f'<rect x="{at - 2:.1f}" y="{top}" width="4" height="{height}" rx="2" fill="{fill}"/>'

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: int = 14,
        fill: str = "",
        weight: int = 400,
    ) -> str:
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
        return f'<text {place} fill="{fill or self._palette.text}">{escape(text)}</text>'

    def _x(self, seconds: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * seconds / self._run.end


def _outcome(got: Measured) -> str:
    """What the client got, for people."""
    answer, verdict = got.verdict.answer, got.verdict
    if verdict.whole:
        return f"{answer.status}, the whole answer"
    if answer.head is None or answer.status == 200:
        return str(verdict)
    return f"{answer.status} {answer.head.start[2]}, no answer"


async def measure(scale: float) -> Run:
    """Measure the first case both ways. Raises `NginxFailed` and `SidecarFailed`."""
    program = find_nginx()
    if program is None:
        raise NginxFailed("nginx is not installed")
    async with stand(program, scale) as running:
        return Run(await nginx_version(program), READ_TIMEOUT / scale, await running.row(CASES[0]))


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="divide all times by this")
    parser.add_argument("--into", type=Path, default=_IMAGES, metavar="FOLDER", help="where the pictures go")
    arguments = parser.parse_args()
    print(f"measuring, for {round(1.75 * READ_TIMEOUT / arguments.scale)} s …", file=sys.stderr)
    try:
        run = asyncio.run(measure(arguments.scale))
    except (NginxFailed, SidecarFailed) as error:
        print(f"picture: {error}", file=sys.stderr)
        return 1
    arguments.into.mkdir(parents=True, exist_ok=True)
    for palette in (LIGHT, DARK):
        path = arguments.into / f"gateway-timeout-{palette.name}.svg"
        path.write_text(str(Picture(run, palette)), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
