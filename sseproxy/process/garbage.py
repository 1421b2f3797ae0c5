"""When does the garbage collector look for circles of references?

A request leaves none, however it ends (`tests/proxy/test_circles.py`), and a collector that looks at thousands of
running streams costs their latency. So it comes seldom. A library, or a defect, may leave circles all the same, few
objects that hold large buffers: the collector counts objects, not bytes. `GarbageNet` looks at the bytes.
"""

import contextlib
import gc
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from sseproxy.timers import Clock, Timer

#: Objects that are made before the garbage collector looks at the youngest, and how often it looks further.
_COLLECTED_AFTER = (10_000, 10, 10)

#: Seconds between two looks at how much memory is in use.
LOOK_EVERY = 5.0

#: Bytes by which memory may grow before everything is looked at. A collection takes about a tenth of a second when ten
#: thousand streams are open, and at this rate they cost two or three.
GROWTH = 64 * 2**20

#: Looks after which everything is looked at where nothing says how much memory is in use: five minutes.
_BLIND_LOOKS = 60

_STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Do not look for garbage for the time of a ``with`` block: what a start loads stays, and is much."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else all of it would be looked at now
        gc.enable()


def spare_the_collector() -> None:
    """Take what is loaded for good, and let the collector come seldom."""
    # Not collected before: a start leaves no circles to speak of, and looking for them takes a tenth of its time.
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


def resident() -> int | None:
    """Return the bytes of memory that this process has in use; ``None`` where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


class GarbageNet:
    """Collects everything when memory has grown by `GROWTH` bytes since it was least.

    clock: the event loop. memory: bytes in use, or ``None`` if that is not known. collect: the garbage collector.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        memory: Callable[[], int | None] = resident,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._collect = collect
        self._least = memory()
        self._looks = 0
        self._timer: Timer = clock.call_at(clock.time() + LOOK_EVERY, self.look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def look(self) -> None:
        """Collect if it is due, and schedule the next look."""
        self._timer = self._clock.call_at(self._clock.time() + LOOK_EVERY, self.look)
        self._looks += 1
        used = self._memory()
        if used is None or self._least is None:
            is_due = self._looks >= _BLIND_LOOKS
        else:
            # From the least, not from the last: memory that grows a little at every look is growth too.
            self._least = min(self._least, used)
            is_due = used >= self._least + GROWTH
        if is_due:
            self._collect()
            # What is left is in use: it must not make the next look collect again.
            self._least = self._memory()
            self._looks = 0
