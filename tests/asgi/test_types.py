"""Does the middleware fit where servers and frameworks expect an app? Each types it in its own way."""

from datetime import timedelta

import pytest
from asgiref.typing import ASGI3Application
from hypercorn.typing import ASGIFramework
from litestar.types import ASGIApp as LitestarApp
from quart import Quart
from starlette.applications import Starlette
from starlette.types import ASGIApp as StarletteApp

from sseproxy.asgi import SSEKeepaliveMiddleware


def test_it_is_an_app_of_each_kind() -> None:
    """What would fail here is `make types`."""
    app = Quart(__name__)
    wrapped = SSEKeepaliveMiddleware(app.asgi_app)
    app.asgi_app = wrapped  # type: ignore[method-assign]  # Quart's own way to add one
    kinds: tuple[ASGI3Application, ASGIFramework, LitestarApp, StarletteApp] = (wrapped, wrapped, wrapped, wrapped)
    assert all(map(callable, kinds))


def test_starlette_knows_its_options() -> None:
    """The same: its `add_middleware` is typed by what the class takes."""
    app = Starlette()
    app.add_middleware(SSEKeepaliveMiddleware, heartbeat=timedelta(seconds=15), dialect="mcp", idle_timeout=None)
    with pytest.raises(TypeError, match=r"^hearbeat: .*did you mean heartbeat"):
        SSEKeepaliveMiddleware(app, hearbeat="15s")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^form: .*did you mean comment-line"):
        SSEKeepaliveMiddleware(app, form="coment-line")  # type: ignore[arg-type]
