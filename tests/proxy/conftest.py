"""On which event loops and behind which servers do the tests of the proxy run, and with which certificate?"""

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.proxy.door_limits import limit_of
from tests.support.fronts import LOOPS
from tests.support.programs import require


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both that a server process may choose, and one for each other server that may be in front."""
    return LOOPS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a server in front makes impossible, as the table says, or see that it is."""
    impossible = [item for item in items if "tests/proxy/" in item.nodeid and limit_of(item.nodeid) is not None]
    if os.environ.get("DOOR_LIMITS") == "strict":
        for item in impossible:
            item.add_marker(pytest.mark.xfail(strict=True))
        return
    config.hook.pytest_deselected(items=impossible)
    out = set(impossible)
    items[:] = [item for item in items if item not in out]


@pytest.fixture(autouse=True)
def short_read_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients here never send the rest of a body. `doors` tests that it is waited for."""
    monkeypatch.setattr("sseproxy.proxy.asgi.response.READ_OFF", 0.1)


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    key_kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    command = f"{require('openssl')} req -x509 {key_kind} -nodes -days 2 -subj /CN=localhost"
    extensions = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *extensions, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return certificate, key
