"""How is the real nginx run for a while: unprivileged, on given sockets, in a directory of its own?"""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from sseproxy.demo.process import ended, stop
from sseproxy.demo.programs import find_program, version_of

_START_LIMIT = 15.0


_CONF = """\
pid nginx.pid;
error_log error.log;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
HTTP}
"""


class NginxFailed(Exception):
    """nginx did not start; the text is what it wrote."""


def find_nginx() -> str | None:
    """The path of the installed nginx, if there is one."""
    return find_program("nginx")


async def nginx_version(program: str) -> str:
    """The version number of `program`, such as ``1.22.1``."""
    return await version_of(program, "-v", rb"nginx/([0-9.]+)")


def unprivileged(http: str) -> str:
    """A whole configuration from what belongs in its ``http`` block; all that it writes is below its prefix."""
    return _CONF.replace("HTTP", http)


@contextlib.asynccontextmanager
async def nginx(program: str, conf: str, sockets: Sequence[socket.socket]) -> AsyncIterator[Path]:
    """Run nginx with the text `conf`, which listens on the addresses of `sockets`; yields its directory.

    The sockets are handed over and closed here: nginx takes the ones that its NGINX variable names for the
    ``listen`` directives with the same address, which it does for its own upgrades, so no port can be lost meanwhile.
    Raises `NginxFailed`.
    """
    with _prefix(conf) as directory:
        process = await _start(program, directory, sockets)
        try:
            await _started(process, directory)
            yield directory
        finally:
            await stop(process)


@contextlib.contextmanager
def _prefix(conf: str) -> Iterator[Path]:
    """A directory for nginx alone, with its configuration in it."""
    with tempfile.TemporaryDirectory(prefix="sseproxy-nginx-") as name:
        directory = Path(name)
        # Its workers run as another user when it was started by root, and must reach their own directories.
        directory.chmod(0o755)
        (directory / "nginx.conf").write_text(conf)
        yield directory


async def _start(program: str, directory: Path, sockets: Sequence[socket.socket]) -> asyncio.subprocess.Process:
    descriptors = [sock.fileno() for sock in sockets]
    try:
        with (directory / "stderr.log").open("wb") as stderr:
            return await asyncio.create_subprocess_exec(
                *(program, "-p", f"{directory}/", "-c", f"{directory}/nginx.conf", "-e", "stderr", "-g", "daemon off;"),
                env={**os.environ, "NGINX": "".join(f"{number};" for number in descriptors)},
                pass_fds=descriptors,
                stderr=stderr,
                start_new_session=True,
            )
    finally:
        for sock in sockets:
            sock.close()


async def _started(process: asyncio.subprocess.Process, directory: Path) -> None:
    """Wait for the pid file, which nginx writes once it has read its configuration and opened its sockets."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + _START_LIMIT
    while not (directory / "nginx.pid").exists():
        if ended(process) or loop.time() > limit:
            raise NginxFailed((directory / "stderr.log").read_text(errors="replace").strip())
        await asyncio.sleep(0.01)
