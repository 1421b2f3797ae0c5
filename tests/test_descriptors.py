"""Does the process take the descriptors that it may have, and say when they are too few?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]

_PROGRAM = """
import logging, resource, sys
soft, hard, streams = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
logging.basicConfig(format="%(levelname)s %(message)s")
from sseproxy.process.descriptors import raise_file_limit
print(raise_file_limit(streams), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(soft: int, hard: int, streams: int) -> tuple[str, str]:
    """What is returned with both limits afterwards, and what is warned of; in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, (soft, hard, streams))],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip(), done.stderr.strip()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    assert raised(256, 1024, 100) == ("1024 1024 1024", "")


@pytest.mark.parametrize("soft", [512, 1024])
def test_too_few_are_warned_of(soft: int) -> None:
    limits, said = raised(soft, 1024, 10_000)
    assert limits == "1024 1024 1024"
    assert said == "WARNING 1024 open files are allowed: enough for about 384 streams (limits.streams: 10000)"


def test_with_hardly_any_there_is_no_room_for_a_stream() -> None:
    assert "about 0 streams" in raised(64, 64, 1)[1]


@pytest.mark.parametrize(("limit", "clients"), [(1024, 480), (128, 32), (65, 1), (64, 1)])
@pytest.mark.parametrize(("wanted", "is_less"), [(None, False), (1, True), (10**6, False)])
def test_clients_get_half_of_the_descriptors_and_housekeeping_its_share(
    limit: int, clients: int, wanted: int | None, is_less: bool
) -> None:
    """More than that is not given, whatever the file says: the admin side would be without."""
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        f"from sseproxy.process.descriptors import connections_allowed; print(connections_allowed({wanted}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(wanted if is_less else clients)
