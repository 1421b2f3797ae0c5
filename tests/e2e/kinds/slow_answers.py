"""What do the apps behind the middlewares say, and how long do they think?"""

import json

from sseproxy.asgi.options import MiddlewareOptions

#: Seconds of silence, before the head and between two records; longer than the gateway waits.
SILENCE = 2.5

#: How the middlewares are set.
OPTIONS: MiddlewareOptions = {
    "dialect": "ollama",
    "heartbeat": "150ms",
    "before_response": "300ms",
    "json": "300ms",
}

#: Two of Ollama's paths; the first one streams, if it is not asked for anything else.
LINES_PATH, TEXT_PATH = "/api/chat", "/api/embed"
LINES_TYPE, TEXT_TYPE = "application/x-ndjson", "application/json"
RECORDS = [
    json.dumps({"message": {"role": "assistant", "content": text}, "done": text == ""}).encode() + b"\n"
    for text in ("Grüße", ", world", "")
]
TEXT = json.dumps({"message": {"role": "assistant", "content": "Grüße, world"}, "done": True}).encode()
