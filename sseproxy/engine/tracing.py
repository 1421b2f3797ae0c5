"""How does a request become a span, and how does its upstream learn of it? (OpenTelemetry; W3C Trace Context)

Needs the API of OpenTelemetry, and is imported only where traces are switched on.
"""

import re
import time
from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers, get_all
from sseproxy.core.stream.ends import LastWord, row
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import AccessRecord, Observer

#: Ends that the operator has planned: they are no fault, although a client of an answer gets an error event.
_PLANNED = frozenset((CloseReason.DRAIN, CloseReason.MAX_DURATION))

#: What breaks a response off without the client.
_FAULTS = frozenset(each for each in CloseReason if row(each).last_word is LastWord.ERROR) - _PLANNED

#: Fields of the access log that are attributes by names of our own.
_OWN = (
    "client",
    "route",
    "upstream",
    "reason",
    "request_id",
    "declared",
    "journal",
    "intended",
    "longest_silence",
    "events",
    "bytes",
    "heartbeats",
    "heartbeats_skipped",
)

_PORT = re.compile(r"(?<=.):([0-9]{1,5})\Z")

_NANOSECONDS = 1_000_000_000


@frozen
class RequestSpan:
    """The span of one request (a `Trace`). began_at: nanoseconds since 1970."""

    span: Span
    began_at: int
    fields: Headers

    @property
    def id(self) -> str:
        return format_trace_id(self.span.get_span_context().trace_id)

    def time(self, record: AccessRecord, at: float) -> int:
        """Return the event loop's time `at` in nanoseconds since 1970."""
        return self.began_at + int((at - record.started_at) * _NANOSECONDS)


class Tracing(Observer):
    """Makes a span of each request that comes to the proxy, from its head to the last byte of its response.

    tracer: hands spans on when they end; it must not block. epoch: nanoseconds since 1970.
    """

    # 1. A request gets its span before it is known whether its response is a stream: the upstream hears of the span in
    #    the head of the request. So all requests have one, and the sampler says which are kept.
    # 2. A span holds what the line in the access log holds, by the names of the semantic conventions where they have
    #    one. So no secret gets into either.
    # 3. A trace that makes no sense begins anew here. One that is not sampled goes on to the upstream as that.
    #
    # Hazards:
    # - the SDK can be switched off by its own variable (OTEL_SDK_DISABLED). Then spans have no ids of their own, and
    #   what the client says of its trace goes on as it came;
    # - what OTLP cannot hold (half a UTF-16 pair, a port beyond 64 bits) costs the attribute, or all spans that go out
    #   with it. A request that is refused may hold anything, so what clients write is made fit (`fit`, `_PORT`).

    def __init__(self, tracer: Tracer, *, epoch: Callable[[], int] = time.time_ns) -> None:
        self._tracer = tracer
        self._epoch = epoch
        self._propagator = TraceContextTextMapPropagator()

    def asked(self, record: AccessRecord, fields: Headers) -> None:
        said = {}
        for name in ("traceparent", "tracestate"):
            values = [value.decode("latin-1") for value in get_all(fields, name.encode())]
            if len(values) == 1 or name == "tracestate":  # of several traces none is believed
                said[name] = ",".join(values)
        parent = self._propagator.extract(said, Context())
        began_at = self._epoch()
        attributes = {"http.request.method": record.method, "url.path": fit(record.path), "url.scheme": record.scheme}
        span = self._tracer.start_span(record.method, parent, SpanKind.SERVER, attributes, start_time=began_at)
        if span.get_span_context().is_valid:
            carrier: dict[str, str] = {}
            self._propagator.inject(carrier, set_span_in_context(span, Context()))
            sent = [(name.encode(), value.encode()) for name, value in carrier.items()]
            record.trace = RequestSpan(span, began_at, sent)

    def answered(self, record: AccessRecord) -> None:
        trace = record.trace
        if not isinstance(trace, RequestSpan):
            return
        span, stats = trace.span, record.stats
        if span.is_recording():
            span.update_name(f"{record.method} {record.route}")
            span.set_attributes(attributes_of(record))
            if stats is not None and stats.first_byte_at is not None:
                span.add_event("sseproxy.first_byte", timestamp=trace.time(record, stats.first_byte_at))
            if (fault := fault_of(record)) is not None:
                span.set_attribute("error.type", fault)
                span.set_status(Status(StatusCode.ERROR, None if record.error is None else fit(record.error)))
        span.end(trace.time(record, record.ended_at))


def attributes_of(record: AccessRecord) -> Mapping[str, str | int | float | bool]:
    """Return what a span says of a request once it has been answered."""
    values = record.fields()
    # Which part of a path is a secret is known since its route is.
    found: dict[str, str | int | float | bool] = {"network.peer.address": record.peer, "url.path": fit(record.path)}
    found["client.address"] = record.client or record.peer
    if record.host:
        port = _PORT.search(record.host)
        found["server.address"] = (record.host if port is None else record.host[: port.start()]).strip("[]")
        if port is not None:
            found["server.port"] = int(port[1])
    if record.status is not None:
        found["http.response.status_code"] = int(record.status)
    for name in _OWN:
        value = values.get(name)
        if isinstance(value, str | int | float):
            found[f"sseproxy.{name}"] = value if type(value) in (int, float) else str(value)
    return found


def fit(text: str) -> str:
    """Return `text` in characters that every collector takes."""
    return text.encode("ascii", "backslashreplace").decode()


def fault_of(record: AccessRecord) -> str | None:
    """Return what went wrong on the side of the services, by the word of the conventions' ``error.type``."""
    if record.reason in _FAULTS:
        return str(record.reason)
    status = record.intended or record.status or 0
    return str(int(status)) if status >= 500 else None
