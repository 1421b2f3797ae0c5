"""Which programs of this machine may the tests use, and what becomes of a test that lacks one?

The one place that knows. Run as a script, it names the Debian packages of all that is missing.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Program:
    """package: what Debian calls it, or several. names: what it may be called on disk, the first that is there wins."""

    package: str
    names: tuple[str, ...]


PROGRAMS: Mapping[str, Program] = {
    "nginx": Program("nginx", ("nginx",)),
    "haproxy": Program("haproxy", ("haproxy",)),
    "caddy": Program("caddy", ("caddy",)),
    # With `--sentinel` it is redis-sentinel, so that package is not needed.
    "redis-server": Program("redis-server", ("redis-server", "valkey-server")),
    "chromium": Program("chromium", ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")),
    "chromedriver": Program("chromium-driver", ("chromedriver",)),
    "node": Program("nodejs", ("node", "nodejs")),
    "npm": Program("npm", ("npm",)),
    "openssl": Program("openssl", ("openssl",)),
    "curl": Program("curl", ("curl",)),
    "jq": Program("jq", ("jq",)),
    "docker-compose": Program("docker-compose", ("docker-compose",)),
    "systemd-analyze": Program("systemd", ("systemd-analyze",)),
    "prometheus": Program("prometheus", ("prometheus",)),
    "promtool": Program("prometheus", ("promtool",)),
    "cc": Program("gcc libc6-dev", ("cc", "gcc", "clang")),
}

# Debian keeps servers where only root's PATH looks.
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def in_ci() -> bool:
    """Whether nothing may be skipped."""
    return os.environ.get("CI", "").lower() in {"true", "1"}


def find(name: str) -> str | None:
    """The path of one of `PROGRAMS`, or None if it is not there. KeyError: it is not in the table."""
    found = (shutil.which(candidate, path=_SEARCH) for candidate in PROGRAMS[name].names)
    return next((path for path in found if path), None)


def require(name: str) -> str:
    """The path of one of `PROGRAMS`; without it the running test is skipped, or fails where CI=true."""
    path = find(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian: apt-get install {PROGRAMS[name].package})"
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def missing_packages() -> list[str]:
    missing = (program.package for name, program in PROGRAMS.items() if find(name) is None)
    return list(dict.fromkeys(missing))  # one package may have several programs


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing_packages()) + "\n")
