# uvicorn --app-dir examples django_view:app --port 8000
"""An async streaming view of Django in one file, kept alive. Then: curl -N http://127.0.0.1:8000/chat"""

import asyncio
from collections.abc import AsyncIterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from sseproxy.asgi import SSEKeepaliveMiddleware

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="an example's")


async def words() -> AsyncIterator[str]:
    await asyncio.sleep(2.5)  # a model that thinks
    for word in ("Hello", "world"):
        yield f"data: {word}\n\n"


async def chat(_: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(words(), content_type="text/event-stream")


urlpatterns = [path("chat", chat)]

django.setup()
app = SSEKeepaliveMiddleware(get_asgi_application(), heartbeat="1s", drain="25s")  # leave heartbeat out for 15 s
