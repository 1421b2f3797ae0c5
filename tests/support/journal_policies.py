"""A journal in short: what is kept, by which key, and for whom?"""

from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.rules import Again, Detach, JournalPolicy, Keep, Part, PartKind, ResumePath
from sseproxy.core.stream.plan import StreamKind


def part(written: str) -> Part:
    """A part as a configuration writes it."""
    kind, _, name = written.partition(":")
    return Part(PartKind(kind), name)


def feed(*, login: str = "", key: str = "url") -> JournalPolicy:
    """A feed of a login and a key, of which each is a list of parts with blanks between them; no login: of anyone."""
    resume = ResumePath("/_runs/r/")
    return JournalPolicy(
        StreamKind.FEED, _parts(key), _parts(login), Again.JOIN, Start.LATEST, 30.0, Keep(events=1000), resume
    )


def answer(*, login: str = "", key: str = "run") -> JournalPolicy:
    """The same of an answer."""
    resume = ResumePath("/_runs/r/")
    return JournalPolicy(
        StreamKind.ANSWER, _parts(key), _parts(login), Again.NEW, Start.OLDEST, Detach.END, Keep(), resume
    )


def _parts(written: str) -> tuple[Part, ...]:
    return tuple(map(part, written.split()))
