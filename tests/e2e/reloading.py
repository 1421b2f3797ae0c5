"""How do tests change the file of a running proxy, and have it read again?"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.sseproxy_process import SseproxyProcess

#: One of these is the last line of each reload.
RELOADED, UNCHANGED, IGNORED = "reloaded: ", "reload: nothing has changed", "reload: ignored"


@dataclass(frozen=True, slots=True)
class Reloadable:
    """A process, and the file that it reads. The `server` and `admin` sections of the file stay what they are."""

    process: SseproxyProcess
    file: Path
    fixed: Mapping[str, Any]

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def admin(self) -> str:
        return self.process.urls[-1]

    def write(self, **sections: Any) -> None:
        """Put another file in the place of the file, in one step."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({**self.fixed, **sections}))
        new.replace(self.file)

    def hang_up(self, last: str = RELOADED) -> list[str]:
        """Send SIGHUP. Return what is logged until a line with `last` has come."""
        before = len(self.process.stderr.lines)
        self.process.send_signal(signal.SIGHUP)
        return self.process.stderr.wait_for(lambda lines: any(last in line for line in lines[before:]))[before:]

    def reload(self, **sections: Any) -> list[str]:
        """Write the file, and have it read. Return what is logged. All workers have applied it then."""
        self.write(**sections)
        return self.hang_up()


@contextlib.contextmanager
def reloadable(
    folder: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None, **sections: Any
) -> Iterator[Reloadable]:
    """A process with an admin listener. sections: of its file."""
    file = folder / "sseproxy.yaml"
    server = {"listen": "127.0.0.1:0", "workers": workers, **sections.pop("server", {})}
    fixed = {"server": server, "admin": {"listen": "127.0.0.1:0"}, "log": {"level": "info"}}
    file.write_text(json.dumps({**fixed, **sections}))
    with SseproxyProcess("-c", str(file), environment={**os.environ, **(environment or {})}) as process:
        yield Reloadable(process, file, fixed)
