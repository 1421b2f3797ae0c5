"""Does a short soak, with the same dice each time, find each message exactly once? `make push-soak` is the long one."""

from tests.push.soak import Plan, soak


async def test_each_message_comes_once_or_its_gap_is_said() -> None:
    outcome = await soak(Plan(messages=7_000, seed=12, users=20, rate=250.0, pause=(9.0, 12.0), longest=4.0))
    assert outcome.wrong == [], outcome.summary
    assert outcome.owed > 50, outcome.summary
