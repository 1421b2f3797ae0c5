"""How does a client begin to read a run?"""

from collections import Counter
from collections.abc import Callable

from sseproxy.core.flow import EventSink
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.gap import GapReason
from sseproxy.core.journal.positions import LONGEST
from sseproxy.core.journal.run import RunPhase
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from sseproxy.runs.findings import Join
from sseproxy.runs.producer import RunBroken


def join(
    sink: EventSink,
    where: Join,
    flavour: Flavour,
    *,
    named: bytes,
    has_primer: bool,
    on_end: Callable[[], None],
    counts: Counter[GapReason],
) -> tuple[Reader, Place]:
    """Return a reader of a run, and its place there. See `Reader`.

    named: the position that the client has named, or nothing. has_primer, counts: see there. on_end: the client has all
    of a run that has ended.
    """
    run = where.run
    # No more of what was named than a gap shows: it is kept as long as the client reads.
    reader = Reader(sink, flavour, run.loop, named=named[:LONGEST], has_primer=has_primer, on_end=on_end, counts=counts)
    place = reader.place(run.fanout)
    place.begin(where.mark, where.missing)
    if run.state.phase is RunPhase.ASLEEP:
        # Its upstream was given up when the client had been let in, and did not read yet.
        run.fanout.dismiss(RunBroken(CloseReason.UPSTREAM_ERROR))
    return reader, place
