"""What did the proxy send upstream? This upstream answers each request with what it got."""

import json
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from tests.support.blocking_client import Request


class EchoUpstream:
    """Answers with JSON: its name, method, target and header fields. Runs on threads; a context manager.

    unix: the path of a socket to listen on, in place of a loopback port. host: for that port.
    """

    def __init__(
        self,
        name: str = "echo",
        *,
        unix: str | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        handler = type("Handler", (_EchoHandler,), {"upstream": name})
        if unix is not None:
            self._server: socketserver.BaseServer = _UnixServer(unix, handler)
            self.url = f"http+unix://{unix}"
        else:
            server = (_IPv6Server if ":" in host else _Server)((host, 0), handler)
            if tls is not None:
                server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            shown = f"[{host}]" if ":" in host else host
            self.url = f"{'http' if tls is None else 'https'}://{shown}:{server.server_address[1]}"
            self._server = server
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def echo_of(request: Request) -> dict[str, Any]:
    """What an `EchoUpstream` has answered; the header fields under ``fields``, their names in lower case."""
    answer: dict[str, Any] = json.loads(request.body)
    return answer


class _EchoHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_GET(self) -> None:
        fields = {name.lower(): value for name, value in self.headers.items()}
        answer = {"upstream": self.upstream, "method": self.command, "target": self.path, "fields": fields}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def address_string(self) -> str:
        return "-"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class calls it so
        """Quiet."""


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that refuses the certificate leaves an error here; the test looks at its own side."""


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
