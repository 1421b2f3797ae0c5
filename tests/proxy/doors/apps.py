"""The proxy as servers are given it: bare, mounted in Starlette, and behind its middleware."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from tests.support.asgi_proxy import InServer

bare = InServer()


async def _pass(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["X-Seen"] = "by the middleware"
    return response


mounted = Starlette(routes=[Mount("/mount", InServer())])
behind = Starlette(routes=[Mount("/mount", InServer())], middleware=[Middleware(BaseHTTPMiddleware, dispatch=_pass)])
