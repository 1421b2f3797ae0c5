"""Stub until the real one is merged."""
import re
from sseproxy.core.journal.positions import Mark, read_mark
_RUN = re.compile(rb"[A-Za-z0-9_-]{11}|[A-Za-z0-9_-]{22}")
def read_run_position(text: bytes) -> "tuple[bytes, Mark] | None":
    name, dot, mark = text.partition(b".")
    found = read_mark(mark)
    return (name, found) if dot and found is not None and _RUN.fullmatch(name) else None
