"""Where do the spans of one process go, and how is no request kept waiting by it? (extra ``sseproxy[otel]``)

What is sent where is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME,
OTEL_TRACES_SAMPLER, OTEL_BSP_MAX_QUEUE_SIZE, …): docs/operations.md.
"""

import asyncio
import logging
import signal
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sseproxy import __version__
from sseproxy.engine.tracing import Tracing
from sseproxy.logs import LOGGER, TELEMETRY_LOGGER

_log = logging.getLogger(LOGGER)

#: Seconds that the last spans get to be sent when the process ends.
_LAST_SPANS = 3.0

#: Seconds between two lines of the exporter that say the same.
_BETWEEN_COMPLAINTS = 60.0


class SparseComplaints(logging.Filter):
    """Lets the exporter say each thing once a minute, in one line: a collector may be away for hours."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created - self._said.get(str(record.msg), -_BETWEEN_COMPLAINTS) < _BETWEEN_COMPLAINTS:
            return False
        self._said[str(record.msg)] = record.created
        if record.exc_info:
            record.msg, record.args = f"{record.getMessage()} {record.exc_info[1]!r}", ()
            record.exc_info = record.exc_text = None
        return True


class Telemetry:
    """What makes spans in this process, and the thread that sends them.

    Must be made in the process that serves: the thread does not outlive a fork. Raises whatever the SDK raises, such as
    `ValueError` for a variable that makes no sense.
    """

    # 1. A span that ends goes into the SDK's queue, which is bounded and drops what does not fit. The event loop waits
    #    neither for the queue nor for the collector.
    # 2. The end of the process waits for the last spans, and no longer than `_LAST_SPANS`. The threads that still send
    #    then are daemons: they end with the process.

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):  # no variable names it
            resource = resource.merge(Resource({SERVICE_NAME: "sseproxy", SERVICE_VERSION: __version__}))
        for handler in logging.getLogger(TELEMETRY_LOGGER).handlers:
            handler.addFilter(SparseComplaints())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        # Its thread inherits the mask: signals are for the main thread alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.tracing = Tracing(self._provider.get_tracer("sseproxy", __version__))

    @classmethod
    def begin(cls) -> "Telemetry | None":
        """Return one, or ``None`` with a line in the log: requests are served all the same."""
        try:
            return cls()
        except Exception as error:  # noqa: BLE001 - whatever a variable or a package of the SDK brings about
            _log.error("no traces are sent: %s", error)
            return None

    async def stop(self, limit: float = _LAST_SPANS) -> None:
        """Send what is left, for at most `limit` seconds."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send_rest() -> None:
            self._provider.shutdown()
            try:
                loop.call_soon_threadsafe(sent.set)
            except RuntimeError:
                pass  # too late: the loop has closed

        threading.Thread(target=send_rest, name="last-spans", daemon=True).start()
        try:
            async with asyncio.timeout(limit):
                await sent.wait()
        except TimeoutError:
            _log.warning("the last spans were not taken within %g s, and are lost", limit)
