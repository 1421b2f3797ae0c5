"""Does the manual know every option of the middleware, with its default?"""

import inspect
from pathlib import Path

import pytest

from sseproxy.aiohttp import sse_keepalive
from sseproxy.asgi import SSEKeepaliveMiddleware

MANUAL = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text()
OPTIONS = [p for p in inspect.signature(SSEKeepaliveMiddleware).parameters.values() if p.name != "app"]


def row_of(name: str) -> str:
    rows = [line for line in MANUAL.splitlines() if line.startswith("| ") and f"`{name}`" in line.split(" | ")[0]]
    assert len(rows) == 1, name
    return rows[0]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_is_in_the_table_with_its_default(option: inspect.Parameter) -> None:
    default = row_of(option.name).split(" | ")[1]
    if option.default is not None:
        shown = f'"{option.default}"' if isinstance(option.default, str) else str(option.default)
        assert f"`{shown}`".replace("'", '"') in default


def test_where_aiohttp_differs_the_table_says_so() -> None:
    drain = inspect.signature(sse_keepalive).parameters["drain"].default
    assert f'aiohttp `"{drain}"`' in row_of("drain")
