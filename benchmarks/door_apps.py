"""The proxy as the library of an app, for servers that are measured: an ASGI app, and a server of aiohttp.

uvicorn benchmarks.door_apps:proxy
python -m benchmarks.door_apps PORT
"""

import os
import sys

from aiohttp import web

from sseproxy.aiohttp import reverse_proxy
from sseproxy.proxy import ReverseProxy

#: Names the upstream.
UPSTREAM = "SSEPROXY_BENCH_UPSTREAM"

proxy = ReverseProxy(os.environ.get(UPSTREAM, "http://127.0.0.1:9"))


def main() -> None:
    handler = reverse_proxy(os.environ[UPSTREAM])
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler, expect_handler=handler.expect)
    handler.setup(app)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
