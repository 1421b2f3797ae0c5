"""What does a journal cost in a running process: an answer, a feed, a reader, and a storm of readers that come back?

Each measurement returns figures of one round. What is compared takes turns within it.
"""

import contextlib
import http.client
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import Failed, client, free_port, origin, resident, running, used, wait_for
from benchmarks.peers import descriptors, program
from benchmarks.push import NCHAN, SIZE, Publisher, Server, publishing
from benchmarks.scenarios import expect_whole

Figures = Mapping[str, float]

#: Seconds in which all streams have to be open, and in which figures have to come behind their time.
_PATIENCE: Final = 60.0

_SSEPROXY: Final = """
server: {{listen: "127.0.0.1:{port}"}}
log: {{access: false}}
defaults: {{timeouts: {{write: 10m}}}}
routes:
"""

#: The journal of each route; one has none.
_ROUTES: Final = {
    "/relay": "",
    "/answer": "kind: answer, key: run, detach: off, ids: never",
    "/answer-ids": "kind: answer, key: run, detach: off, ids: always",
    "/feed": "kind: feed, login: anyone, ids: never",
    "/feed-ids": "kind: feed, login: anyone, ids: always",
    "/storm": "kind: feed, login: anyone, ids: always, start: oldest",
}

_NGINX: Final = """
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
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 10m;
    nchan_subscriber_first_message newest;
    location = /publish {{ nchan_publisher; nchan_channel_id feed; }}
    location = /feed {{ nchan_subscriber eventsource; nchan_channel_id feed; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Stand:
    """load: the load generator. seconds: of each measurement."""

    load: Path
    seconds: float


@contextlib.contextmanager
def sseproxy(upstream: int) -> Iterator[Server]:
    """A process with a route without a journal, and one for each kind."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        config = Path(folder) / "sseproxy.yaml"
        lines = [_SSEPROXY.format(port=port)]
        for path, journal in _ROUTES.items():
            lines.append(f"  - match: {{path: {path}}}\n    upstream: http://127.0.0.1:{upstream}\n")
            if journal:
                lines.append(f"    journal: {{{journal}}}\n")
        config.write_text("".join(lines))
        with running([sys.executable, "-m", "sseproxy", "serve", "-c", str(config)]) as process:
            wait_for(port, process)
            yield Server(port, process.pid, lambda _, __: None)


@contextlib.contextmanager
def nchan() -> Iterator[Server]:
    """A process of nginx whose publisher posts to it."""
    nginx = program("nginx")
    if nginx is None or not NCHAN.exists():
        raise Failed("nginx with libnginx-mod-nchan is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, files=descriptors(), module=NCHAN))
        command = [nginx, "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"]
        with (
            running(command) as process,
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as publisher,
        ):
            wait_for(port, process)

            def publish(_: int, text: str) -> None:
                publisher.request("POST", "/publish", text, {"Content-Type": "text/plain"})
                answer = publisher.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise Failed(f"Nchan refuses a message: {answer.status}")

            yield Server(port, process.pid, publish)


# Measuring.


def streams(stand: Stand, server: Server, count: int, target: str) -> Figures:
    """Read `count` streams: CPU of the server in µs for each event that a client gets, and latency in ms."""
    arguments = ("streams", server.port, count, stand.seconds, 1.0, _PATIENCE, target)
    with client(stand.load, *arguments) as readers:
        opened = readers.line(_PATIENCE + 30)
        if opened["heard"] < count * 0.9:  # what an event costs does not depend on a few streams
            raise Failed(f"{target}: {opened['heard']:.0f} of {count} streams had an event")
        readers.line(30)
        before = used([server.pid])
        result = readers.line(stand.seconds + 30)
        spent = used([server.pid]).since(before)
    return _figures(target, result, spent.total)


def answers(stand: Stand, number: int, *, count: int = 200, rate: float = 50) -> Mapping[str, Figures]:
    """Measure answers that are relayed, kept, and kept with ids, in one process."""
    targets = ["/relay", "/answer", "/answer-ids"]
    turn = number % len(targets)
    with origin(stand.load, rate) as (port, _), sseproxy(port) as server:
        return {target: streams(stand, server, count, target) for target in targets[turn:] + targets[:turn]}


def feeds(stand: Stand, number: int, *, count: int = 2000, rate: float = 10) -> Mapping[str, Figures]:
    """Measure readers with an upstream stream each, with one that they share, and those of Nchan."""

    def ours(target: str) -> Figures:
        with origin(stand.load, rate) as (port, _), sseproxy(port) as server:
            return streams(stand, server, count, target)

    def theirs(target: str) -> Figures:
        with nchan() as server, publishing(server, rate, 1) as publisher:
            return messages(stand, server, publisher, count, target)

    ways = [("/relay", ours), ("/feed", ours), ("/feed-ids", ours)]
    if NCHAN.exists():
        ways.append(("Nchan", theirs))
    turn = number % len(ways)
    return {name: way(name if way is ours else "/feed") for name, way in ways[turn:] + ways[:turn]}


def messages(stand: Stand, server: Server, publisher: Publisher, count: int, target: str) -> Figures:
    """As `streams`, for messages that `publisher` brings."""
    with client(stand.load, "client", server.port, count, stand.seconds, 1.0, target) as readers:
        opened = readers.line(_PATIENCE + 30)
        if opened["heard"] < count or publisher.error is not None:
            raise Failed(f"{opened['heard']:.0f} of {count} subscribers had a message")
        readers.line(30)
        before = used([server.pid])
        result = readers.line(stand.seconds + 30)
        spent = used([server.pid]).since(before)
    return _figures("Nchan", result, spent.total)


def idle(stand: Stand, target: str, *, count: int = 2000) -> float:
    """Return the bytes by which a process grows with each reader that has had one event."""
    with origin(stand.load, 0) as (port, _), sseproxy(port) as server:
        with client(stand.load, "streams", server.port, 20, 0.1, 0.1, _PATIENCE, target) as first:
            first.line(_PATIENCE + 30)  # what a process has once for all
        empty = resident(server.pid)
        with client(stand.load, "streams", server.port, count, 1.0, 1.0, _PATIENCE, target) as readers:
            opened = readers.line(_PATIENCE + 30)
            if opened["heard"] < count:
                raise Failed(f"{target}: {opened['heard']:.0f} of {count} streams had an event")
            readers.line(30)
            return (resident(server.pid) - empty) / count


def frozen(stand: Stand, number: int, *, count: int = 100, rate: float = 40, size: int = 8192) -> Mapping[str, Figures]:
    """Measure the readers of a feed alone, and beside one that reads nothing."""
    found = {}
    with origin(stand.load, rate, size) as (port, _), sseproxy(port) as server:
        for name in ("alone", "beside") if number % 2 else ("beside", "alone"):
            with contextlib.ExitStack() as stack:
                if name == "beside":
                    reader = stack.enter_context(socket.socket())
                    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    reader.connect(("127.0.0.1", server.port))
                    reader.sendall(b"GET /feed HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")
                found[name] = streams(stand, server, count, "/feed")
    return found


def storm(stand: Stand, *, count: int = 5000, missed: int = 200, rate: float = 5, live: int = 50) -> Figures:
    """Let `count` readers come at once, each with `missed` events behind it, while others are live.

    seconds, cpu: until all have what they had missed. p99: of the live ones meanwhile, in ms; at_rest: without a storm.
    """
    with origin(stand.load, rate, SIZE, missed) as (port, _), sseproxy(port) as server, contextlib.ExitStack() as stack:
        with client(stand.load, "streams", server.port, live, stand.seconds, 0.5, _PATIENCE, "/storm", missed) as calm:
            calm.line(_PATIENCE + 30)
            calm.line(30)
            at_rest = calm.line(stand.seconds + 30)
            arguments = ("streams", server.port, live, max(stand.seconds, 6.0), 0.5, _PATIENCE, "/storm", missed)
            others = stack.enter_context(client(stand.load, *arguments))
            others.line(_PATIENCE + 30)
            others.line(30)
        before = used([server.pid])
        arguments = ("streams", server.port, count, 0.1, 0, _PATIENCE, "/storm", missed)
        with client(stand.load, *arguments) as readers:
            opened = readers.line(_PATIENCE + 30)
            spent = used([server.pid]).since(before)
            readers.line(30)
            result = readers.line(30)
        meanwhile = others.line(stand.seconds + _PATIENCE)
    if opened["heard"] < count:
        raise Failed(f"{opened['heard']:.0f} of {count} readers came through")
    expect_whole(result)
    return {
        "seconds": opened["all_heard"],
        "cpu": spent.total,
        "p99": meanwhile["p99"] / 1000,
        "at_rest": at_rest["p99"] / 1000,
    }


def _figures(name: str, result: Mapping[str, float], cpu: float) -> Figures:
    expect_whole(result)
    if not result["events"]:
        raise Failed(f"{name}: no event came through")
    return {
        "cpu": cpu / result["events"] * 1e6,
        "events": result["events"] / result["seconds"],
        "p50": result["p50"] / 1000,
        "p99": result["p99"] / 1000,
    }
