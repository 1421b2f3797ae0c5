"""How do tests run a real Prometheus with the files of deploy/, and ask it?"""

import contextlib
import json
import re
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.blocking_client import fetch
from tests.support.programs import require
from tests.support.sseproxy_process import Output

_FILES = Path(__file__).parents[2] / "deploy/prometheus"
_READY = "Server is ready to receive web requests"
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


class Prometheus:
    """A Prometheus that asks once a second. url: its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that the expression has now."""
        asked = fetch(self.url, f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        answer = json.loads(asked.body)
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> list[dict[str, str]]:
        """Return the labels of each alert that fires."""
        alerts = json.loads(fetch(self.url, "/api/v1/alerts").body)["data"]["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]


@contextlib.contextmanager
def prometheus(target: str) -> Iterator[Prometheus]:
    """Run it with the job of deploy/prometheus, which asks `target`, and its alerts, which wait for nothing."""
    config = yaml.safe_load((_FILES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    rules = re.sub(r"(?m)^ +for: \w+\n", "", (_FILES / "alerts.yml").read_text())
    with tempfile.TemporaryDirectory(prefix="sseproxy-prometheus-") as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / "alerts.yml").write_text(rules)
        command = [
            require("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
        ]
        with subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            said = Output(process.stderr)
            try:
                lines = said.wait_for(lambda lines: any(_READY in line for line in lines), limit=60.0)
                (address,) = (found[1] for line in lines if (found := _LISTENING.search(line)))
                yield Prometheus(f"http://{address}")
            finally:
                process.kill()
                process.wait()
                said.close()
