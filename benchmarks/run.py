"""What does an event cost in sseproxy, and what in nginx? Both measured in one run, in turns.

    python benchmarks/run.py [--rounds N] [--seconds S] [--only NAME] [--json FILE]

Needs a C compiler and nginx. Every figure of sseproxy is also given as a ratio to nginx's in the same round: the
machine may be noisy, the ratio is much less so. All traffic stays on loopback.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

NGINX_CONF = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://127.0.0.1:{origin};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Scenario:
    """streams at a rate (events/s each, 0: silent) of events of a size (bytes)."""

    name: str
    streams: int
    rate: float
    size: int = 128


SCENARIOS = (
    Scenario("dense", 200, 50),
    Scenario("sparse", 50, 40),
    Scenario("idle", 2000, 0),
)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS])
    arguments.add_argument("--json", type=Path, help="write the raw figures here too")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        load = compile_load(Path(folder))
        results = {
            scenario.name: [
                {name: measure(name, scenario, load, options.seconds) for name in ("nginx", "sseproxy")}
                for _ in range(options.rounds)
            ]
            for scenario in SCENARIOS
            if options.only in (None, scenario.name)
        }
    report(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


def compile_load(folder: Path) -> Path:
    load = folder / "load"
    subprocess.run(["cc", "-O2", "-o", str(load), str(HERE / "load.c")], check=True)
    return load


def measure(proxy: str, scenario: Scenario, load: Path, seconds: float) -> dict[str, float]:
    """One proxy, one scenario, once."""
    with contextlib.ExitStack() as stack:
        origin = free_port()
        stack.enter_context(running([str(load), "origin", str(origin), str(scenario.rate), str(scenario.size)]))
        wait_for(origin)
        start = start_nginx if proxy == "nginx" else start_sseproxy
        process, port = stack.enter_context(start(origin))
        before_memory = resident(process.pid)
        client = stack.enter_context(
            running([str(load), "client", str(port), str(scenario.streams), str(seconds), "1"], stdout=subprocess.PIPE)
        )
        assert client.stdout is not None
        heard = json.loads(client.stdout.readline())
        client.stdout.readline()  # measuring
        before = cpu_seconds(process.pid)
        result = json.loads(client.stdout.readline())
        used = cpu_seconds(process.pid) - before
        memory = resident(process.pid) - before_memory
    if result["broken"] or result["ended"] or not (result["events"] or not scenario.rate):
        raise SystemExit(f"{proxy} broke the stream: {result}")
    return {
        "cpu_us_per_event": used / max(result["events"], 1) * 1e6,
        "cpu_percent": used / seconds * 100,
        "p50_us": result["p50"] / 1e3,
        "p99_us": result["p99"] / 1e3,
        "kib_per_stream": memory / scenario.streams / 1024,
        "all_heard_s": heard["all_heard"],
        "events": result["events"],
    }


@contextlib.contextmanager
def start_nginx(origin: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-nginx-") as folder:
        port = free_port()
        conf = Path(folder) / "nginx.conf"
        conf.write_text(NGINX_CONF.format(folder=folder, port=port, origin=origin))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        with running([nginx, "-p", folder, "-c", str(conf), "-e", f"{folder}/error.log"]) as process:
            wait_for(port)
            yield process, port


@contextlib.contextmanager
def start_sseproxy(origin: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    command = [sys.executable, "-m", "sseproxy", "serve", "--upstream", f"http://127.0.0.1:{origin}"]
    command += ["--listen", f"127.0.0.1:{port}", "--no-access-log"]
    with running(command, stderr=subprocess.DEVNULL) as process:
        wait_for(port)
        yield process, port


@contextlib.contextmanager
def running(command: list[str], **options: object) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.025)
    raise SystemExit(f"nothing listens on port {port}")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process; the scheduler's own count, in ns, is finer than the clock ticks of stat."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident(pid: int) -> int:
    """Bytes of RAM of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


FIGURES = {
    "dense": (("cpu_us_per_event", "CPU per event, µs"), ("p50_us", "latency p50, µs"), ("p99_us", "latency p99, µs")),
    "sparse": (("cpu_us_per_event", "CPU per event, µs"), ("p50_us", "latency p50, µs"), ("p99_us", "latency p99, µs")),
    "idle": (("kib_per_stream", "memory per idle stream, KiB"), ("all_heard_s", "all streams open, s")),
}


def report(results: dict[str, list[dict[str, dict[str, float]]]]) -> None:
    """The table: medians over the rounds, and of the ratio also the range."""
    print("| scenario | figure | nginx | sseproxy | ratio | range of the ratio |")
    print("|---|---|--:|--:|--:|---|")
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    for name, rounds in results.items():
        scenario = scenarios[name]
        what = f"{scenario.streams} streams × {scenario.rate:g}/s × {scenario.size} B"
        for key, label in FIGURES[name]:
            nginx = [one["nginx"][key] for one in rounds]
            ours = [one["sseproxy"][key] for one in rounds]
            ratios = [b / a if a else float("nan") for a, b in zip(nginx, ours, strict=True)]
            middle = statistics.median(ratios)
            print(
                f"| {what} | {label} | {statistics.median(nginx):.3g} | {statistics.median(ours):.3g} "
                f"| {middle:.2f} | {min(ratios):.2f}–{max(ratios):.2f} |"
            )


if __name__ == "__main__":
    sys.exit(main())
