"""How do curves become an SVG: two logarithmic axes, a line for each series, readable on any background?"""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 50, 60

#: Told apart by most colour-blind people, too; and the points differ in shape.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f00", "#56b4e9")
SHAPES = ("●", "■", "▲", "◆", "▼", "✕")

Points = Sequence[tuple[float, float]]


class Axis:
    """Places values from `low` to `high` on a line of pixels. Both ends are 1, 2 or 5 times a power of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = _down(min(values)), _up(max(values))
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        span = math.log(self.high / self.low) or 1.0
        return self._start + (self._end - self._start) * math.log(value / self.low) / span

    @property
    def ticks(self) -> list[float]:
        steps = [factor * 10.0**power for power in range(-3, 10) for factor in (1, 2, 5)]
        found = [step for step in steps if self.low * 0.999 <= step <= self.high * 1.001]
        return found if len(found) <= 9 else [step for step in found if math.log10(step) % 1 < 1e-9]


def _down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value * 1.0001)


def _up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.9999)


def draw(title: str, x_label: str, y_label: str, series: Mapping[str, Points]) -> str:
    """An SVG. Every value must be above 0; `series` must not be empty."""
    x = Axis([point[0] for points in series.values() for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for points in series.values() for point in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 28, title, size=16),
        *_grid(x, y),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_label, "middle"),
        f'<g transform="rotate(-90)">{_text(-(TOP + HEIGHT - BOTTOM) / 2, 20, y_label, "middle")}</g>',
    ]
    labels = _label_places({name: y(points[-1][1]) for name, points in series.items()})
    for (name, points), colour, shape in zip(series.items(), COLOURS, SHAPES, strict=False):
        parts += _line([(x(a), y(b)) for a, b in points], colour, shape)
        parts.append(_text(WIDTH - RIGHT + 14, labels[name] + 4, f"{shape} {name}", fill=colour))
    return "\n".join([*parts, "</svg>", ""])


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in x.ticks:
        at = f'x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        parts += [f'<line {at} stroke="#ddd"/>', _text(x(tick), HEIGHT - BOTTOM + 18, _number(tick), "middle")]
    for tick in y.ticks:
        at = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"'
        parts += [f'<line {at} stroke="#ddd"/>', _text(LEFT - 8, y(tick) + 4, _number(tick), "end")]
    return parts


def _line(points: Points, colour: str, shape: str) -> list[str]:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return [line, *(_text(a, b + 5, shape, "middle", fill=colour) for a, b in points)]


def _label_places(wanted: Mapping[str, float]) -> dict[str, float]:
    """Where names go so that none covers another: in the order of their lines' ends, 18 pixels apart."""
    places: dict[str, float] = {}
    lowest = -math.inf
    for name, at in sorted(wanted.items(), key=lambda item: item[1]):
        places[name] = lowest = max(at, lowest + 18)
    over = max(0.0, lowest - (HEIGHT - BOTTOM))
    return {name: at - over for name, at in places.items()}


def _text(x: float, y: float, text: str, anchor: str = "start", *, size: int = 13, fill: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{fill}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
