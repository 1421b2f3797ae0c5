"""How is a process of the demo ended, by its own id, and how does the demo learn that it is to end?"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

_PATIENCE = 5.0


def ended(process: asyncio.subprocess.Process) -> bool:
    """True if the process is over."""
    return process.returncode is not None


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, and kill it if it has not ended after some seconds."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            process.kill()
    await process.wait()


@contextlib.asynccontextmanager
async def interrupted() -> AsyncIterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set in place of ending the process."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
