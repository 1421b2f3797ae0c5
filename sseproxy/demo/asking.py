"""What is behind the demo's second page, where `EventSource` can POST, log in, stop, and ask at another origin?"""

import contextlib
from collections.abc import AsyncIterator
from importlib.resources import as_file, files

from sseproxy.demo.eventsource.app import ORIGINS, make_app
from sseproxy.demo.page import local
from sseproxy.demo.sidecar import sidecar
from sseproxy.demo.timing import Timing


@contextlib.asynccontextmanager
async def asking(timing: Timing, *, origin: str) -> AsyncIterator[int]:
    """Run the service in eventsource/, and sseproxy with the file that lies beside it; yields sseproxy's port.

    origin: the page's. sseproxy's own port is the other one, where the page may ask without the gateway.
    """
    app = make_app()
    with as_file(files("sseproxy.demo") / "eventsource" / "sseproxy.yaml") as file:
        async with local(app) as service:
            flags = ["-c", str(file), f"--upstream=http://127.0.0.1:{service}", *timing.flags, "--no-access-log"]
            async with sidecar(flags, PAGE_ORIGIN=origin) as port:
                app[ORIGINS]["other"] = f"http://127.0.0.1:{port}"
                yield port
