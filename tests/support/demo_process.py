"""How do tests run ``sseproxy demo``, and find one of its pages?"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.patience import LIMIT

_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def running_demo(page: str, *arguments: str, **environment: str) -> Iterator[str]:
    """What a running demo says of a page; Ctrl-C at the end, after which it must have ended cleanly.

    page: what the line begins with that says it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "sseproxy", "demo", *arguments],
        env={**os.environ, "PYTHONPATH": str(_ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        said = (re.fullmatch(rf"{re.escape(page)}: (.+)\n", line) for line in process.stdout)
        yield next(filter(None, said))[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()
