"""Can the middleware be used where nothing but the standard library is installed?"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What the proxy needs, or may come to need.
FOREIGN = ("aiohttp", "yaml", "pydantic", "redis", "prometheus_client", "httptools", "uvloop", "brotli", "backports")

PROGRAM = f"""
import sys
before = set(sys.modules)
import sseproxy.asgi
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
foreign = loaded - set(sys.stdlib_module_names) - {{"sseproxy"}}
print(*sorted(foreign | (loaded & set({FOREIGN!r}))))
"""


def test_importing_it_loads_the_standard_library_only() -> None:
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}){PROGRAM}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
