"""On which machine, and with which versions, were the figures taken?"""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measure import HERE
from benchmarks.peers import PEERS


def machine() -> dict[str, str]:
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "somaxconn": Path("/proc/sys/net/core/somaxconn").read_text().strip(),
    }


def _processor() -> str:
    """As /proc/cpuinfo has it; a virtual machine may say no more than the maker."""
    found = dict(re.findall(r"^(model name|cpu family|model|cpu MHz)\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE))
    if "model name" not in found:
        return platform.machine()
    rest = ", ".join(
        f"{name} {found[key]}" for key, name in (("cpu family", "family"), ("model", "model")) if key in found
    )
    return f"{found['model name']} ({rest}, {found.get('cpu MHz', '?')} MHz)"


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text()


def versions(peers: Iterable[str]) -> dict[str, str]:
    found = {PEERS[name].label: PEERS[name].version for name in peers if PEERS[name].command}
    whose = "the distribution's" if sys.base_prefix == "/usr" else "another build"
    found["Python"] = f"{platform.python_version()} ({whose})"
    for package in ("aiohttp", "uvloop", "httptools"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    found.pop(PEERS["ordinary"].label, None)  # it is aiohttp's
    return found


def commit() -> str:
    """Of the tree, as far as it can be told without running anything; "" if it cannot."""
    head = HERE.parent / ".git" / "HEAD"
    if not head.is_file():
        return ""
    reference = head.read_text().strip().removeprefix("ref: ")
    named = HERE.parent / ".git" / reference
    return (named.read_text().strip() if named.is_file() else reference)[:12]
