"""How does a test write down what a stream looked like?"""

from collections.abc import Sequence
from dataclasses import replace

from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.script import Script
from sseproxy.probe.stream import Ending, Mark, Sign, Stream

EVENT_STREAM = ("Content-Type", "text/event-stream")
STEP = 0.5


def stream(
    times: Sequence[float] = (),
    *,
    ending: Ending = Ending.CLEAN,
    seconds: float | None = None,
    status: int | None = 200,
    fields: Sequence[tuple[str, str]] = (),
    head_at: float | None = 0.0,
    page: str = "",
    closes: bool = False,
) -> Stream:
    """A stream with an event at each of `times`. seconds: to its end, at once behind the last event unless given."""
    end = seconds if seconds is not None else max(times, default=head_at or 0.0)
    marks = tuple(Mark(at, Sign.EVENT, data="x") for at in times)
    return Stream(ending, end, status, (EVENT_STREAM, *fields), head_at, tuple(times), marks, closes, page)


def steady(delays: Sequence[float] | None = None, *, head_at: float = 0.0, coding: str = "") -> Stream:
    """The known events of the origin. delays: of each of the first ones, or of all if there is only one."""
    times = Script(seconds=10, step=STEP).times
    said = list(delays or [0.0])
    late = said * len(times) if len(said) == 1 else [*said, *[0.0] * (len(times) - len(said))]
    names = ["" for _ in times[:-1]] + ["end"]
    marks = [
        Mark(at + delay, Sign.EVENT, name, f'{{"n": {number}, "at": {at}}}')
        for number, (at, delay, name) in enumerate(zip(times, late, names, strict=True))
    ]
    fields = (EVENT_STREAM, ("Content-Encoding", coding)) if coding else (EVENT_STREAM,)
    return Stream(Ending.CLEAN, marks[-1].at, 200, fields, head_at, tuple(mark.at for mark in marks), tuple(marks))


def whole(at: float) -> Stream:
    """A stream whose last event came."""
    return replace(stream([at]), marks=(Mark(at, Sign.EVENT, "end", "{}"),))


SOON = Noticed(0.01, 5.0)

#: A chain that nothing is wrong with.
CLEAN = Chain(
    silence=10.0,
    step=STEP,
    round_trip=0.02,
    version="HTTP/1.1",
    plain=steady(),
    hinted=steady(),
    before=whole(10.0),
    after=whole(10.0),
    broken=stream([0.0, 0.5], ending=Ending.TRUNCATED),
    left_before=SOON,
    left_after=SOON,
)
