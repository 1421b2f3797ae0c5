"""Which files does the package carry for people to copy, and what is in them?

In the repository they are in `config/` and `deploy/`. A wheel has both folders inside of the package (pyproject.toml,
`force-include`).
"""

from collections.abc import Mapping
from pathlib import Path

_FOLDERS = ("config", "deploy")
_PACKAGE = Path(__file__).parent


def shipped_files() -> Mapping[str, Path]:
    """Return the files by name, such as ``config/sseproxy.yaml``, in order."""
    inside = _PACKAGE / "shipped_files"
    root = inside if inside.is_dir() else _PACKAGE.parent
    found = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                found[path.relative_to(root).as_posix()] = path
    return found


def find(name: str, files: Mapping[str, Path]) -> list[str]:
    """Return the names that `name` may stand for: itself, one of `config/`, or all that end with it, by segments."""
    for whole in (name, f"config/{name}"):
        if whole in files:
            return [whole]
    return [known for known in files if known.endswith(f"/{name}")]
