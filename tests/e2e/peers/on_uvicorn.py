"""How is an ASGI app served on a port of the kernel's choice?"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn


def serve(make_app: Callable[[], Any]) -> None:
    """Serve what `make_app` makes while the loop runs, and say where."""
    asyncio.run(_serve(make_app))


async def _serve(make_app: Callable[[], Any]) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(), log_level="warning", lifespan="off"))
    print("listening", listening.getsockname()[1], flush=True)
    await server.serve(sockets=[listening])
