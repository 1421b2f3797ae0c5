"""Is the house still built as its plan says?"""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sseproxy
from sseproxy.shipped import shipped_files
from tests.support import import_alone

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sseproxy"
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: Folders that hold nothing of ours; those that begin with a dot are left out too, `.ci` apart.
NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "htmlcov"}
TEXT_LIMIT = 2**20


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def our_files(folder: Path = ROOT) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name not in NOT_OURS and (not path.name.startswith(".") or path.name == ".ci"):
                yield from our_files(path)
        elif path.stat().st_size < TEXT_LIMIT:
            yield path


def run(*command: str | Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr


def rooms() -> dict[str, list[str]]:
    """The modules of each room of the package, by its name."""
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.name != "__main__.py":
            found.setdefault(path.relative_to(PACKAGE).parts[0], []).append(module_name(path))
    return found


@pytest.mark.parametrize("room", rooms())
def test_every_module_can_be_imported_alone(room: str) -> None:
    run(sys.executable, "-W", "error", import_alone.__file__, *rooms()[room])


def test_the_arrows_point_down() -> None:
    run(sys.executable, "-c", "import importlinter.cli as cli; cli.lint_imports_command()", "--no-cache")


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=module_name)
def test_the_core_needs_nothing_but_the_standard_library(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert all(name == "sseproxy.core" or name.startswith("sseproxy.core.") for name in foreign), foreign


def test_the_asgi_middleware_loads_the_standard_library_alone() -> None:
    program = """
import sys
before = set(sys.modules)
import sseproxy.asgi
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
sys.exit(", ".join(loaded - sys.stdlib_module_names - {"sseproxy"}) or 0)
"""
    run(sys.executable, "-c", program)


def test_what_costs_time_to_load_is_loaded_when_it_is_needed() -> None:
    """The page of metrics: its library comes with the first scrape."""
    program = "import sys, sseproxy.process.serve; sys.exit('prometheus_client' in sys.modules)"
    run(sys.executable, "-c", program)


def test_nothing_in_the_tree_belongs_to_one_machine() -> None:
    personal = [r"/home/\w", r"/Users/\w", r"/root[/]\w", r"\.pyenv\b"]
    personal += [re.escape(str(place)) for place in (ROOT, Path.home()) if len(place.parts) > 2]
    pattern = re.compile("|".join(personal).encode())
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in our_files()
        if path != Path(__file__) and (match := pattern.search(path.read_bytes()))
    ]
    assert found == []


def test_the_wheel_holds_the_package_and_says_that_it_is_typed(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"sseproxy-{sseproxy.__version__}.dist-info"
        assert "sseproxy = sseproxy.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    shipped = {path.relative_to(ROOT).as_posix() for path in our_files(PACKAGE)}
    shipped |= {f"sseproxy/shipped_files/{name}" for name in shipped_files()}
    assert {name for name in names if not name.startswith(info)} == shipped
    assert "sseproxy/py.typed" in shipped
    assert f"{info}/licenses/LICENSE" in names


def test_the_command_that_the_package_promises_is_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["sseproxy"].partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_make_knows_every_command_that_the_documents_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= promised(ROOT / "README.md")
    for document in our_files():
        if document.suffix == ".md":
            assert promised(document) <= targets, document


def promised(document: Path) -> set[str]:
    """The targets in lines and code spans that begin with `make`."""
    return set(re.findall(r"(?:^\$?[ \t]*|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{sseproxy.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
