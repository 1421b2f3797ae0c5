"""How much memory does something take? Other threads of the test take some, too, now and then."""

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

_Thing = TypeVar("_Thing")


def traced(prepare: Callable[[], _Thing], work: Callable[[_Thing], object], *, times: int = 3) -> tuple[int, int]:
    """Return the bytes that `work` leaves to what `prepare` has made, and the most it takes meanwhile; at best."""

    def once() -> tuple[int, int]:
        thing = prepare()
        tracemalloc.start()
        try:
            work(thing)
            return tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    kept, peaks = zip(*(once() for _ in range(times)), strict=True)
    return min(kept), min(peaks)
