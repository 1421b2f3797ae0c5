"""Is what docs/probe.md says true?"""

import re
from pathlib import Path

from sseproxy.cli import new_parser
from sseproxy.probe.cures import Fault

_MANUAL = (Path(__file__).parents[2] / "docs" / "probe.md").read_text()


def test_every_fault_is_explained_and_no_other() -> None:
    table = _MANUAL.partition("## What it finds")[2]
    explained = [
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    ]
    assert sorted(explained) == sorted(Fault)


def test_every_command_is_one() -> None:
    commands = re.findall(r"^\$ sseproxy (probe .*?)(?: {2,}#.*)?$", _MANUAL, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        words = [single or plain for single, plain in re.findall(r"'(.*?)'|(\S+)", command)]
        new_parser().parse_args(words)
