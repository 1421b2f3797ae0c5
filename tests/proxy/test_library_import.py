"""What is loaded when the proxy is imported and made inside an app, and what of the app's does it leave alone?"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What a proxy needs only for some of its options, or never inside another server.
ON_DEMAND = {
    *("aiohttp", "yaml", "redis", "prometheus_client", "uvloop", "brotli", "opentelemetry"),
    *("sseproxy.process", "sseproxy.cli", "sseproxy.config.reading", "sseproxy.config.journal_checks"),
    *("sseproxy.proxy.backing.redis", "sseproxy.proxy.journal.service", "sseproxy.proxy.authorize"),
}


def loaded_by(program: str) -> set[str]:
    """The names of all modules that a new process has loaded behind `program`."""
    command = [sys.executable, "-W", "error", "-c", f"{program}\nimport json, sys; print(json.dumps([*sys.modules]))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_other_modules_of_the_room_do_not_load_it() -> None:
    loaded = loaded_by("import sseproxy.proxy, sseproxy.proxy.port")
    assert "sseproxy.proxy.library" not in loaded
    assert "pydantic" not in loaded


def test_what_no_option_asks_for_is_not_loaded() -> None:
    program = "from sseproxy.proxy import ReverseProxy; ReverseProxy('http://127.0.0.1:9000', heartbeat='15s')"
    loaded = loaded_by(program)
    assert "sseproxy.proxy.library.reverse_proxy" in loaded
    assert loaded & ON_DEMAND == set()


def test_pydantic_still_finds_the_plugins_of_the_app(tmp_path: Path) -> None:
    """A process of sseproxy's own looks for none; an app may have some, such as logfire."""
    installed = tmp_path / "counting-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pydantic]\ncounting = counting:plugin\n")
    (tmp_path / "counting.py").write_text("""
class Plugin:
    schemas = 0
    def new_schema_validator(self, *arguments, **named):
        self.schemas += 1
        return None, None, None

plugin = Plugin()
""")
    loaded_by(f"""
import sys
sys.path.append({str(tmp_path)!r})
from sseproxy.proxy import ReverseProxy
ReverseProxy("http://127.0.0.1:9000")

from pydantic import BaseModel
class Question(BaseModel):
    text: str

from counting import plugin
assert plugin.schemas
""")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    loaded_by("""
import sseproxy.proxy
try:
    sseproxy.proxy.Proxy
except AttributeError as error:
    assert "Proxy" in str(error)
else:
    raise AssertionError
""")
