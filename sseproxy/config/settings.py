"""What did the operator ask for, once files, variables and flags have been read and found right?"""

from dataclasses import field

from sseproxy.config.addresses import Address, IPNetwork
from sseproxy.config.fields import LogFormat, LogLevel
from sseproxy.config.problems import ConfigProblem
from sseproxy.core.frozen import frozen
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy


@frozen
class CertificateFiles:
    """Absolute paths of PEM files that belong together and could be loaded.

    client_ca: of the authorities, one of which must have signed what a client shows; ``None``: clients need nothing.
    """

    certificate: str
    key: str
    client_ca: str | None = None


@frozen
class ServerSettings:
    """The public side.

    connections: how many clients of one worker may be connected; ``None``: as many as its file descriptors allow.
    drain_delay: seconds from the stop signal until the drain begins. Connections are accepted meanwhile.
    drain_timeout: seconds from there until the last stream is aborted, ``None`` for never.
    drain_spread: seconds over which streams are asked to end, never more than `drain_timeout`.
    """

    listen: tuple[Address, ...]
    tls: CertificateFiles | None
    workers: int
    connections: int | None
    trusted_proxies: tuple[IPNetwork, ...]
    drain_delay: float
    drain_timeout: float | None
    drain_spread: float

    @property
    def drain_limit(self) -> float | None:
        """Seconds from the stop signal until the last stream is aborted; ``None`` for never."""
        return None if self.drain_timeout is None else self.drain_delay + self.drain_timeout


@frozen
class AdminSettings:
    """The private side. hosts: names in lower case by which it may be asked, beside localhost and addresses."""

    listen: Address
    hosts: tuple[str, ...] = ()


@frozen
class LogSettings:
    """What is written: requests to stdout, everything else to stderr. access: one line for each request."""

    level: LogLevel
    format: LogFormat
    access: bool


@frozen
class TelemetrySettings:
    """What is sent to a collector of OpenTelemetry."""

    traces: bool = False


@frozen
class Config:
    """Everything. Only the composition root sees it; all other modules get the policy that concerns them.

    warnings: what is dangerous about it, in the order of the file.
    """

    server: ServerSettings
    admin: AdminSettings | None
    log: LogSettings
    routes: tuple[Route, ...]
    store: StorePolicy = field(default=StorePolicy())
    telemetry: TelemetrySettings = field(default=TelemetrySettings())
    warnings: tuple[ConfigProblem, ...] = field(default=(), compare=False)
