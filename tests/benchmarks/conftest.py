"""The load generator, compiled once for all tests of the benchmarks."""

from pathlib import Path

import pytest

from benchmarks.measure import compile_load
from tests.support.programs import require


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("cc")
    return compile_load(tmp_path_factory.mktemp("load"))
