"""In which folder does a configuration stand, and which files can it name?"""

import subprocess
from pathlib import Path

import pytest

from tests.support.programs import require


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder for one test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def pem_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """``ca.pem`` and its ``ca.key``, ``other.key``, ``locked.key`` that needs a passphrase, and text."""
    made = tmp_path_factory.mktemp("pem")
    key = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out"
    for arguments in (
        f"{key} ca.key",
        f"{key} other.key",
        "pkey -in ca.key -aes128 -passout pass:passphrase -out locked.key",
        "req -x509 -key ca.key -subj /CN=localhost -days 36500 -out ca.pem",
    ):
        subprocess.run([require("openssl"), *arguments.split()], cwd=made, check=True, capture_output=True)
    return {file.name: file.read_bytes() for file in made.iterdir()} | {"text.pem": b"hi\n"}


@pytest.fixture
def pem_folder(folder: Path, pem_files: dict[str, bytes]) -> Path:
    """The current folder, with the PEM files in it."""
    for name, content in pem_files.items():
        (folder / name).write_bytes(content)
    return folder
