"""How do tests put real gateways, with a fault each, in front of a port?"""

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sseproxy.demo.embedded import embedded
from sseproxy.demo.nginx import nginx, unprivileged
from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.process import stop
from sseproxy.demo.standin import StandIn
from tests.support.patience import LIMIT
from tests.support.programs import require

_CADDY_LISTENS = re.compile(rb'"actual_address":"127\.0\.0\.1:(\d+)"')

_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  {settings}
frontend front
  bind fd@{descriptor}
  default_backend sseproxy
{backend}
"""

_CADDY = """
{{
  admin off
  auto_https off
}}
http://:0 {{
  bind 127.0.0.1
  {site}
  reverse_proxy 127.0.0.1:{port} {{
    {proxy}
  }}
}}
"""


@contextlib.asynccontextmanager
async def nginx_chain(port: int, *settings: str) -> AsyncIterator[int]:
    """Run one nginx for each of `settings`, directives of its location, the first one next to `port`.

    They are servers of one process. Yields the port of the last one. Skips without nginx.
    """
    program = require("nginx")
    sockets = [listener() for _ in settings]
    servers, behind = [], port
    for sock, directives in zip(sockets, settings, strict=True):
        address = f"127.0.0.1:{port_of(sock)}"
        servers.append(
            f"server {{ listen {address}; location / {{ proxy_pass http://127.0.0.1:{behind}; {directives} }} }}"
        )
        behind = port_of(sock)
    async with nginx(program, unprivileged("\n".join(servers)), sockets):
        yield behind


def haproxy(port: int, settings: str = "") -> contextlib.AbstractAsyncContextManager[int]:
    """Run HAProxy in front of `port`; yields its own. settings: for ``defaults``. Skips without HAProxy."""
    return haproxy_before(f"backend sseproxy\n  server service 127.0.0.1:{port}", settings)


@contextlib.asynccontextmanager
async def haproxy_before(backend: str, settings: str = "") -> AsyncIterator[int]:
    """Run HAProxy in front of a backend, of which `backend` is the text and ``sseproxy`` the name; see `haproxy`."""
    program, sock = require("haproxy"), listener()
    # It listens already: what connects before HAProxy is up waits for it.
    with tempfile.TemporaryDirectory() as name, contextlib.closing(sock):
        conf = Path(name) / "haproxy.cfg"
        conf.write_text(_HAPROXY.format(settings=settings, descriptor=sock.fileno(), backend=backend))
        process = await asyncio.create_subprocess_exec(
            *(program, "-db", "-f", str(conf)), pass_fds=[sock.fileno()], stderr=asyncio.subprocess.DEVNULL
        )
        try:
            yield port_of(sock)
        finally:
            await stop(process)


@contextlib.asynccontextmanager
async def caddy(port: int, *, site: str = "", proxy: str = "") -> AsyncIterator[int]:
    """Run Caddy in front of `port`; yields its own. site, proxy: directives of these blocks. Skips without Caddy."""
    program = require("caddy")
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "Caddyfile").write_text(_CADDY.format(site=site, proxy=proxy, port=port))
        process = await asyncio.create_subprocess_exec(
            *(program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"),
            cwd=name,
            env={**os.environ, "HOME": name, "XDG_DATA_HOME": name, "XDG_CONFIG_HOME": name},
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(LIMIT):
                found = None
                while found is None:
                    line = await process.stderr.readline()
                    assert line, "Caddy did not start"
                    found = _CADDY_LISTENS.search(line)
            yield int(found[1])
        finally:
            await stop(process)


@contextlib.asynccontextmanager
async def impatient(port: int, patience: float) -> AsyncIterator[int]:
    """Run a gateway that ends what is silent for `patience` seconds: 504 before the head, a cut behind it."""
    sock = listener()
    chosen = port_of(sock)
    async with embedded(StandIn({"/": port}, patience).serve, sock):
        yield chosen


@contextlib.asynccontextmanager
async def deaf(port: int) -> AsyncIterator[int]:
    """Run a gateway that reads the service to its end, whether or not the client is still there."""
    sock = listener()
    chosen = port_of(sock)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        service, sending = await asyncio.open_connection("127.0.0.1", port)
        try:
            sending.write(request)
            while data := await service.read(65536):
                if not writer.is_closing():
                    writer.write(data)
        finally:
            sending.close()

    async with embedded(serve, sock):
        yield chosen


@contextlib.asynccontextmanager
async def capped(port: int, lifetime: float) -> AsyncIterator[int]:
    """Run a gateway that cuts each response after `lifetime` seconds, silent or not."""
    sock = listener()
    chosen = port_of(sock)
    standin = StandIn({"/": port}, 2 * lifetime)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(lifetime):
                await standin.serve(reader, writer)

    async with embedded(serve, sock):
        yield chosen
