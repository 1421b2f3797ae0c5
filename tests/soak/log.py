"""How does a process of the soak write down what happens? As `tests.sim.history` reads it."""

import json
import time
from pathlib import Path

now = time.monotonic


class Log:
    """A file with one JSON object a line. A process that is killed loses no line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, what: str, **fields: object) -> None:
        """Write an event down; it has happened now, unless `at` says otherwise."""
        self._file.write(json.dumps({"at": now(), **fields, "what": what}) + "\n")

    def close(self) -> None:
        self._file.close()
