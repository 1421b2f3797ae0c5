"""Which apps do the tests run on real servers? The proxy alone, and mounted where no lifespan comes to it."""

import os

from starlette.applications import Starlette
from starlette.routing import Mount

from sseproxy.proxy import ReverseProxy

#: Names the service behind.
SERVICE = "SERVICE"

alone = ReverseProxy(os.environ.get(SERVICE, "http://127.0.0.1:9"), heartbeat="50ms", drain="2s", drain_spread="100ms")
mounted = Starlette(routes=[Mount("/", alone)])
