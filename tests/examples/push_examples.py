"""How do tests run the examples of Redis as an origin, with the commands that they name?"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.patience import LIMIT
from tests.support.programs import require
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
REDIS_PUSH = ROOT / "examples" / "redis_push"
FLASK_SSE = ROOT / "examples" / "flask_sse"


@dataclass(frozen=True, slots=True)
class RunningExample:
    """url: of sseproxy, in front of the app."""

    url: str
    app: ServerProcess
    redis: RedisServer

    def run_line(self, line: str) -> str:
        """Run a line of a README that begins with redis-cli; return what it says."""
        program, *arguments = shlex.split(line)
        assert program == "redis-cli"
        require("redis-server")  # Debian's package of the one needs that of the other
        command = [program, "-p", str(self.redis.port), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT).stdout


@contextmanager
def running_example(folder: Path) -> Iterator[RunningExample]:
    """Run the command in the first line of its app.py, on ports that the kernel chooses, with a Redis of its own."""
    service, proxy = (folder / "app.py").read_text().splitlines()[0].removeprefix("# ").split(" & ")
    program, *arguments = shlex.split(proxy)
    assert [program, arguments[0], arguments[1]] == ["sseproxy", "serve", "-c"]
    with RedisServer() as redis:
        command = shlex.split(service.replace("9000", "0"))
        environment = {"REDIS_URL": redis.url}
        with ServerProcess(*command, environment=environment) as app:
            environment["APP_URL"] = app.url
            config, listen = str(ROOT / arguments[2]), ("--listen", "127.0.0.1:0")
            with SseproxyProcess("-c", config, *listen, environment=environment) as process:
                yield RunningExample(process.url, app, redis)
            app.ask_to_end()
            app.wait()
        assert "Traceback" not in app.output.text


def lines_of(readme: Path, program: str) -> list[str]:
    """Return the lines of a README that run a program."""
    return re.findall(rf"^    ({program} .*)$", readme.read_text(), re.MULTILINE)
