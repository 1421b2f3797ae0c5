"""Does a process of sseproxy's own look for plugins of pydantic?"""

import sys
from types import ModuleType


def find_no_plugins() -> None:
    """Let pydantic find none, in this whole process: for a process that is no other's. Before pydantic is loaded."""
    # Plugins are for applications. What looks for them imports thirty modules (`importlib.metadata`, `email`,
    # `zipfile`), also where `PYDANTIC_DISABLE_PLUGINS` is set: a twentieth of a start. So this stands in its place.
    # Where another version of pydantic looks elsewhere, nothing is wrong but the time, and `tests/e2e/test_start.py`
    # fails.
    loader = ModuleType("pydantic.plugin._loader", "What finds no plugins.")
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    sys.modules.setdefault(loader.__name__, loader)
