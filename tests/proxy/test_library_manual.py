"""Does docs/library.md know every option with its default and its key, and does its code run?"""

import json
import re
from typing import Any

import pytest

from sseproxy.config import embedded
from sseproxy.config.schema import FileSchema
from tests.docs.pages import DOCS, blocks
from tests.proxy.door_limits import table

MANUAL = (DOCS / "library.md").read_text(encoding="utf-8")
PYTHON = [text for language, text in blocks(MANUAL) if language == "python"]

#: What there is if a file says nothing.
DEFAULTS: dict[str, Any] = FileSchema().model_dump(mode="json")


def row_of(name: str) -> list[str]:
    lines = [line for line in MANUAL.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0]]
    assert len(lines) == 1, name
    return lines[0].strip("| ").split(" | ")


@pytest.mark.parametrize("name", embedded.OPTIONS)
def test_an_option_has_a_row(name: str) -> None:
    assert len(row_of(name)) == 3


@pytest.mark.parametrize("name", [name for name, path in embedded.INHERITED.items() if path != (name,)])
def test_a_scalar_has_its_default_and_its_key_there(name: str) -> None:
    path = embedded.INHERITED[name]
    default: Any = DEFAULTS["defaults"]
    for part in path:
        default = default[part]
    shown = str(default) if isinstance(default, bool) else json.dumps(default)
    assert row_of(name)[1:] == [f"`{shown}`", f"`{'.'.join(path)}`"]


def test_the_drain_has_its_default_there() -> None:
    assert row_of("drain")[1] == f'`"{DEFAULTS["server"]["drain"]["timeout"]}"`'
    assert row_of("drain_spread")[1] == f'`"{DEFAULTS["server"]["drain"]["spread"]}"`'


def test_what_a_server_makes_impossible_is_said() -> None:
    assert f"\n\n{table()}\n\n" in MANUAL


@pytest.mark.parametrize("text", PYTHON, ids=[text.splitlines()[0] for text in PYTHON])
def test_its_code_is_python(text: str) -> None:
    compile(text, "library.md", "exec")


@pytest.mark.parametrize("call", re.findall(r"(?ms)^(?:proxy = )?ReverseProxy\(.*?\)$", MANUAL))
def test_its_proxies_can_be_made(call: str) -> None:
    names: dict[str, Any] = {}
    exec("from sseproxy.proxy import ReverseProxy\nfrom sseproxy.aiohttp import *\n" + call, names)
