"""Is the table of what servers make impossible true: does it name tests that exist, and do the docs say the same?

``DOOR_LIMITS=strict`` shows the rest: what is left out fails.
"""

from pathlib import Path

import pytest

from tests.proxy.door_limits import LIMITS, limit_of, table

_HERE = Path(__file__).parent
_ROWS = sorted({row for limit in LIMITS for rows in limit.tests.values() for row in rows})


@pytest.mark.parametrize("row", _ROWS)
def test_a_row_names_a_test(row: str) -> None:
    file, _, test = row.partition("[")[0].partition("::")
    assert f"def {test}(" in (_HERE / file).read_text() if test else (_HERE / file).exists()


def test_a_limit_has_tests_where_it_has_words() -> None:
    for limit in LIMITS:
        assert set(limit.tests) == {name for name in ("uvicorn", "aiohttp") if getattr(limit, name)}, limit.what


def test_the_docs_have_the_same_table() -> None:
    assert table() in (_HERE.parents[1] / "docs/library.md").read_text()


def test_only_what_is_listed_is_left_out() -> None:
    assert limit_of("tests/proxy/test_hostile.py::test_x[uvicorn-a]") == "test_hostile.py"
    assert limit_of("tests/proxy/test_hostile.py::test_x[uvloop-a]") is None
    assert limit_of("tests/proxy/test_targets.py::test_verbatim[uvicorn-b'/x?']") is not None
    assert limit_of("tests/proxy/test_targets.py::test_verbatim[uvicorn-b'/x']") is None
    assert limit_of("tests/proxy/test_targets.py::test_verbatim[aiohttp-b'/x?']") is None
