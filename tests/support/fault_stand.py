"""How does a fault look from three sides: the client, the upstream, and the proxy's own log?"""

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.blocking_peer import CHUNKED_STREAM, ClientPeer, Upstream, UpstreamPeer
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import parse

_ROOT = Path(__file__).parents[2]

#: The loops that the proxy has to behave the same on.
LOOPS = ("asyncio", "uvloop") if sys.platform != "win32" else ("asyncio",)


#: What the error events of these ends say that the status would have been.
STATUSES = {
    "upstream_error": 502,
    "internal_error": 500,
    "idle_timeout": 504,
    "max_duration": 504,
    "drain": 503,
}


def plain_error(data: bytes, reason: str) -> bool:
    """Whether `data` is the one error event of a service that no dialect is known for, and names `reason`."""
    [event] = parse(data).events
    said = json.loads(event.data)
    status = STATUSES[reason]
    assert (event.type, said["type"], said["status"]) == ("error", reason, status)
    assert said["error"] == {"message": said["detail"], "type": reason, "code": status}
    return data.startswith(b"event: error\ndata: ") and data.endswith(b"\n\n")


def environment_for(loop: str, folder: Path) -> Mapping[str, str]:
    """What makes a proxy process run on `loop`: without uvloop to import, it takes asyncio's own."""
    if loop == "uvloop":
        return {}
    hidden = folder / "without-uvloop"
    hidden.mkdir(exist_ok=True)
    (hidden / "uvloop.py").write_text("raise ImportError('hidden by a test')\n")
    return {"PYTHONPATH": f"{hidden}:{_ROOT}"}


def with_defects(defects: str, environment: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """`environment`, in which each Python runs `defects` as it starts."""
    place = folder / "with-defects"
    place.mkdir()
    (place / "sitecustomize.py").write_text(defects)
    return {**environment, "PYTHONPATH": f"{place}:{environment.get('PYTHONPATH', _ROOT)}"}


@dataclass(slots=True)
class Stand:
    """A running proxy whose routes all lead to one upstream that the test plays itself.

    The first segment of a path names the route; the rest makes it unlike any other, so that it is found in the log.
    """

    proxy: SseproxyProcess
    upstream: Upstream
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def path(self, route: str) -> str:
        return f"/{route}/{next(self._numbers)}"

    def client(self, *, receive_buffer: int | None = None) -> ClientPeer:
        return ClientPeer(self.proxy.url, receive_buffer=receive_buffer)

    def ask(
        self, path: str, *, headers: Sequence[str] = (), version: str = "1.1", receive_buffer: int | None = None
    ) -> tuple[ClientPeer, UpstreamPeer]:
        """A client that asks for `path`, and the upstream's end of it, which has not answered."""
        client = self.client(receive_buffer=receive_buffer)
        client.ask(path, headers=headers, version=version)
        return client, self.upstream.accept()

    def stream(
        self, path: str, *events: bytes, headers: Sequence[str] = (), version: str = "1.1"
    ) -> tuple[ClientPeer, UpstreamPeer]:
        """The same with a chunked event stream that has begun with `events`."""
        client, upstream = self.ask(path, headers=headers, version=version)
        upstream.send(CHUNKED_STREAM)
        upstream.send_events(*events)
        assert client.read_head().status == 200
        return client, upstream

    def logged(self, path: str) -> Mapping[str, Any]:
        """The line of the access log for `path`, once it is there."""
        return logged(self.proxy, path)

    def reason(self, path: str) -> str:
        return str(self.logged(path)["reason"])


def logged(proxy: SseproxyProcess, path: str) -> Mapping[str, Any]:
    """The line of the access log (in JSON) for `path`, once it is there."""
    mark = f'"path": "{path}"'
    lines = proxy.stdout.wait_for(lambda lines: any(mark in line for line in lines))
    found: Mapping[str, Any] = next(json.loads(line) for line in lines if mark in line)
    return found


@contextlib.contextmanager
def standing(
    routes: str,
    folder: Path,
    *,
    loop: str = LOOPS[-1],
    drain: str = "{timeout: 1s, spread: off}",
    workers: int = 1,
    upstream: Upstream | None = None,
    defects: str = "",
) -> Iterator[Stand]:
    """A stand with `routes`, one a line: a name, and what differs from a route without heartbeats.

    defects: Python that the proxy's process runs before all else, and whose tracebacks it may report.
    """
    with contextlib.ExitStack() as stack:
        upstream = upstream or stack.enter_context(Upstream())
        config = folder / "sseproxy.yaml"
        config.write_text(_config(routes, upstream.url, drain, workers))
        environment = environment_for(loop, folder)
        if defects:
            environment = with_defects(defects, environment, folder)
        process = SseproxyProcess("-c", str(config), environment=environment, may_report=bool(defects))
        yield Stand(stack.enter_context(process), upstream)


def _config(routes: str, upstream: str, drain: str, workers: int) -> str:
    lines = [
        f"server: {{listen: 127.0.0.1:0, workers: {workers}, drain: {drain}}}",
        "admin: {listen: 127.0.0.1:0}",
        "log: {format: json}",
        "defaults: {heartbeat: {interval: off, form: comment-line}}",
        "routes:",
    ]
    for line in routes.strip().splitlines():
        name, _, differs = line.strip().partition(" ")
        lines += [f"  - match: {{prefix: /{name}}}", f"    name: {name}"]
        lines += [] if "upstream: " in differs else [f"    upstream: {upstream}"]
        lines += [f"    {part.strip()}" for part in differs.split(" | ") if part]
    return "\n".join(lines)
