"""How do tests start a real redis-server, and kill, freeze and restart it?"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.certificates import Certificate
from tests.support.patience import LIMIT
from tests.support.programs import require

_AWAY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


def free_port() -> int:
    """Return a port of the loopback that the kernel has just chosen and that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Wait until `condition` holds; an unreachable server counts as False. AssertionError: not within `limit` s."""
    until, pause = time.monotonic() + limit, threading.Event()
    while True:
        with contextlib.suppress(*_AWAY):
            if condition():
                return
        assert time.monotonic() < until, f"not within {limit} s: {what}"
        pause.wait(0.02)


class RedisServer:
    """A redis-server on a port of the loopback that the kernel chooses. A context manager that kills it at the end.

    Each write is on disk before it is acknowledged, so that `kill` and `restart` lose nothing.

    authority: with `certificate`, who signed it; the port then speaks TLS only. notifications: as redis.conf writes
    them, such as ``KEA``. settings: further lines of redis.conf. sentinel: it is one, and `settings` is all it gets.
    """

    def __init__(
        self,
        *,
        password: str = "",
        certificate: Certificate | None = None,
        authority: Certificate | None = None,
        notifications: str = "",
        maxmemory: str = "",
        unix_socket: bool = False,
        settings: Sequence[tuple[str, str]] = (),
        sentinel: bool = False,
    ) -> None:
        self.port = free_port()
        self._password, self._certificate, self._authority = password, certificate, authority
        self._unix_socket, self._sentinel, self._settings = unix_socket, sentinel, list(settings)
        if not sentinel:
            self._settings += [("appendonly", "yes"), ("appendfsync", "always"), ("save", '""')]
        if notifications:
            self._settings += [("notify-keyspace-events", notifications)]
        if maxmemory:
            self._settings += [("maxmemory", maxmemory), ("maxmemory-policy", "noeviction")]

    def __enter__(self) -> Self:
        self._program = require("redis-server")
        self._folder = tempfile.TemporaryDirectory(prefix="sseproxy-redis-", ignore_cleanup_errors=True)
        (self.folder / "data").mkdir()
        (self.folder / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in self._lines()))
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def folder(self) -> Path:
        """Its configuration, `redis.log` and data; gone with the server."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def url(self) -> str:
        """With the password, if there is one."""
        scheme = "rediss" if self._certificate is not None else "redis"
        return f"{scheme}://{self._login}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Of the unix socket; it exists with `unix_socket` only."""
        return f"redis+unix://{self._login}{self.folder}/redis.sock"

    def url_at(self, port: int) -> str:
        """Return its URL through a relay that listens on `port` of the loopback."""
        return self.url.replace(f":{self.port}/", f":{port}/")

    def kill(self) -> None:
        """SIGKILL. What it has acknowledged is on disk."""
        self._process.kill()
        self._process.wait()

    def restart(self, *, empty: bool = False) -> None:
        """Kill it if it lives, and start it again at the same port, with what it had or `empty`."""
        self.kill()
        if empty:
            for file in sorted((self.folder / "data").rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
        self._start()

    def freeze(self) -> None:
        """SIGSTOP: connections stand, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def cli(self, *command: str | bytes | float) -> Any:
        """Return Redis' answer to one command, decoded. redis.RedisError: it refuses, or is away."""
        with self.client() as client:
            return client.execute_command(*command)

    def client(self) -> redis.Redis:
        """Return a client of redis-py that tries each command once; the caller closes it."""
        trust: dict[str, Any] = {"ssl_ca_certs": str(self._authority.certificate)} if self._authority else {}
        if self._authority and self._certificate:  # in case that it wants one
            trust |= {"ssl_certfile": str(self._certificate.certificate), "ssl_keyfile": str(self._certificate.key)}
        return redis.Redis.from_url(
            self.url,
            decode_responses=True,
            encoding_errors="backslashreplace",
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
            **trust,
        )

    @contextlib.contextmanager
    def emptied(self) -> Iterator[redis.Redis]:
        """A client, once nothing is left of earlier tests: no keys, and no subscriptions, which end a while later."""
        with self.client() as client:
            client.flushall()
            wait_for(lambda: not client.client_list(_type="pubsub"), "the end of earlier subscriptions")
            yield client

    @property
    def _login(self) -> str:
        return f":{self._password}@" if self._password else ""

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("bind", "127.0.0.1"), ("dir", f"{self.folder}/data"), ("logfile", f"{self.folder}/redis.log")]
        if self._certificate is None:
            lines += [("port", str(self.port))]
        else:
            authority = self._authority or self._certificate
            lines += [("port", "0"), ("tls-port", str(self.port)), ("tls-auth-clients", "no")]
            lines += [
                ("tls-cert-file", str(self._certificate.certificate)),
                ("tls-key-file", str(self._certificate.key)),
            ]
            lines += [("tls-ca-cert-file", str(authority.certificate))]
        if self._password:
            lines += [("requirepass", self._password), ("masterauth", self._password)]
        if self._unix_socket:
            lines += [("unixsocket", f"{self.folder}/redis.sock")]
        return lines + self._settings

    def _start(self) -> None:
        command = [self._program, str(self.folder / "redis.conf"), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda: self._answers(command), f"a redis-server that answers at port {self.port}")

    def _answers(self, command: Sequence[str]) -> bool:
        if not self.is_alive:
            # A connection of another program may have had the port, while this server was away.
            assert "Address already in use" in self._log(), f"redis-server ended at once\n{self._log()}"
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return bool(self.cli("PING"))

    def _log(self) -> str:
        log = self.folder / "redis.log"
        return log.read_text() if log.exists() else ""

    def _end(self) -> None:
        if hasattr(self, "_process") and self.is_alive:
            self.kill()
        self._folder.cleanup()
