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
    draining = None
    try:
        port = await asyncio.wait_for(_port(process.stderr), _START_LIMIT)
        draining = asyncio.create_task(_drain(process.stderr))
        yield port
    finally:
        await stop(process)
        if draining is not None:
            await draining


async def _port(stderr: asyncio.StreamReader) -> int:
    written = b""
    async for line in stderr:
        if found := _ADDRESS.search(line):
            return int(found[1])
        written += line
    raise SidecarFailed(written.decode(errors="replace").strip())


async def _drain(stderr: asyncio.StreamReader) -> None:
    """Read on, because a full pipe would stop the process."""
    while await stderr.read(65536):
        pass
