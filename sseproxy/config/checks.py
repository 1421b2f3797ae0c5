"""Which combinations of right values are impossible on the public and the private side?

Checks add to `Document.problems`. Where a value that a check looks at has been found wrong already, it stays silent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath

from sseproxy.config import files
from sseproxy.config.addresses import Address
from sseproxy.config.document import Document
from sseproxy.config.problems import Path
from sseproxy.config.schema import FileSchema
from sseproxy.config.tls_checks import check_server_tls
from sseproxy.config.values import format_duration
from sseproxy.core.routes import Upstream

LISTEN: Path = ("server", "listen")
ADMIN_LISTEN: Path = ("admin", "listen")
DRAIN_DELAY: Path = ("server", "drain", "delay")
DRAIN_TIMEOUT: Path = ("server", "drain", "timeout")
_TLS: Path = ("server", "tls")

#: Modules of the extra `sseproxy[otel]`.
_TRACES_NEED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def check_server(document: Document, file: FileSchema, folder: FilePath) -> None:
    """Listeners, certificate, drain and telemetry."""
    check = ServerCheck(document, file, folder)
    check.public_listeners()
    check.admin_listener()
    check.drain()
    check.tls()
    check.telemetry()


@dataclass(slots=True, eq=False)
class ServerCheck:
    """What one file says about both sides. folder: where its relative paths begin."""

    document: Document
    file: FileSchema
    folder: FilePath

    def public_listeners(self) -> None:
        """Check that there is a listener, and none takes the place of another."""
        if self.document.is_broken(LISTEN):
            return
        listen = self.file.server.listen
        if not listen:
            self.document.problem(LISTEN, "must not be empty")
        for index, address in enumerate(listen):
            self.unix_socket((*LISTEN, index), address)
            taken = next((earlier for earlier in listen[:index] if address.overlaps(earlier)), None)
            if taken is not None:
                self.document.problem(self.document.shown((*LISTEN, index)), f"takes the same place as {taken}")

    def admin_listener(self) -> None:
        """Check that its address is named, and apart from the public ones."""
        if self.file.admin is None or self.document.is_broken(("admin",)):
            return
        listen = self.file.admin.listen
        if listen is None:
            self.document.problem(ADMIN_LISTEN, "is missing", "leave out admin for none")
            return
        self.unix_socket(ADMIN_LISTEN, listen)
        if not listen.trust:
            self.document.problem((*ADMIN_LISTEN, "trust"), "has no effect here", "leave it out")
        for address in () if self.document.is_broken(LISTEN) else self.file.server.listen:
            if listen.overlaps(address):
                self.document.problem(ADMIN_LISTEN, f"takes the same place as server.listen {address}")

    def unix_socket(self, at: Path, address: Address) -> None:
        """Check that the folder and the group of its file exist."""
        wrong = files.unusable_socket(address.path) if address.path is not None else None
        if wrong:
            self.document.problem(self.document.shown(at), wrong)
        wrong = files.unknown_group(address.group) if address.group is not None else None
        if wrong:
            self.document.problem((*at, "group"), wrong)

    def drain(self) -> None:
        """Check that all streams are asked to end before the last one is aborted."""
        at: Path = ("server", "drain", "spread")
        timeout, spread = self.file.server.drain.timeout, self.file.server.drain.spread or 0
        # A spread that is left out is no problem: it shrinks with the timeout.
        is_said = "spread" in self.file.server.drain.model_fields_set
        if is_said and not self.document.is_broken(at[:2]) and timeout is not None and spread > timeout:
            self.document.problem(at, f"must not be longer than server.drain.timeout ({format_duration(timeout)})")

    def tls(self) -> None:
        """Check that the files can be used."""
        if self.file.server.tls is not None:
            check_server_tls(self.document, _TLS, self.file.server.tls, self.folder)

    def telemetry(self) -> None:
        """Check that what sends traces is installed."""
        at: Path = ("telemetry", "traces")
        if not self.file.telemetry.traces or self.document.is_broken(at):
            return
        if files.missing_module(_TRACES_NEED) is not None:
            message = "needs the Python packages opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
            self.document.problem(at, message, "pip install 'sseproxy[otel]'")


def check_leads_away(document: Document, at: Path, upstream: Upstream, listeners: Iterable[Address]) -> None:
    """Check that what the URL at `at` names is not this proxy itself."""
    if document.is_broken(LISTEN):
        return
    target = Address(upstream.host, upstream.port, upstream.socket_path)
    for listen in listeners:
        if (target.is_local or target.host == listen.host) and target.overlaps(listen):
            document.problem(at, f"leads back to server.listen {listen}")
