"""What does a message cost that goes by Redis to 5,000 subscribers, beside Nchan with the same Redis?

    python -m benchmarks.push [--subscribers N] [--seconds S] [--rounds N]

Two loads, each with a redis-server of its own, the servers in turn in each round:

- one channel that all subscribers listen to;
- a stream (Nchan: a channel with a buffer) for each subscriber.

Clients are those of load.c; each message carries the time at which it was published, so latency is from publish to
arrival. The publisher speaks to Redis for sseproxy; for Nchan it posts to nginx, since Nchan writes to Redis by scripts
of its own, so nginx' CPU has that in it. Writes benchmarks/push.md from push.template.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.machine import machine
from benchmarks.measure import HERE, Failed, client, compile_load, free_port, resident, running, used, wait_for
from benchmarks.peers import descriptors, program

NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
SIZE = 128
OPEN_LIMIT = 120.0
IDLE = 3.0
OWN = "bench"  # the name of our own connections to Redis

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Load:
    """rate: messages published a second. target: of the subscriber %d. streams: each has its own."""

    title: str
    target: str
    rate: float
    is_shared: bool

    def name(self, number: int) -> str:
        return "bench" if self.is_shared else f"inbox:{number}"


LOADS = (
    Load("one channel for all", "/channel?u=%d", 5.0, is_shared=True),
    Load("a stream for each", "/inbox?u=%d", 1000.0, is_shared=False),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test. publish: hands a message over; of one thread only."""

    port: int
    pid: int
    publish: Callable[[int, str], None]


# The servers.

SSEPROXY = """
server: {{listen: "127.0.0.1:{port}"}}
log: {{access: false}}
store: {{url: "redis://127.0.0.1:{redis}/0"}}
routes:
  - match: {{path: /channel}}
    redis: {{channel: bench, format: text}}
  - match: {{path: /inbox}}
    redis: {{stream: "inbox:{{query:u}}", format: text, unsafe_identity: true}}
"""

NGINX = """
daemon off;
master_process off;
load_module {module};
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  nchan_max_reserved_memory 512M;
  upstream kept {{ nchan_redis_server redis://127.0.0.1:{redis}; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    nchan_redis_pass kept;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 10m;
    nchan_subscriber_first_message newest;
    location = /publish/bench {{ nchan_publisher; nchan_channel_id bench; }}
    location = /publish/inbox {{ nchan_publisher; nchan_channel_id inbox$arg_u; }}
    location = /channel {{ nchan_subscriber eventsource; nchan_channel_id bench; }}
    location = /inbox {{ nchan_subscriber eventsource; nchan_channel_id inbox$arg_u; }}
  }}
}}
"""


@contextlib.contextmanager
def sseproxy(folder: Path, load: Load, store: int) -> Iterator[Server]:
    port, config = free_port(), folder / "sseproxy.yaml"
    config.write_text(SSEPROXY.format(port=port, redis=store))
    command = [sys.executable, "-m", "sseproxy", "serve", "-c", str(config)]
    with running(command) as process, redis.Redis(port=store, client_name=OWN) as publisher:
        wait_for(port, process)

        def publish(number: int, text: str) -> None:
            if load.is_shared:
                publisher.publish(load.name(number), text)
            else:
                publisher.xadd(load.name(number), {"data": text}, maxlen=1000)

        yield Server(port, process.pid, publish)


@contextlib.contextmanager
def nchan(folder: Path, load: Load, store: int) -> Iterator[Server]:
    nginx = program("nginx")
    if nginx is None or not NCHAN.exists():
        raise Failed("nginx with libnginx-mod-nchan is not installed")
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, redis=store, files=descriptors(), module=NCHAN))
    command = [nginx, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with running(command) as process, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as publisher:
        wait_for(port, process)

        def publish(number: int, text: str) -> None:
            target = "/publish/bench" if load.is_shared else f"/publish/inbox?u={number}"
            publisher.request("POST", target, text, {"Content-Type": "text/plain"})
            answer = publisher.getresponse()
            answer.read()
            if answer.status >= 300:
                raise Failed(f"Nchan refuses a message: {answer.status}")

        yield Server(port, process.pid, publish)


@contextlib.contextmanager
def notified(folder: Path, load: Load, store: int) -> Iterator[Server]:
    """Run sseproxy with a Redis that tells of changes, as docs/push.md advises."""
    with redis.Redis(port=store, client_name=OWN) as client:
        client.config_set("notify-keyspace-events", "Kt")
    with sseproxy(folder, load, store) as server:
        yield server


SERVERS: Mapping[str, Callable[[Path, Load, int], contextlib.AbstractContextManager[Server]]] = {
    "sseproxy, notified": notified,
    "sseproxy": sseproxy,
    "Nchan": nchan,
}


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[tuple[int, int]]:
    """Its port and its pid."""
    port, found = free_port(), program("redis-server")
    if found is None:
        raise Failed("redis-server is not installed")
    command = [
        found,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--loglevel",
        "warning",
    ]
    with running(command, stdout=subprocess.DEVNULL) as process:
        wait_for(port, process)
        yield port, process.pid


# Measuring.


class Publisher(threading.Thread):
    """Publishes at a rate, to one subscriber's name after the other, until it is ended. error: what stopped it."""

    def __init__(self, server: Server, rate: float, subscribers: int) -> None:
        super().__init__(daemon=True)
        self._server, self._rate, self._subscribers = server, rate, subscribers
        self._over = threading.Event()
        self.published = 0
        self.error: Exception | None = None

    def run(self) -> None:
        due = time.monotonic()
        try:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                self._server.publish(self.published % self._subscribers, stamped())
                self.published += 1
                due += 1 / self._rate
        except (Failed, OSError, http.client.HTTPException, redis.RedisError) as error:
            self.error = error

    def end(self) -> None:
        self._over.set()
        self.join()


def stamped() -> str:
    return f"{time.monotonic_ns():020d}{'x' * (SIZE - 28)}"


@contextlib.contextmanager
def publishing(server: Server, rate: float, subscribers: int) -> Iterator[Publisher]:
    publisher = Publisher(server, rate, subscribers)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.end()
    if publisher.error is not None:
        raise Failed(f"publishing failed: {publisher.error}")


def measure(name: str, load: Load, program: Path, subscribers: int, seconds: float) -> Figures:
    """Run one load against one server, from nothing."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sseproxy-bench-")))
        store, store_pid = stack.enter_context(redis_server(folder))
        server = stack.enter_context(SERVERS[name](folder, load, store))
        empty = resident(server.pid)
        arguments = ("client", server.port, subscribers, seconds, IDLE, load.target)
        reader = stack.enter_context(client(program, *arguments))
        # The clients wait for a message each, so that all are subscribed; then comes a while of silence.
        with publishing(server, max(load.rate, 2.0), subscribers):
            opened = reader.line(OPEN_LIMIT)
        if opened["heard"] < subscribers:
            raise Failed(f"{name}: {opened['heard']:.0f} of {subscribers} subscribers heard anything")
        idle, connections = resident(server.pid), connections_of(store)
        stack.enter_context(publishing(server, load.rate, subscribers))
        reader.line(OPEN_LIMIT)
        before, store_before = used([server.pid]), used([store_pid])
        result = reader.line(seconds + 60)
        spent, store_spent = used([server.pid]).since(before), used([store_pid]).since(store_before)
    if result["broken"] or result["ended"] or not result["events"]:
        raise Failed(f"{name}, {load.title}: {result}")
    return {
        "connections": connections,
        "memory": (idle - empty) / subscribers,
        "cpu": spent.total / result["events"] * 1e6,
        "store_cpu": store_spent.total / result["events"] * 1e6,
        "events": result["events"] / result["seconds"],
        "p50": result["p50"] / 1000,
        "p99": result["p99"] / 1000,
    }


def connections_of(store: int) -> int:
    """Return how many connections Redis has, without those of this benchmark."""
    with redis.Redis(port=store, client_name=OWN) as asking:
        return sum(row["name"] != OWN for row in asking.client_list())


# The report.

ROWS = (
    ("connections", "connections to Redis", "{:.0f}"),
    ("memory", "memory per subscriber, KiB", "{:.1f}"),
    ("events", "messages delivered a second", "{:,.0f}"),
    ("cpu", "CPU per delivered message, µs", "{:.2f}"),
    ("store_cpu", "CPU of Redis per delivered message, µs", "{:.2f}"),
    ("p50", "publish to arrival, median, ms", "{:.1f}"),
    ("p99", "publish to arrival, p99, ms", "{:.1f}"),
)


def table(rounds: Sequence[Mapping[str, Figures]]) -> str:
    """rounds: by server. Beside the figure of each stands its ratio to the last one."""
    names = list(rounds[0])
    lines = [f"| | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for key, title, form in ROWS:
        scale = 1 / 1024 if key == "memory" else 1
        cells = []
        for name in names:
            figure = form.format(statistics.median(one[name][key] for one in rounds) * scale)
            ratios = [one[name][key] / one[names[-1]][key] for one in rounds if one[names[-1]][key] > 0]
            cells.append(f"{figure}<br>{compared(ratios)}" if name != names[-1] and ratios else figure)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def compared(ratios: Sequence[float]) -> str:
    """Write the median, and the range if there are several."""
    middle = f"× {statistics.median(ratios):.2f}"
    return f"{middle} ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else middle


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--subscribers", type=int, default=5000)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--servers", nargs="*", choices=list(SERVERS), default=list(SERVERS))
    options = arguments.parse_args()
    try:
        tables = report(options)
    except (Failed, OSError, redis.RedisError) as error:
        print(f"bench-push: {error}", file=sys.stderr)
        return 1
    about = machine()
    text = (
        (HERE / "push.template")
        .read_text()
        .format(
            machine=f"{about['processor']}, {about['cores']} cores, {about['kernel']}",
            subscribers=f"{options.subscribers:,}",
            rounds=options.rounds,
            seconds=f"{options.seconds:g}",
            **tables,
        )
    )
    (HERE / "push.md").write_text(text)
    return 0


def report(options: argparse.Namespace) -> dict[str, str]:
    """Measure all; return the tables by name, and print them."""
    tables = {}
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        program = compile_load(Path(folder))
        for load in LOADS:
            rounds = []
            for number in range(options.rounds):
                turn = number % len(options.servers)
                order = [*options.servers[turn:], *options.servers[:turn]]
                found = {name: measure(name, load, program, options.subscribers, options.seconds) for name in order}
                print(json.dumps(found), file=sys.stderr, flush=True)
                rounds.append({name: found[name] for name in options.servers})
            tables["shared" if load.is_shared else "own"] = table(rounds)
            print(f"{load.title}\n\n{table(rounds)}\n", flush=True)
    return tables


if __name__ == "__main__":
    sys.exit(main())
