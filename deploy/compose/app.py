"""What stands behind sseproxy in the stack of ../compose.yaml? A model that thinks for longer than nginx waits.

Standard library only. THINK: seconds before the first token. PORT: where it listens.
"""

import json
import os
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

THINK = float(os.environ.get("THINK", "75"))


class App(BaseHTTPRequestHandler):
    """POST: an answer, token by token. GET /whoami: who is logged in; here anybody is who the cookie says."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(THINK)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in ("Forty", "-", "two", "."):
            chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def do_GET(self) -> None:
        user = SimpleCookie(self.headers.get("Cookie", "")).get("user")
        if self.path == "/whoami" and user is None:
            self.send_response(401)
        else:
            self.send_response(200)
            if user is not None:
                self.send_header("X-User", user.value)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "9000"))), App).serve_forever()
