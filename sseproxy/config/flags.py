"""Which flags and environment variables are there?

Data only: the command line reads it for every command, `overrides` says what a flag does.
"""

from collections.abc import Sequence

from sseproxy.config.problems import Path
from sseproxy.core.frozen import frozen

PREFIX = "SSEPROXY_"
CONFIG_VARIABLE = "SSEPROXY_CONFIG"

#: What the command line hands over: flags by name, ``--heartbeat``; absent or ``None`` if not given.
FlagValue = str | Sequence[str] | bool | None


@frozen
class Override:
    """One flag and its variable.

    path: the key that it sets; of ``defaults`` if `inherited`. several: may be repeated, the variable separates
    by commas. says: for a flag without argument, what it says. default: what holds without it; empty if nothing does.
    choices: all values; empty if there are others.
    """

    flag: str
    variable: str
    path: Path
    metavar: str
    help: str
    inherited: bool = False
    several: bool = False
    says: str | None = None
    default: str = ""
    choices: tuple[str, ...] = ()

    @property
    def explained(self) -> str:
        """What ``--help`` says of it."""
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        default = f" (default: {self.default})" if self.default else ""
        return f"{self.help}{choices}{default} [{self.variable}]"

    @property
    def argument(self) -> str:
        """The name of the flag's value among parsed arguments."""
        return self.flag.removeprefix("--").replace("-", "_")


UPSTREAM = Override(
    "--upstream", "SSEPROXY_UPSTREAM", ("upstream",), "URL", "where to forward; alone it is enough, no file is needed"
)
OVERRIDES = (
    UPSTREAM,
    Override(
        "--listen",
        "SSEPROXY_LISTEN",
        ("server", "listen"),
        "ADDR",
        "where to listen; repeatable",
        several=True,
        default="127.0.0.1:8080",
    ),
    Override(
        "--heartbeat",
        "SSEPROXY_HEARTBEAT",
        ("heartbeat", "interval"),
        "DURATION",
        "silence after which a heartbeat goes out, or off",
        inherited=True,
        default="15s",
    ),
    Override(
        "--heartbeat-form",
        "SSEPROXY_HEARTBEAT_FORM",
        ("heartbeat", "form"),
        "FORM",
        "what a heartbeat looks like",
        inherited=True,
        default="auto",
        choices=(
            *("auto", "comment-line", "comment-block", "blank", "event"),
            *("anthropic", "openai-chat", "openai-responses"),
        ),
    ),
    Override(
        "--before-response",
        "SSEPROXY_BEFORE_RESPONSE",
        ("heartbeat", "before_response"),
        "DURATION",
        "answer a stream that has no response head after this long, or off",
        inherited=True,
        default="off",
    ),
    Override(
        "--idle-timeout",
        "SSEPROXY_IDLE_TIMEOUT",
        ("timeouts", "idle"),
        "DURATION",
        "silence of the upstream after which a response is ended, off, or auto: 15m for an answer, else off",
        inherited=True,
        default="auto",
    ),
    Override(
        "--dialect",
        "SSEPROXY_DIALECT",
        ("dialect",),
        "NAME",
        "the kind of service behind",
        inherited=True,
        default="auto",
        choices=(
            *("auto", "generic", "openai-chat", "openai-completions", "openai-responses"),
            *("anthropic", "gemini", "ollama", "mcp"),
        ),
    ),
    Override("--workers", "SSEPROXY_WORKERS", ("server", "workers"), "N", "processes that share the port", default="1"),
    Override(
        "--admin",
        "SSEPROXY_ADMIN",
        ("admin", "listen"),
        "ADDR",
        "where health, metrics and live streams are served; left out, nowhere",
    ),
    Override(
        "--log-level",
        "SSEPROXY_LOG_LEVEL",
        ("log", "level"),
        "LEVEL",
        "the least that is logged",
        default="info",
        choices=("debug", "info", "warning", "error", "critical"),
    ),
    Override(
        "--log-format",
        "SSEPROXY_LOG_FORMAT",
        ("log", "format"),
        "FORMAT",
        "how the log is written",
        default="text",
        choices=("text", "json"),
    ),
    Override("--no-access-log", "SSEPROXY_ACCESS_LOG", ("log", "access"), "", "no line for each request", says="false"),
)
