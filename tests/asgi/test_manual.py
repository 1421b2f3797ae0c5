"""Does the manual know every option of the middleware, with its default?"""

import json
from pathlib import Path

import pytest

from sseproxy.aiohttp.middleware import AIOHTTP_DEFAULTS
from sseproxy.asgi.options import DEFAULTS

MANUAL = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text()


def row_of(name: str) -> str:
    rows = [line for line in MANUAL.splitlines() if line.startswith("| ") and f"`{name}`" in line.split(" | ")[0]]
    assert len(rows) == 1, name
    return rows[0]


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_an_option_is_in_the_table_with_its_default(name: str, value: object) -> None:
    default = row_of(name).split(" | ")[1]
    if value is not None:
        assert f"`{value if isinstance(value, bool) else json.dumps(value)}`" in default


def test_where_aiohttp_differs_the_table_says_so() -> None:
    drain = AIOHTTP_DEFAULTS["drain"]
    assert f'aiohttp `"{drain}"`' in row_of("drain")
    assert {**AIOHTTP_DEFAULTS, "drain": DEFAULTS["drain"]} == DEFAULTS
