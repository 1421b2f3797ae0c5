"""How do runs in memory get over a restart of their process?"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Final

from sseproxy.core.journal.image import RunImage
from sseproxy.stores.run_records import bytes_of, line, read_line, read_run, text_of, write_run
from sseproxy.stores.sealed_file import Fate, Unusable, dispose, open_sealed, write_sealed

_log = logging.getLogger("sseproxy")

_KIND: Final = "sseproxy journal"
_VERSION: Final = 1

# The file is used once. What cannot be removed is not used: a process that read it again would give positions that
# clients have to other events.


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the process before has left. secret: that its digests were made with. elapsed: seconds since then."""

    secret: bytes = field(repr=False)
    images: tuple[RunImage, ...]
    elapsed: float


def write(path: Path, secret: bytes, images: Iterable[RunImage], *, clock: Callable[[], float] = time.time) -> bool:
    """Write the runs of a process, in place of what is there. Return whether it went well; if not, the log says why.

    secret: that the digests of `images` were made with. clock: seconds since the epoch.
    """

    def pieces() -> Iterator[bytes]:
        yield line({"saved": clock(), "secret": text_of(secret)})
        for image in images:
            yield from write_run(image)

    try:
        write_sealed(path, _KIND, _VERSION, pieces())
    except OSError as error:
        _log.error("The journal cannot be written to %s, and its runs are lost: %s", path, error.strerror or error)
        return False
    return True


def read(path: Path, *, max_age: float, clock: Callable[[], float] = time.time) -> Snapshot | None:
    """Read what `write` has written, and remove the file.

    Return ``None`` if there is none, and if it cannot be used; the log says why. max_age: seconds.
    """
    try:
        with open_sealed(path, _KIND, _VERSION) as file:
            snapshot = parse(file, max_age=max_age, now=clock())
        path.unlink()
    except FileNotFoundError:
        return None  # also if another process has been faster
    except Unusable as error:
        reason, fate = str(error), dispose(path, error.fate)
    except OSError as error:
        reason, fate = error.strerror or str(error), Fate.LEFT
    else:
        return snapshot
    _log.warning("The journal in %s is not used, and %s: %s", path, fate.value, reason)
    return None


def parse(file: BufferedReader, *, max_age: float, now: float) -> Snapshot:
    """Return what is behind the seal of a file. Raises `Unusable`. now: seconds since the epoch."""
    try:
        first = read_line(file)
        secret, elapsed = bytes_of(first["secret"]), max(0.0, now - first["saved"])  # a clock may have been set back
        images = []
        while elapsed <= max_age and file.peek(1):
            images.append(read_run(file))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unusable("it is damaged", Fate.ASIDE) from error
    if elapsed > max_age:
        raise Unusable(f"it is {elapsed:.0f} seconds old", Fate.REMOVED)
    return Snapshot(secret, tuple(images), elapsed)
