"""Can all be imported that docs/api.md names, and does it have the members that stand there?"""

import importlib
import re

import pytest

from sseproxy.aiohttp import ProxyHandler, SSEKeepalive
from sseproxy.asgi import SSEKeepaliveMiddleware
from sseproxy.proxy import ReverseProxy
from sseproxy.proxy.library.embedded import EmbeddedProxy
from tests.docs.pages import DOCS

TEXT = (DOCS / "api.md").read_text(encoding="utf-8")
NAMES = re.findall(r"(?m)^\| `sseproxy\.([\w.]+)` \|", TEXT)

#: Members that are for other rooms of the package.
INTERNAL = {"here", "keeps_streams_alive"}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_be_imported(name: str) -> None:
    module, _, member = f"sseproxy.{name}".rpartition(".")
    assert hasattr(importlib.import_module(module), member)


def test_every_public_name_is_there() -> None:
    for room in ("asgi", "aiohttp", "proxy"):
        module = importlib.import_module(f"sseproxy.{room}")
        assert {f"{room}.{name}" for name in module.__all__} <= set(NAMES)


def test_the_members_are_those_of_the_classes() -> None:
    members = set(re.findall(r"(?m)^\| `(\w+)[(`]", TEXT))
    for of in (SSEKeepaliveMiddleware, SSEKeepalive, EmbeddedProxy, ProxyHandler):
        assert {name for name in vars(of) if not name.startswith("_")} - INTERNAL <= members
    assert members <= {*dir(SSEKeepalive), *dir(ReverseProxy), *dir(ProxyHandler)}
