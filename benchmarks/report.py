"""How do raw figures become README.md and its plots?"""

from collections.abc import Iterator
from pathlib import Path
from string import Template

from benchmarks.curves import CURVES, Curve
from benchmarks.peers import ALL, PEERS
from benchmarks.plot import draw
from benchmarks.results import Results, Spread, failures, medians, ratios, spread, values
from benchmarks.scenarios import SCENARIOS, Figure, Scenario
from benchmarks.targets import TARGETS, Target

_SCENARIOS = {scenario.name: scenario for scenario in SCENARIOS}
_LABELS = {name: peer.label for name, peer in ALL.items()}


def write(results: Results, folder: Path) -> None:
    """README.md from README.template, and plots/*.svg, into `folder`."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    shown = []
    for curve in CURVES:
        series = points(results, curve)
        if series:
            label = "CPU of the proxy per event, µs"
            (plots / f"{curve.name}.svg").write_text(draw(curve.title, curve.axis, label, series))
            shown.append(f"![{curve.title}: CPU per event](plots/{curve.name}.svg)\n")
            shown += [*curve_table(results, curve), ""]
    text = Template((folder / "README.template").read_text()).substitute(
        machine=_machine(results),
        versions=", ".join(f"{name} {version}" for name, version in results.versions.items()),
        rounds=f"{results.settings['rounds']:.0f}",
        curve_rounds=f"{results.settings['curve_rounds']:.0f}",
        seconds=f"{results.settings['seconds']:g}",
        minutes=f"{results.settings.get('minutes', 0):.0f}",
        date=results.date,
        commit=f" (commit {results.commit})" if results.commit else "",
        targets="\n".join(target_table(results)),
        tables="\n".join(line for scenario in SCENARIOS for line in table(results, scenario)).rstrip(),
        curves="\n".join(shown).rstrip(),
        absent="\n".join(_absent(results)),
    )
    (folder / "README.md").write_text(text)


def _machine(results: Results) -> str:
    of = results.machine
    return (
        f"{of['processor']}, {of['cores']} cores, {of['memory']}, {of['kernel']}, net.core.somaxconn {of['somaxconn']}"
    )


def _absent(results: Results) -> Iterator[str]:
    if results.absent:
        names = ", ".join(PEERS[name].label for name in results.absent)
        yield f"Not installed, therefore not in the tables: {names}.\n"


# Tables.


def target_table(results: Results) -> Iterator[str]:
    yield "| what | target | median | ratio: median (range) | reached |"
    yield "|---|---|--:|--:|---|"
    for target in TARGETS:
        row = _target_row(results, target)
        if row:
            yield row


def _target_row(results: Results, target: Target) -> str:
    scenario = _SCENARIOS[target.scenario]
    figure = next(one for one in scenario.figures if one.key == target.figure)
    found = medians(results.rounds, scenario, figure)
    if target.peer not in found:
        return ""
    ratio = ratios(results.rounds, scenario, target.peer, target.figure)
    reached = target.reached(ratio.median if ratio else float("nan"), found)
    shown = f"{_number(ratio.median)} {_range(ratio)}" if ratio and figure.compared else "–"
    value = f"{_number(found[target.peer])} {_unit(figure)}".rstrip()
    return f"| {target.what} | {target.text} | {value} | {shown} | {'yes' if reached else '**no**'} |"


def _unit(figure: Figure) -> str:
    return figure.label.rpartition(", ")[2] if ", " in figure.label else figure.label


def table(results: Results, scenario: Scenario) -> Iterator[str]:
    """Nothing, if nothing of it was measured."""
    rows = [row for peer in scenario.peers for row in _row(results, scenario, peer)]
    if not rows:
        return
    yield f"### {scenario.title}\n"
    yield "| |" + "".join(f" {figure.label} |" for figure in scenario.figures)
    yield "|---|" + "--:|" * len(scenario.figures)
    yield from rows
    yield ""
    for peer in scenario.peers:
        reasons = failures(results.rounds, scenario.name, peer)
        if reasons:
            yield f"{_LABELS[peer]} failed in {len(reasons)} of {len(results.rounds)} rounds: {reasons[0]}.\n"
        lost = spread(values(results.rounds, scenario.name, peer, "not_opened"))
        if lost and lost.high:
            yield f"{_LABELS[peer]} did not open up to {lost.high:.0f} of the streams; the figures are of the others.\n"


def _row(results: Results, scenario: Scenario, peer: str) -> Iterator[str]:
    cells = [_cell(results, scenario, peer, figure) for figure in scenario.figures]
    if any(cells):
        yield f"| {_LABELS[peer]} |" + "".join(f" {cell or '–'} |" for cell in cells)


def _cell(results: Results, scenario: Scenario, peer: str, figure: Figure) -> str:
    """The median with its range, and below it the ratio to the base with its range."""
    found = spread(values(results.rounds, scenario.name, peer, figure.key))
    if found is None or (figure.compared and not found.high):
        return ""
    text = f"{_number(found.median * figure.factor)} {_range(found, figure.factor)}"
    ratio = ratios(results.rounds, scenario, peer, figure.key) if figure.compared else None
    return f"{text}<br>× {_number(ratio.median)} {_range(ratio)}" if ratio else text


def _range(found: Spread, factor: float = 1.0) -> str:
    return f"({_number(found.low * factor)}–{_number(found.high * factor)})"


def _number(value: float) -> str:
    """Three digits that count, and no exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 or not value else f"{value:.4f}"


# Curves.


def points(results: Results, curve: Curve) -> dict[str, list[tuple[float, float]]]:
    """For each peer: (place on the axis, median of the CPU µs of an event)."""
    series = {}
    for peer, label in _LABELS.items():
        found = [(x, spread(values(results.curves, f"{curve.name} {x:g}", peer, "cpu_us"))) for x, _ in curve.work]
        known = [(x, one.median) for x, one in found if one is not None and one.median > 0]
        if known:
            series[label] = known
    return series


def curve_table(results: Results, curve: Curve) -> Iterator[str]:
    series = points(results, curve)
    yield f"| {curve.axis} |" + "".join(f" {name} |" for name in series) + " sseproxy to nginx |"
    yield "|--:|" + "--:|" * (len(series) + 1)
    for x, _ in curve.work:
        cells = [dict(known).get(x) for known in series.values()]
        scenario = Scenario(f"{curve.name} {x:g}", "", curve.work[0][1], ())
        ratio = ratios(results.curves, scenario, "sseproxy", "cpu_us")
        last = f"{_number(ratio.median)} {_range(ratio)}" if ratio else "–"
        yield f"| {x:,g} |" + "".join(f" {_number(cell) if cell else '–'} |" for cell in cells) + f" {last} |"
