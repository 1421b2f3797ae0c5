"""How do tests get from a few lines of YAML to a `Config`?"""

from collections.abc import Mapping
from pathlib import Path

from sseproxy.config.flags import FlagValue
from sseproxy.config.loader import load
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.settings import Config
from sseproxy.core.routes import Route, Upstream


def read(
    text: str | bytes,
    folder: Path,
    *,
    flags: Mapping[str, FlagValue] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """What `text`, as the file ``c.yaml`` in `folder`, says."""
    (folder / "c.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load(Path("c.yaml"), flags=flags or {}, environ=environ or {})


def complaints(
    path: Path | None, *, flags: Mapping[str, FlagValue] | None = None, environ: Mapping[str, str] | None = None
) -> list[str]:
    """What is wrong, line by line."""
    try:
        load(path, flags=flags or {}, environ=environ or {})
    except ConfigErrors as errors:
        return str(errors).splitlines()
    return []


def upstream_of(route: Route) -> Upstream:
    """Where a route leads that has an upstream."""
    assert route.upstream is not None
    return route.upstream
