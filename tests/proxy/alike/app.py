"""The proxy as an ASGI app, for a server process of its own."""

import os

from sseproxy.proxy import ReverseProxy
from tests.proxy.alike.routes import UPSTREAM, routes_of

proxy = ReverseProxy(routes=routes_of(int(os.environ[UPSTREAM])))
