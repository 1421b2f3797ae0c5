"""How do tests put the real nginx in front of something?"""

import contextlib
from collections.abc import AsyncIterator

from sseproxy.demo.nginx import nginx, unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.support.programs import require


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
