"""Is what would be published whole, and does it work where nothing else of the repository is?"""

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import sseproxy

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from what is in it, as for a release, with the hatchling that is here."""
    folder = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def test_twine_takes_both(built: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_version_is_written_in_one_place(built: tuple[Path, Path]) -> None:
    assert [f"sseproxy-{sseproxy.__version__}" in path.name for path in built] == [True, True]
    project = (ROOT / "pyproject.toml").read_text()
    assert sseproxy.__version__ not in tomllib.loads(project)["project"].values()


def test_the_page_of_the_package_leads_to_the_project(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        said = email.message_from_bytes(archive.read(f"sseproxy-{sseproxy.__version__}.dist-info/METADATA"))
    urls = dict(url.split(", ") for url in said.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Source", "Issues"}
    assert set(said.get_all("Provides-Extra", [])) == {"redis", "otel", "completion"}


def test_the_sdist_holds_what_a_contributor_needs(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"Makefile", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "tests/test_packaging.py"}
    assert names >= {"deploy/requirements.lock", "deploy/kubernetes/sidecar/deployment.yaml", ".ci/run"}


def test_the_wheel_has_the_dashboard(built: tuple[Path, Path]) -> None:
    page = "sseproxy/process/dashboard/page.html"
    with zipfile.ZipFile(built[1]) as archive:
        assert archive.read(page) == (ROOT / page).read_bytes()


def test_the_wheel_has_the_pages_of_the_demo(built: tuple[Path, Path]) -> None:
    """Some are links in the repository: a wheel has no links."""
    pages = [path for path in (ROOT / "sseproxy/demo").rglob("*") if path.suffix in {".html", ".css", ".js", ".yaml"}]
    assert len([path for path in pages if path.is_symlink()]) == 3
    with zipfile.ZipFile(built[1]) as archive:
        for path in pages:
            assert archive.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()


def test_the_wheel_prints_its_examples(built: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        archive.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def example(*name: str) -> str:
        command = [sys.executable, "-m", "sseproxy", "example", *name]
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return run.stdout

    names = example().split()
    assert names == sorted(names, key=lambda name: name.partition("/")[0])
    assert {name.partition("/")[0] for name in names} == {"config", "deploy"}
    assert [name for name in names if not (ROOT / name).is_file()] == []
    assert example("sseproxy.full.yaml") == (ROOT / "config/sseproxy.full.yaml").read_text(encoding="utf-8")
