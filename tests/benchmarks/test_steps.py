"""Do the steps that are measured one by one still run, as often as one likes?"""

import pytest

from benchmarks.steps import READS, Body, steps


@pytest.mark.parametrize(("body", "pieces"), [read[1:] for read in READS], ids=[read[0] for read in READS])
async def test_each_step_runs_again_and_again(body: Body, pieces: tuple[bytes, ...]) -> None:
    seen = 0
    for step in steps(body, pieces):
        for _ in range(3):
            step()
        seen += 1
    assert seen == 5
