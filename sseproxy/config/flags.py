"""Which flags and environment variables are there?

Data only: the command line reads it for every command, `overrides` says what a flag does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sseproxy.config.problems import Path

PREFIX = "SSEPROXY_"
CONFIG_VARIABLE = "SSEPROXY_CONFIG"

#: What the command line hands over: flags by name, ``--heartbeat``; absent or ``None`` if not given.
FlagValue = str | Sequence[str] | bool | None


@dataclass(frozen=True, slots=True)
class Override:
    """One flag and its variable.

    path: the key that it sets; of ``defaults`` if `inherited`. several: may be repeated, the variable separates
    by commas. says: for a flag without argument, what it says.
    """

    flag: str
    variable: str
    path: Path
    metavar: str
    help: str
    inherited: bool = False
    several: bool = False
    says: str | None = None

    @property
    def argument(self) -> str:
        """The name of the flag's value among parsed arguments."""
        return self.flag.removeprefix("--").replace("-", "_")


UPSTREAM = Override(
    "--upstream", "SSEPROXY_UPSTREAM", ("upstream",), "URL", "where to forward; alone it is enough, no file is needed"
)
OVERRIDES = (
    UPSTREAM,
    Override("--listen", "SSEPROXY_LISTEN", ("server", "listen"), "ADDR", "where to listen; repeatable", several=True),
    Override(
        "--heartbeat",
        "SSEPROXY_HEARTBEAT",
        ("heartbeat", "interval"),
        "DURATION",
        "silence after which a heartbeat goes out, or off",
        inherited=True,
    ),
    Override(
        "--heartbeat-form",
        "SSEPROXY_HEARTBEAT_FORM",
        ("heartbeat", "form"),
        "FORM",
        "what a heartbeat looks like",
        inherited=True,
    ),
    Override(
        "--before-response",
        "SSEPROXY_BEFORE_RESPONSE",
        ("heartbeat", "before_response"),
        "DURATION",
        "answer a stream that has no response head after this long, or off",
        inherited=True,
    ),
    Override(
        "--idle-timeout",
        "SSEPROXY_IDLE_TIMEOUT",
        ("timeouts", "idle"),
        "DURATION",
        "silence of the upstream after which a response is given up, auto or off",
        inherited=True,
    ),
    Override(
        "--dialect", "SSEPROXY_DIALECT", ("dialect",), "NAME", "the kind of service behind, or auto", inherited=True
    ),
    Override("--workers", "SSEPROXY_WORKERS", ("server", "workers"), "N", "processes that share the port"),
    Override(
        "--admin", "SSEPROXY_ADMIN", ("admin", "listen"), "ADDR", "where health, metrics and live streams are served"
    ),
    Override("--log-level", "SSEPROXY_LOG_LEVEL", ("log", "level"), "LEVEL", "debug, info, warning, error or critical"),
    Override("--log-format", "SSEPROXY_LOG_FORMAT", ("log", "format"), "FORMAT", "text or json"),
    Override("--no-access-log", "SSEPROXY_ACCESS_LOG", ("log", "access"), "", "no line for each request", says="false"),
)
