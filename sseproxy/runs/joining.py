"""How does a client begin to read a run?"""

from collections import Counter
from collections.abc import Callable

from sseproxy.core.flow import EventSink
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.gap import GapReason
from sseproxy.journal.place import Place
from sseproxy.journal.reader import Reader
from sseproxy.runs.findings import Join


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
    reader = Reader(sink, flavour, run.loop, named=named, has_primer=has_primer, on_end=on_end, counts=counts)
    place = reader.place(run.fanout)
    place.begin(where.mark, where.missing)
    return reader, place
