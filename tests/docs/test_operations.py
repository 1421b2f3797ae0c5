"""Do the pages for the person on call name what the program has: sections of the file, forms of heartbeats?"""

import re
from pathlib import Path
from typing import Any

from sseproxy.config.loader import check
from sseproxy.config.restart import beside
from sseproxy.config.schema import json_schema
from sseproxy.core.stream.heartbeat import HeartbeatForm
from tests.docs.pages import DOCS

RELOAD = re.search(r"(?ms)^\| section \| what a reload does \|\n(.*?)\n\n", (DOCS / "operations.md").read_text())

#: A file in which all that needs a restart is another than in an empty one.
CHANGED = """\
server: {listen: ':1', workers: 3}
admin: {listen: ':9'}
store: {memory: 16MiB}
telemetry: {traces: true}
routes: [{upstream: 'http://127.0.0.1:9000'}]
"""


def rows() -> list[tuple[list[str], str]]:
    """The keys of each row of the table, and what it says of them."""
    assert RELOAD is not None
    cells = [line.strip("|").split(" | ") for line in RELOAD[1].splitlines()[1:]]
    return [(re.findall(r"`([\w.]+)`", keys), meaning) for keys, meaning in cells]


def test_what_needs_a_restart_is_what_the_table_says(tmp_path: Path) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text("routes: [{upstream: 'http://127.0.0.1:9000'}]")
    running = check(file, flags={}, environ={}).config()
    file.write_text(CHANGED)
    kept = beside(running, check(file, flags={}, environ={})).kept
    assert [keys for keys, meaning in rows() if "restart" in meaning] == [list(kept)]


def test_the_table_of_a_reload_has_every_section() -> None:
    sections: dict[str, Any] = json_schema()["properties"]
    server: dict[str, Any] = json_schema()["$defs"]["ServerSection"]["properties"]
    known = {*sections, *(f"server.{key}" for key in server)} - {"server"}
    named = [key for keys, _ in rows() for key in keys]
    assert sorted(named) == sorted(known)


def test_every_form_of_a_heartbeat_that_a_page_names_exists() -> None:
    named = {
        (page.name, form) for page in DOCS.glob("*.md") for form in re.findall(r"`form: ([\w-]+)`", page.read_text())
    }
    assert len(named) >= 2
    assert {(page, form) for page, form in named if form not in set(HeartbeatForm)} == set()
