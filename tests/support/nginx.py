"""How do tests put the real nginx in front of something?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sseproxy.demo.nginx import nginx, unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.support.programs import require

_REPLICAS = Path(__file__).parents[2] / "nginx" / "replicas.conf"


@contextlib.asynccontextmanager
async def nginx_before(port: int, *, read_timeout: float, settings: str = "") -> AsyncIterator[int]:
    """Run nginx in front of `port`; yields its own port, which the kernel has chosen. Skips without nginx.

    read_timeout: seconds of silence after which nginx gives up. settings: further directives for the ``http`` block.
    """
    program, sock = require("nginx"), listener()
    chosen = port_of(sock)
    http = f"""
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout {read_timeout * 1000:.0f}ms;
    {settings}
    server {{ listen 127.0.0.1:{chosen}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}
    """
    async with nginx(program, unprivileged(http), [sock]):
        yield chosen


@contextlib.asynccontextmanager
async def nginx_before_replicas(first: str, second: str) -> AsyncIterator[int]:
    """Run nginx with ``nginx/replicas.conf`` in front of two addresses; yields its own port. Skips without nginx."""
    program, sock = require("nginx"), listener()
    chosen = port_of(sock)
    conf = _REPLICAS.read_text(encoding="utf-8")
    for written, here in (("8090", first), ("8091", second), ("8010", f"127.0.0.1:{chosen}")):
        assert conf.count(f" 127.0.0.1:{written}") >= 1
        conf = conf.replace(f" 127.0.0.1:{written}", f" {here}")
    async with nginx(program, conf, [sock]):
        yield chosen


@contextlib.contextmanager
def nginx_running(conf: str, sock: socket.socket) -> Iterator[None]:
    """Run nginx with the text `conf` on the address of `sock`, for tests that are not coroutines. Skips without it."""
    program = require("nginx")
    with asyncio.Runner() as runner:
        running = contextlib.AsyncExitStack()
        runner.run(running.enter_async_context(nginx(program, conf, [sock])))
        try:
            yield
        finally:
            runner.run(running.aclose())
