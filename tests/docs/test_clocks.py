"""Does docs/clocks.md name every time of the file, with its default?"""

import re
from typing import Any

from docs.website.reference import type_cell
from sseproxy.config.schema import json_schema
from sseproxy.engine.live import LiveStreams
from sseproxy.http1.policy import ServerPolicy
from tests.docs.pages import DOCS
from tests.docs.test_reference import WANTED

TEXT = (DOCS / "clocks.md").read_text(encoding="utf-8")


def default(path: str) -> Any:
    """What the schema says of a key; the page leaves `defaults.` away where that is plain."""
    return WANTED[path if path in WANTED else f"defaults.{path}"][0]["default"]


def test_every_duration_of_the_file_is_there_with_its_default() -> None:
    rows = dict(re.findall(r"(?m)^\| `([a-z_.]+)` \| (?:`(\w+)`|by kind) \|", TEXT))
    assert {path: said for path, said in rows.items() if (default(path) or "") != said} == {}
    durations = {path for path, (node, inner) in WANTED.items() if not inner and "duration" in type_cell(node)}
    assert len(durations) > 10
    assert {path.removeprefix("defaults.") for path in durations} == {path.removeprefix("defaults.") for path in rows}


def test_the_fixed_times_are_those_of_the_program() -> None:
    assert f"| a stream that breaks stays open | {LiveStreams().linger:.0f} s |" in TEXT
    assert f"| an idle connection of a client | {ServerPolicy().idle:.0f} s |" in TEXT


def test_the_picture_has_the_defaults_of_the_table() -> None:
    drawn = (DOCS / "drawings/clocks.svg").read_text(encoding="utf-8")
    names = re.findall(r'class="m">([\w.]+)</text>\n<text[^>]*>([^<]+)<', drawn)
    assert len(names) == 7
    timeouts = json_schema()["$defs"]["TimeoutsSection"]["properties"]
    written = {"5s": "5 s", "15m": "15 min", "30s": "30 s", "off": "off", "15s": "15 s"}
    for name, said in names:
        key = name if name.startswith("heartbeat.") else f"timeouts.{name}" if name in timeouts else f"heartbeat.{name}"
        if default(key) != "auto":
            assert said.startswith(written[default(key)]), name
