"""How is sseproxy itself run beside the gateway, as a user would run it?"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence

from sseproxy.demo.process import stop

_ADDRESS = re.compile(rb"http://127\.0\.0\.1:(\d+)")
_START_LIMIT = 60.0


class SidecarFailed(Exception):
    """sseproxy did not start; the text is what it wrote."""


@contextlib.asynccontextmanager
async def sidecar(arguments: Sequence[str], **variables: str) -> AsyncIterator[int]:
    """Run ``sseproxy serve`` with `arguments` on a free port; yields the port. Raises `SidecarFailed`.

    variables: of the environment, for the file that it reads.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sseproxy", "serve", "--listen", "127.0.0.1:0", *arguments),
        env={name: value for name, value in os.environ.items() if not name.startswith("SSEPROXY_")} | variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C reaches us only: we end the process when the readers are done.
        start_new_session=True,
    )
    assert process.stderr is not None
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(_read(process.stderr, port))
    try:
        yield await asyncio.wait_for(port, _START_LIMIT)
    finally:
        await stop(process)
        await reading


async def _read(stderr: asyncio.StreamReader, port: "asyncio.Future[int]") -> None:
    """Find the port in what is written, and read on to the end: a full pipe would stop the process."""
    written = b""
    async for line in stderr:
        if not port.done():
            written += line
            if found := _ADDRESS.search(line):
                port.set_result(int(found[1]))
    if not port.done():
        port.set_exception(SidecarFailed(written.decode(errors="replace").strip()))
