"""What is the origin of ``sseproxy probe --serve`` asked to do, and how is it asked?

By a header field, which hops pass on: the URL stays as the chain expects it.
"""

from collections.abc import Mapping
from enum import StrEnum

from sseproxy.core.frozen import frozen

#: Of a request: the script. Of a response: that the origin is one that follows scripts.
FIELD = "Sseproxy-Probe"

#: Events that are sent one step apart, so that it shows whether they arrive so.
KNOWN_EVENTS = 6
#: Steps between the head and the first event: does the head wait for a body?
LEAD = 4
_MOST_SECONDS = 3600.0
_LONGEST_ID = 64


class Act(StrEnum):
    """What the origin does."""

    PING = "ping"  # a small JSON answer: what it saw of this request, and what became of the visit `of`
    STEADY = "steady"  # the head; `LEAD` steps later known events, a step apart; then one now and then
    BEFORE = "before"  # silence, then the head and the rest
    AFTER = "after"  # the head and an event, silence, then the rest
    BROKEN = "broken"  # the head, two events, and the connection is closed without the last chunk


@frozen
class Script:
    """One request to the origin. seconds: how long it takes, or is silent. step: seconds between known events.

    hints: the response asks hops not to buffer and not to transform. visit: a name under which the origin remembers
    how this went; of: such a name, of the visit that a ping asks for.
    """

    act: Act = Act.STEADY
    seconds: float = 10.0
    step: float = 0.5
    hints: bool = False
    visit: str = ""
    of: str = ""

    def __str__(self) -> str:
        said = {"seconds": f"{self.seconds:g}", "step": f"{self.step:g}", "visit": self.visit, "of": self.of}
        words = [str(self.act), *(f"{name}={value}" for name, value in said.items() if value)]
        return "; ".join([*words, "hints=yes"] if self.hints else words)

    @property
    def lead(self) -> float:
        """Seconds between the head of a steady stream and its first event."""
        return LEAD * self.step

    @property
    def times(self) -> tuple[float, ...]:
        """When the events of a steady stream are sent, in seconds after the head; the last one ends it."""
        known = [self.lead + number * self.step for number in range(KNOWN_EVENTS)]
        pause = max(self.step, min(5.0, self.seconds / 18))
        while known[-1] + pause < self.seconds:
            known.append(known[-1] + pause)
        return (*known, max(self.seconds, known[-1] + self.step))


def read_script(text: str | None) -> Script:
    """Return what the field says. What cannot be read of it is as if it were not said: the origin faces a network."""
    act, *rest = (text or "").split(";")
    said = dict(word.strip().partition("=")[::2] for word in rest)
    asked = act.strip()
    return Script(
        act=Act(asked) if asked in set(Act) else Act.STEADY,
        seconds=_number(said, "seconds", 10.0, least=0.0),
        step=_number(said, "step", 0.5, least=0.01),
        hints=said.get("hints") == "yes",
        visit=said.get("visit", "")[:_LONGEST_ID],
        of=said.get("of", "")[:_LONGEST_ID],
    )


def _number(said: Mapping[str, str], name: str, otherwise: float, *, least: float) -> float:
    try:
        number = float(said[name])
    except (KeyError, ValueError):
        return otherwise
    # Written so that what is not a number falls through.
    return min(number, _MOST_SECONDS) if number >= least else otherwise
