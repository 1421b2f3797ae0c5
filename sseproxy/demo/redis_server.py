"""How is a real Redis run for a while, for the demo alone?"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.process import ended, stop
from sseproxy.demo.programs import find_program, version_of

_START_LIMIT = 15.0
# Redis cannot be handed a socket that listens: another process may be faster with the port.
_ATTEMPTS = 3


class RedisFailed(Exception):
    """Redis did not start; the text is what it wrote last."""


def find_redis() -> str | None:
    """The path of the installed Redis or Valkey, if there is one."""
    return find_program("redis-server", "valkey-server")


async def redis_version(program: str) -> str:
    """Its name and version, such as ``Redis 7.0.15``."""
    name = "Valkey" if "valkey" in Path(program).name else "Redis"
    return f"{name} {await version_of(program, '--version', rb'v=([0-9.]+)')}"


@contextlib.asynccontextmanager
async def redis_server(program: str) -> AsyncIterator[int]:
    """Run Redis on a free port of the loopback interface, in a directory of its own; yields the port.

    It tells of changes to keys, and keeps nothing on disk. Raises `RedisFailed`.
    """
    with tempfile.TemporaryDirectory(prefix="sseproxy-redis-") as name:
        directory = Path(name)
        for attempt in range(_ATTEMPTS):
            with contextlib.closing(listener()) as sock:
                port = port_of(sock)
            process = await _start(program, directory, port)
            try:
                if await _started(process, port):
                    yield port
                    return
                if attempt == _ATTEMPTS - 1:
                    raise RedisFailed((directory / "redis.log").read_text(errors="replace").strip()[-500:])
            finally:
                await stop(process)


async def _start(program: str, directory: Path, port: int) -> asyncio.subprocess.Process:
    with (directory / "redis.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
            *("--save", "", "--notify-keyspace-events", "Kt"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches us only: we end the process when its clients are gone.
            start_new_session=True,
        )


async def _started(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until it answers. Return False if it has ended, or takes too long."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + _START_LIMIT
    while not ended(process) and loop.time() < limit:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(writer):
                    writer.write(b"PING\r\n")
                    if await reader.readline() == b"+PONG\r\n":
                        return True
        await asyncio.sleep(0.01)
    return False
