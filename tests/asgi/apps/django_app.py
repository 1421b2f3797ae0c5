"""An app on Django: asynchronous views with streaming responses."""

from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, StreamingHttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from sseproxy.asgi import SSEKeepaliveMiddleware
from tests.asgi.apps.source import HEARTBEAT, bytes_of, events, silence

GZIP = "django.middleware.gzip.GZipMiddleware"

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", MIDDLEWARE=[GZIP])


async def some(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(bytes_of(events()), content_type="text/event-stream")


async def none(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(bytes_of(silence()), content_type="text/event-stream")


urlpatterns = [path("events", some), path("silence", none)]
#: For /silence, which is too silent.
impatient = SSEKeepaliveMiddleware(get_asgi_application(), heartbeat=HEARTBEAT, idle_timeout=3 * HEARTBEAT)
application = SSEKeepaliveMiddleware(get_asgi_application(), heartbeat=HEARTBEAT)
