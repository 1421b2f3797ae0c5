"""Which impatient gateway stands in front of the demo: the real nginx, or a stand-in for it?"""

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum

from sseproxy.demo.embedded import embedded
from sseproxy.demo.nginx import NginxFailed, find_nginx, nginx, nginx_version, unprivileged
from sseproxy.demo.ports import authority
from sseproxy.demo.standin import StandIn

# The slash behind the port takes the prefix away.
_LOCATION = "        location {prefix} {{ proxy_pass http://127.0.0.1:{target}/; }}\n"
_HTTP = """\
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout {patience:.0f}ms;  # 60s by default
    server {{
        listen {address};
{locations}
    }}
"""


class GatewayChoice(StrEnum):
    """Which gateway the user wants; ``auto`` takes nginx where it is installed."""

    AUTO = "auto"
    NGINX = "nginx"
    EMBEDDED = "embedded"


@contextlib.asynccontextmanager
async def gateway(
    choice: GatewayChoice, sock: socket.socket, targets: Mapping[str, int], *, patience: float
) -> AsyncIterator[str]:
    """Listen on `sock`, send each path prefix of `targets` to its port, and end what is silent for `patience` seconds.

    Yields the gateway's name for people. Raises `NginxFailed` when nginx is wanted and cannot be had.
    """
    program = None if choice is GatewayChoice.EMBEDDED else find_nginx()
    if program is None and choice is GatewayChoice.NGINX:
        raise NginxFailed("nginx is not installed")
    if program is not None:
        name = f"nginx {await nginx_version(program)}"
        locations = "".join(_LOCATION.format(prefix=prefix, target=target) for prefix, target in targets.items())
        host, port, *_ = sock.getsockname()
        conf = _HTTP.format(address=authority(host, port), patience=patience * 1000, locations=locations)
        async with nginx(program, unprivileged(conf), [sock]):
            yield name
    else:
        async with embedded(StandIn(targets, patience).serve, sock):
            why = "" if choice is GatewayChoice.EMBEDDED else "; nginx is not installed"
            yield f"a stand-in for nginx (embedded, same timeouts{why})"
