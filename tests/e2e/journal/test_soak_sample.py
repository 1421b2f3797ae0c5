"""Does a short soak of the journal, with the same dice each time, keep its rules? `make journal-soak` is long."""

from tests.soak.soak import Plan, soak


async def test_clients_get_what_was_sent_once_and_in_order() -> None:
    plan = Plan(events=15_000, seed=5, readers=30, askers=16, rate=20.0, pause=(0.5, 1.5), quiet=12.0, deeds=7)
    outcome = await soak(plan)
    assert outcome.wrong == [], outcome.summary
    assert min(outcome.counts[kind] for kind in ("gap", "stopped", "failed", "fault", "aborted")) > 0, outcome.summary
