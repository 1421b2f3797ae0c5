# uvicorn --app-dir examples fastapi_streaming:app --port 8000
"""A StreamingResponse, kept alive, also while the app awaits its model before it answers at all.

Then: curl -N http://127.0.0.1:8000/chat --json '{"stream": true}'
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from sseproxy.asgi import SSEKeepaliveMiddleware

app = FastAPI()
app.add_middleware(SSEKeepaliveMiddleware, heartbeat="1s", before_response="1s", dialect="openai-chat", drain="25s")


class Question(BaseModel):
    stream: bool = False


async def words() -> AsyncIterator[str]:
    for word in ("Hello", "world"):
        yield f'data: {{"choices": [{{"delta": {{"content": "{word}"}}}}]}}\n\n'
        await asyncio.sleep(1.5)  # a model that stops to think
    yield "data: [DONE]\n\n"


@app.post("/chat")
async def chat(_: Question) -> StreamingResponse:
    await asyncio.sleep(2.5)  # a model that takes its time before the first word
    return StreamingResponse(words(), media_type="text/event-stream")
