"""Does the page for the first five minutes work when its lines are copied?

Each program of the page runs, with other ports and shorter times. Its output has the lines that the page shows.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks
from tests.support.processes import wait_until
from tests.support.programs import require
from tests.support.redis_server import free_port

TEXT = (DOCS / "start.md").read_text(encoding="utf-8")

#: Ports of the page; each becomes one that is free.
PORTS = ("8000", "8001", "8080", "9000", "9090")

#: Seconds of the page, and seconds that do. Heartbeats have to beat nginx's limit on a busy machine, too.
TIMES = {
    "time.sleep(12)": "time.sleep(4)",
    "time.sleep(0.5)": "time.sleep(0.05)",
    "proxy_read_timeout 5s": "proxy_read_timeout 2s",
    "--before-response 2s --heartbeat 2s": "--before-response 300ms --heartbeat 300ms",
}


class Newcomer:
    """A person who has copied the files of the page to a folder, and copies its lines into a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text, ports = TEXT, {port: free_port() for port in PORTS}
        for port, free in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
            text = text.replace(f'("127.0.0.1", {port})', f'("127.0.0.1", {free})')
        for of_page, of_test in TIMES.items():
            assert text.count(of_page) == 1, of_page
            text = text.replace(of_page, of_test)
        for name, content in re.findall(r"(?s)Save this as `([\w.]+)`.*?```\w+\n(.*?)```", text):
            (folder / name).write_text(content, encoding="utf-8")
        self.lines = [
            (lines[0].removeprefix("$ "), lines[1:])
            for language, block in blocks(text)
            if language == "console"
            for lines in (part.splitlines() for part in re.split(r"(?m)^(?=\$ )", block) if part)
        ]
        programs = folder / "bin"
        programs.mkdir()
        for name, command in (("sseproxy", "-m sseproxy "), ("python3", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command}"$@"\n')
            (programs / name).chmod(0o755)
        path = os.pathsep.join([str(programs), os.environ["PATH"], str(Path(require("nginx")).parent)])
        # The command of the page says nothing of 8080: it is the default.
        listen = f"127.0.0.1:{ports['8080']}"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "SSEPROXY_LISTEN": listen}

    def line(self, beginning: str) -> tuple[str, list[str]]:
        """The only command that begins so, and what the page shows of its output."""
        (found,) = (line for line in self.lines if line[0].startswith(beginning))
        return found

    def run(self, beginning: str, *, code: int = 0) -> str:
        """Run a command as a shell does, and return what it writes; it has each line that the page shows."""
        command, shown = self.line(beginning)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == code, done.stdout + done.stderr
        for line in shown:
            wanted = re.sub(r"\\?[\d]+(?:\\\.\d+)?(?=\\ s)", r"[\\d.]+", re.escape(line))
            assert re.search(rf"(?m)^{wanted}", done.stdout), f"{line!r} is not in\n{done.stdout}"
        return done.stdout

    @contextlib.contextmanager
    def running(self, beginning: str, url: str) -> Iterator[Path]:
        """Run a command in a terminal of its own, from the time when it answers; yields what it has written."""
        command, _ = self.line(beginning)
        log = self.folder / f"{shlex.split(command)[0]}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=file,
            )
            try:
                wait_until(lambda: answers(url) or process.poll() is not None, limit=60)
                assert process.poll() is None, log.read_text()
                yield log
            finally:
                process.terminate()  # Ctrl-C does nothing where the tests run in the background of a shell
                process.wait(timeout=60)

    def url(self, beginning: str) -> str:
        """The URL in a command."""
        found = re.search(r"http://127\.0\.0\.1:\d+/", self.line(beginning)[0])
        assert found
        return found[0]


def answers(url: str) -> bool:
    """Whether something accepts connections there; it need not have an answer to the request."""
    try:
        with urllib.request.urlopen(url, timeout=0.2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        return "refused" not in str(error)


def test_a_newcomer_gets_to_a_cure_a_metric_and_a_diagnosis(tmp_path: Path) -> None:
    require("curl")
    person = Newcomer(tmp_path)
    direct, cured = person.url("curl -s -o"), person.url("curl -s -N")
    (service,) = re.findall(r"--upstream (\S+)", person.line("sseproxy serve")[0])
    admin = "http://" + person.line("sseproxy serve")[0].rpartition("--admin ")[2]
    with contextlib.ExitStack() as terminals:
        terminals.enter_context(person.running("python3 slow.py", service))
        terminals.enter_context(person.running("nginx ", direct))
        assert person.run("curl -s -o").startswith("504 after 2.")
        log = terminals.enter_context(person.running("sseproxy serve", admin))
        wait_until(lambda: "listening on http://127.0.0.1:" in log.read_text())

        stream = person.run("curl -s -N")
        assert stream.startswith(": heartbeat\n\n: heartbeat\n\n")
        assert stream.endswith("data: It\n\ndata: was\n\ndata: worth\n\ndata: the\n\ndata: wait.\n\n")
        assert "server.trusted_proxies" in log.read_text()
        wait_until(lambda: "reason=upstream_end" in log.read_text())
        assert '"streams": [' in person.run(f"curl -s {admin}/streams")
        with urllib.request.urlopen(f"{admin}/", timeout=60) as dashboard:
            assert "html" in dashboard.headers["Content-Type"]
        sent = re.search(
            r'sseproxy_heartbeats_total\{phase="waiting",.*?\} (\d+)', person.run(f"curl -s {admin}/metrics")
        )
        assert sent
        assert int(sent[1]) == stream.count(": heartbeat") > 5

        person.run(f"sseproxy probe {direct}", code=1)
        person.run(f"sseproxy probe {cured}")
    person.run("sseproxy example")
    assert "no errors" in person.run("sseproxy check")


def test_every_other_command_installs_and_says_which_version(tmp_path: Path) -> None:
    """The installation itself is what test_packaging looks at."""
    person = Newcomer(tmp_path)
    run = {"python3 slow.py", "nginx", "curl", "sseproxy serve", "sseproxy probe", "sseproxy example", "sseproxy check"}
    others = [line for line, _ in person.lines if not any(line.startswith(beginning) for beginning in run)]
    assert others == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install .", "sseproxy --version"]
    assert person.run("sseproxy --version").startswith("sseproxy ")


@pytest.mark.parametrize("link", ["[Operations](operations.md)", "[Probe](probe.md)"])
def test_it_leads_on(link: str) -> None:
    assert link in TEXT
