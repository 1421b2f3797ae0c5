"""What does `sseproxy serve` load before it listens, and what only where the configuration asks for it?"""

import json
from pathlib import Path

import pytest

from tests.support.sseproxy_process import SseproxyProcess

#: Modules that take long to load, each with what it is for.
ON_DEMAND = {
    "aiohttp": "the admin listener",
    "sseproxy.process.operations": "likewise",
    "sseproxy.process.dashboard": "likewise",
    "sseproxy.process.supervisor": "several workers",
    "prometheus_client": "the first page of metrics",
    "yaml": "a configuration file",
    "redis": "a route that leads to Redis",
    "sseproxy.journal.reader": "likewise",
    "sseproxy.origins.redis.streams": "likewise",
    "sseproxy.stores.redis.link": "likewise",
    "sseproxy.stores.redis.urls": "likewise",
    "sseproxy.proxy.authorize": "a route that asks a service whether a request may go on",
    "brotli": "a response that is coded so",
    "backports.zstd": "likewise",
    "compression.zstd": "likewise",
    "sseproxy.config.journal_checks": "a route with a journal",
    "sseproxy.config.journal_warnings": "likewise",
    "encodings.idna": "a name that is looked up",
    "importlib.metadata": "plugins of pydantic, which no configuration has",
    "tempfile": "workers with an admin listener",
    "shutil": "help on the command line",
    "difflib": "a message that names what was probably meant",
    "sseproxy.config.printing": "check --print",
    "sseproxy.probe.watching": "probe",
    "sseproxy.demo": "demo",
    "shtab": "completion",
}


def loaded(*arguments: str) -> set[str]:
    """The modules of `ON_DEMAND` that a process loads which starts with `arguments`, listens, and ends."""
    with SseproxyProcess(*arguments, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as process:
        pass
    names = {line.rpartition("|")[2].strip() for line in process.stderr.lines if line.startswith("import time:")}
    assert "sseproxy.process.server" in names
    return names & set(ON_DEMAND)


def test_what_nothing_asks_for_is_not_loaded() -> None:
    assert loaded("--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9") == set()


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"routes": [{"upstream": "http://127.0.0.1:9"}]}, {"yaml"}),
        (
            {"routes": [{"upstream": "http://127.0.0.1:9"}], "admin": {"listen": "127.0.0.1:0"}},
            {
                *("yaml", "aiohttp", "sseproxy.process.operations", "sseproxy.process.dashboard"),
                *("brotli", "backports.zstd", "tempfile", "shutil"),  # of aiohttp
            },
        ),
        (
            {"routes": [{"redis": {"stream": "news", "url": "redis://127.0.0.1:9"}}]},
            {
                *("yaml", "redis", "sseproxy.journal.reader", "sseproxy.origins.redis.streams"),
                *("sseproxy.stores.redis.link", "sseproxy.stores.redis.urls"),
                *("importlib.metadata", "tempfile", "shutil"),  # of the library redis
            },
        ),
        (
            {"routes": [{"upstream": "http://127.0.0.1:9", "authorize": {"url": "http://127.0.0.1:9/"}}]},
            {"yaml", "sseproxy.proxy.authorize"},
        ),
        (
            {"routes": [{"upstream": "http://127.0.0.1:9", "journal": {"kind": "answer"}}]},
            {"yaml", "sseproxy.config.journal_checks", "sseproxy.config.journal_warnings", "sseproxy.journal.reader"},
        ),
    ],
    ids=["file", "admin", "redis", "authorize", "journal"],
)
def test_what_the_configuration_asks_for_is_loaded(config: dict[str, object], wanted: set[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps({**config, "server": {"listen": "127.0.0.1:0"}}))
    assert loaded("-c", str(tmp_path / "c.yaml")) == wanted
