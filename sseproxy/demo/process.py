"""How is a process that we started ended, by its own id?"""

import asyncio
import contextlib

_PATIENCE = 5.0


def ended(process: asyncio.subprocess.Process) -> bool:
    """Whether the process is over."""
    return process.returncode is not None


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, and end it when it has not after some seconds."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            process.kill()
    await process.wait()
