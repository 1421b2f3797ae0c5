"""Which proxies are compared, how is each started as a plain pass-through, and what version is it?"""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import HERE, Failed, free_port, running, wait_for, wait_for_answer

# Debian keeps servers where only root's PATH looks.
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Running:
    """port: where it listens. pids: what was started; their descendants belong to it, too."""

    port: int
    pids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Peer:
    """package: of Debian. programs: what must be installed. command: prints its version.

    start(folder, origin, options): `folder` is empty and its own, `origin` a port of this machine.
    """

    label: str
    start: Callable[[Path, int, Mapping[str, str]], contextlib.AbstractContextManager[Running]]
    package: str = ""
    programs: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        return [name for name in self.programs if program(name) is None]

    @contextlib.contextmanager
    def run(self, origin: int) -> Iterator[Running]:
        with tempfile.TemporaryDirectory(prefix="sseproxy-bench-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)  # noqa: PTH101 - workers of some run as nobody
            log = Path(folder) / "log"
            log.touch()
            try:
                with self.start(Path(folder), origin, self.options) as found:
                    wait_for_answer(found.port)
                    yield found
            except Failed as failure:
                said = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise Failed(": ".join([str(failure), *said]).replace(folder, "")) from failure

    @property
    def version(self) -> str:
        command = [program(self.command[0]) or self.command[0], *self.command[1:]]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        number = re.search(r"\d+\.\d+[\w.+~-]*", said.stdout + said.stderr)
        return number[0].rstrip(".") if number else "unknown"


def program(name: str) -> str | None:
    return name if name == sys.executable else shutil.which(name, path=_SEARCH)


def _path(name: str) -> str:
    found = program(name)
    if found is None:
        raise Failed(f"{name} is not installed")
    return found


def descriptors() -> int:
    """How many files a process may have open, if it asks."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)


@contextlib.contextmanager
def _serving(folder: Path, command: Sequence[str], port: int, **environment: str) -> Iterator[Running]:
    quiet, surroundings = subprocess.DEVNULL, {**os.environ, **environment}
    with (folder / "log").open("a") as log, running(command, stdout=quiet, stderr=log, env=surroundings) as process:
        wait_for(port, process)
        yield Running(port, (process.pid,))


# Nobody in between.


@contextlib.contextmanager
def _direct(_: Path, origin: int, __: Mapping[str, str]) -> Iterator[Running]:
    yield Running(origin, ())


# sseproxy, with what is on by default: heartbeats after 15 s, events kept whole. Only the access log is off.


@contextlib.contextmanager
def _sseproxy(folder: Path, origin: int, options: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "sseproxy", "serve", "--upstream", f"http://127.0.0.1:{origin}"]
    command += ["--listen", f"127.0.0.1:{port}", *options.get("arguments", "--no-access-log").split()]
    with _serving(folder, command, port, PYTHONPATH=str(HERE.parent)) as found:
        yield found


@contextlib.contextmanager
def _ordinary(folder: Path, origin: int, __: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    with _serving(folder, [sys.executable, str(HERE / "ordinary.py"), str(port), str(origin)], port) as found:
        yield found


# nginx: one worker and no master, or several and a master.

_NGINX = """
daemon off;
{user}
master_process {master};
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream origin {{
    server 127.0.0.1:{origin};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=8192{reuseport};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


@contextlib.contextmanager
def _nginx(folder: Path, origin: int, options: Mapping[str, str]) -> Iterator[Running]:
    port, workers = free_port(), int(options.get("workers", "1"))
    conf = folder / "nginx.conf"
    conf.write_text(
        _NGINX.format(
            folder=folder,
            port=port,
            origin=origin,
            workers=workers,
            files=descriptors(),
            user="user root;" if workers > 1 and os.geteuid() == 0 else "",
            master="on" if workers > 1 else "off",
            reuseport=" reuseport" if workers > 1 else "",
        )
    )
    command = [_path("nginx"), "-p", str(folder), "-c", str(conf), "-e", str(folder / "error.log")]
    with _serving(folder, command, port) as found:
        yield found


_HAPROXY = """
global
  nbthread 1
  maxconn {streams}
  no strict-limits
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend front
  bind 127.0.0.1:{port} backlog 8192
  default_backend back
backend back
  server origin 127.0.0.1:{origin}
"""


@contextlib.contextmanager
def _haproxy(folder: Path, origin: int, _: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    conf = folder / "haproxy.cfg"
    conf.write_text(_HAPROXY.format(port=port, origin=origin, streams=(descriptors() - 200) // 2))
    with _serving(folder, [_path("haproxy"), "-db", "-f", str(conf)], port) as found:
        yield found


_CADDY = """
{{
  admin off
  auto_https off
  log {{
    level ERROR
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{origin} {{
    flush_interval -1
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"""


@contextlib.contextmanager
def _caddy(folder: Path, origin: int, _: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    conf = folder / "Caddyfile"
    conf.write_text(_CADDY.format(port=port, origin=origin))
    homes = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command = [_path("caddy"), "run", "--config", str(conf), "--adapter", "caddyfile"]
    with _serving(folder, command, port, **homes) as found:
        yield found


# Pushpin is a family: condure takes connections, pushpin-proxy routes, pushpin-handler publishes, zurl asks upstreams.

_PUSHPIN = """
[global]
include={{libdir}}/internal.conf
rundir={folder}
ipc_prefix=
port_offset=0
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{port}
logdir={folder}
log_level=0
client_buffer_size=8192
client_maxconn={streams}
condure_bin=condure
[proxy]
routesfile={folder}/routes
zurl_out_specs=ipc://{folder}/zurl-in
zurl_out_stream_specs=ipc://{folder}/zurl-in-stream
zurl_in_specs=ipc://{folder}/zurl-out
sig_key=changeme
updates_check=off
[handler]
push_in_spec=ipc://{folder}/push
push_in_sub_specs=ipc://{folder}/push-sub
push_in_http_addr=127.0.0.1
push_in_http_port={push}
stats_spec=ipc://{folder}/stats
command_spec=ipc://{folder}/command
message_rate=2500
message_hwm=25000
"""

_ZURL = """
[General]
in_spec=ipc://{folder}/zurl-in
in_stream_spec=ipc://{folder}/zurl-in-stream
out_spec=ipc://{folder}/zurl-out
in_req_spec=
defpolicy=allow
max_open_requests={streams}
buffer_size=200000
timeout=600
in_hwm=20000
out_hwm=20000
"""


@contextlib.contextmanager
def _pushpin(folder: Path, origin: int, _: Mapping[str, str]) -> Iterator[Running]:
    port, push, streams = free_port(), free_port(), (descriptors() - 500) // 2
    (folder / "routes").write_text(f"* 127.0.0.1:{origin}\n")
    (folder / "zurl.conf").write_text(_ZURL.format(folder=folder, streams=streams))
    (folder / "pushpin.conf").write_text(_PUSHPIN.format(folder=folder, port=port, push=push, streams=streams))
    zurl = [_path("zurl"), f"--config={folder / 'zurl.conf'}", "--loglevel=0"]
    quiet = subprocess.DEVNULL
    pushpin = [_path("pushpin"), f"--config={folder / 'pushpin.conf'}"]
    with running(zurl, stdout=quiet, stderr=quiet) as asker, _serving(folder, pushpin, port) as found:
        yield Running(port, (*found.pids, asker.pid))


def _variant(label: str, arguments: str) -> Peer:
    return Peer(label, _sseproxy, options={"arguments": arguments})


_PYTHON = sys.executable

#: In the order of the tables.
PEERS: Mapping[str, Peer] = {
    "nginx": Peer("nginx", _nginx, "nginx", ("nginx",), ("nginx", "-v")),
    "sseproxy": Peer("sseproxy", _sseproxy, command=(_PYTHON, "-m", "sseproxy", "--version")),
    "haproxy": Peer("HAProxy", _haproxy, "haproxy", ("haproxy",), ("haproxy", "-v")),
    "caddy": Peer("Caddy", _caddy, "caddy", ("caddy",), ("caddy", "version")),
    "pushpin": Peer("Pushpin", _pushpin, "pushpin", ("pushpin", "condure", "zurl"), ("pushpin", "--version")),
    "ordinary": Peer(
        "ordinary aiohttp", _ordinary, command=(_PYTHON, "-c", "import aiohttp; print(aiohttp.__version__)")
    ),
    "direct": Peer("direct", _direct),
}

#: The same with something else switched on or off; what stands before the comma is what they are compared to.
VARIANTS: Mapping[str, Peer] = {
    "nginx, 2 workers": Peer("nginx, 2 workers", _nginx, programs=("nginx",), options={"workers": "2"}),
    "sseproxy, 2 workers": _variant("sseproxy, 2 workers", "--no-access-log --workers 2"),
    "sseproxy, access log": _variant("with the access log", ""),
    "sseproxy, admin": _variant("with the admin listener", "--no-access-log --admin 127.0.0.1:0"),
    "sseproxy, no heartbeat": _variant("without heartbeats", "--no-access-log --heartbeat off"),
}

ALL: Mapping[str, Peer] = {**PEERS, **VARIANTS}
