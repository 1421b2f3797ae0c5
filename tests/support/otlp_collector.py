"""How does a test receive spans, as a collector of OpenTelemetry does? (OTLP over HTTP, opentelemetry-proto)"""

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_LIMIT = 40.0


@dataclass(frozen=True, slots=True)
class Received:
    """One span. Ids are in hex. resource: who has sent it. began_at, ended_at and the times of events: nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, object]
    resource: dict[str, object]
    began_at: int
    ended_at: int
    events: dict[str, int]
    is_error: bool
    message: str

    @classmethod
    def read(cls, span: Span, resource: dict[str, object]) -> Self:
        return cls(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            {
                each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
                for each in span.attributes
            },
            resource,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            {event.name: event.time_unix_nano for event in span.events},
            span.status.code == span.status.STATUS_CODE_ERROR,
            span.status.message,
        )


@dataclass(slots=True)
class Collector:
    """Listens on a port that the kernel chooses, for the time of a ``with`` block.

    asked: set when somebody wants to hand over spans. gate: while it is not set, no answer is given.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    spans: list[Received] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        collector = self
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.asked.set()
                collector.gate.wait()
                collector.take(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to send its spans here, soon."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def take(self, body: bytes) -> None:
        """Take note of all spans of one request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for part in request.resource_spans:
                resource: dict[str, object] = {each.key: each.value.string_value for each in part.resource.attributes}
                for scope in part.scope_spans:
                    self.spans += [Received.read(span, resource) for span in scope.spans]
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[list[Received]], bool]) -> list[Received]:
        """Return all spans, once they are `wanted`. AssertionError: they were not, in time."""
        with self._changed:
            assert self._changed.wait_for(lambda: wanted(self.spans), timeout=_LIMIT), self.spans
            return list(self.spans)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
