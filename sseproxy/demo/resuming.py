"""What is behind the demo's fourth page, where an answer survives a reload?"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from importlib.resources import as_file, files

from sseproxy.demo.page import local
from sseproxy.demo.resume.app import make_app
from sseproxy.demo.sidecar import sidecar
from sseproxy.demo.timing import Timing

#: The path of the page, behind the gateway.
RESUME = "/resume/"


@contextlib.asynccontextmanager
async def resuming(timing: Timing) -> AsyncIterator[Mapping[str, int]]:
    """Run the service in resume/, and sseproxy with the file that lies beside it; yields a port for each path prefix.

    The page has two frames: one asks the service itself, the other sseproxy.
    """
    with as_file(files("sseproxy.demo") / "resume" / "sseproxy.yaml") as file:
        async with local(make_app()) as service:
            flags = ["-c", str(file), *timing.flags, "--no-access-log"]
            async with sidecar(flags, APP_URL=f"http://127.0.0.1:{service}") as kept:
                yield {f"{RESUME}direct/": service, f"{RESUME}kept/": kept}
