# uvicorn --app-dir examples/library fastapi_app:app --port 8000
"""A FastAPI app with pages of its own, and the service behind it under /v1, kept alive.

Then: curl -N http://127.0.0.1:8000/v1/chat/completions --json '{"stream": true}'
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from sseproxy.proxy import ReverseProxy

proxy = ReverseProxy(
    os.environ.get("SERVICE", "http://127.0.0.1:9000"),
    heartbeat="1s",  # leave both out for 15 s, and for no answer before the service's
    before_response="1s",
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with proxy:  # a mounted app hears of no start and no end
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/v1", proxy)


@app.get("/health")
async def health() -> dict[str, object]:
    return {"status": proxy.readiness().status, "open_streams": proxy.open_streams}
