"""Would the tests of the journal notice? One thing at a time is broken in a copy of the package, and has to be found.

    python -m tests.sim.mutations --only login

Where no other test is named, it is the simulation that must find it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HISTORIES = 10_000


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule, and how it is broken: `old` stands in `file` once. found_by: tests; none: the simulation."""

    rule: str
    file: str
    old: str
    new: str
    found_by: tuple[str, ...] = ()


_FANOUT, _PLACE = "journal/fanout.py", "journal/place.py"
_RUN, _LIVE, _DESK, _PRODUCER = "core/journal/run.py", "runs/live_run.py", "runs/desk.py", "runs/producer.py"

MUTATIONS = [
    Mutation(
        "no wait between the end of a replay and what is live",
        _FANOUT,
        "        member.slot = len(self._live)\n        self._live.append(member)\n        self._catch_up(member)\n",
        "        def later() -> None:\n"
        "            member.slot = len(self._live)\n"
        "            self._live.append(member)\n\n"
        "        self._loop.call_soon(later)\n"
        "        self._catch_up(member)\n",
    ),
    Mutation(
        "a reader is live before the producer goes on",
        _PLACE,
        "                self.standing = Standing.LIVE\n                if not self.fanout.enter(self):\n"
        "                    self.standing = Standing.LAGGING\n",
        "                if self.fanout.enter(self):\n                    self.standing = Standing.LIVE\n",
    ),
    Mutation(
        "the list of readers is not changed while it is iterated",
        _FANOUT,
        "        while todo and left:\n            left -= 1\n            member = todo.pop()\n",
        "        for member in todo:\n            left -= 1\n",
        ("tests/journal",),
    ),
    Mutation(
        "a gap is told once",
        "journal/reader.py",
        "        sink.receive_data(gap_event(self._flavour.gap, missing, from_position=self._named, id=position))\n",
        "        event = gap_event(self._flavour.gap, missing, from_position=self._named, id=position)\n"
        "        sink.receive_data(event + event)\n",
    ),
    Mutation(
        "behind a gap a reader goes on at the oldest kept",
        _PLACE,
        "        return Step((gap,), Spot(window.epoch, window.base))\n",
        "        return Step((gap,), window.end)\n",
    ),
    Mutation(
        "behind an unknown position, too",
        _DESK,
        "        return Join(newest, newest.state.window.base, missing)\n",
        "        return Join(newest, newest.state.window.top, missing)\n",
    ),
    Mutation(
        "what is loose belongs to the window",
        "core/journal/window.py",
        "        if self.loose is not None:\n            self.settle()\n        return self._top\n",
        "        return self._top\n",
    ),
    Mutation(
        "what is loose comes before what follows",
        "core/journal/window.py",
        "        if self.loose is not None:\n            self.settle()\n        self._keep(block, now)\n",
        "        self._keep(block, now)\n",
        ("tests/core/journal",),
    ),
    Mutation(
        "a reader has had what is loose",
        _FANOUT,
        "            for member in self._live:\n                member.spot = self._at\n",
        "",
    ),
    Mutation(
        "the live readers have had what is loose",
        _FANOUT,
        "            self._at = Spot(self._at.epoch, loose.handed)\n",
        "",
    ),
    Mutation(
        "who lags ends what is loose",
        _FANOUT,
        "        self.tighten()\n        self._take_out(member)\n        self._behind.add(member)\n",
        "        self._take_out(member)\n        self._behind.add(member)\n",
    ),
    Mutation(
        "who leaves ends what is loose",
        _FANOUT,
        "        self.tighten()\n        self._take_out(member)\n        self._ahead.discard(member)\n",
        "        self._take_out(member)\n        self._ahead.discard(member)\n",
    ),
    Mutation(
        "the connection's end ends what is loose",
        "core/journal/intake.py",
        "        self._loose.close()\n",
        "",
        ("tests/core/journal",),
    ),
    Mutation(
        "nothing is trimmed that has to be kept",
        "core/journal/window.py",
        "            is_within = self.events <= limits.events and self.bytes <= limits.bytes\n",
        "            is_within = self.events < limits.events and self.bytes <= limits.bytes\n",
    ),
    Mutation(
        "a break that was trimmed is no event that was lost",
        "core/journal/window.py",
        "                self.broken = entry.last\n",
        "                pass\n",
    ),
    Mutation(
        "the end is an entry", _RUN, "            self.seq += 1\n            self.end = ", "            self.end = "
    ),
    Mutation(
        "what comes late has no end of its own",
        _RUN,
        "        if self.end is None:\n            self.seq",
        "        if True:\n            self.seq",
        ("tests/core/journal", "tests/runs", "tests/proxy/journal"),
    ),
    Mutation(
        "a stop closes the upstream", _LIVE, "        self.producer.release(reason)\n        end = ", "        end = "
    ),
    Mutation(
        "the beginning of an answer is there, or it is gone",
        _DESK,
        "        if run.is_answer and base != run.first_mark:\n            return Gone()\n",
        "",
    ),
    Mutation(
        "the login is part of the digest",
        "core/journal/identity.py",
        "policy.kind.encode()), _names(policy.login), login, _names",
        "policy.kind.encode()), _names(policy.login), (), _names",
    ),
    Mutation(
        "a run of another scope is as none",
        _DESK,
        "        return run if compare_digest(shown, wanted) else None\n",
        "        return run if compare_digest(wanted, wanted) else None\n",
    ),
    Mutation(
        "a position that its run has not reached is unknown",
        _RUN,
        "        return mark[0] <= self.token and mark[1] <= self.seq\n",
        "        return True\n",
    ),
    Mutation(
        "the first place of an own id counts",
        "core/journal/own_places.py",
        "            self._later.setdefault(own_id, deque()).append(mark)\n",
        "            self._first[own_id] = mark\n",
        ("tests/core/journal/test_own_places.py",),
    ),
    Mutation(
        "an own id keeps its later places",
        "core/journal/own_places.py",
        "            if others is None:\n",
        "            if others is None or later.pop(own_id):\n",
    ),
    Mutation(
        "what an upstream repeats is dropped",
        _RUN,
        "            self._is_repeating = self.own_ids.are_unique\n            return None\n",
        "            return None\n",
    ),
    Mutation(
        "where ids occur again nothing is dropped",
        "core/journal/own_places.py",
        "            self.are_unique = False\n",
        "",
        ("tests/core/journal/test_repeated_ids.py",),
    ),
    Mutation(
        "what an upstream has not gone on with is told",
        _RUN,
        "        self.seq += 1\n        return Break(self.mark, before, Missing(GapReason.UPSTREAM))\n",
        "        return None\n",
    ),
    Mutation(
        "a joiner stops the clock of a run without readers",
        _LIVE,
        "            self._cancel_detach()\n            self._host.attended(self)\n        return Attendance",
        "            self._host.attended(self)\n        return Attendance",
    ),
    Mutation(
        "a feed that is woken is not forgotten",
        _LIVE,
        "            self._host.attended(self)\n            self.producer.wake",
        "            self.producer.wake",
    ),
    Mutation("a feed that is woken writes with another token", _PRODUCER, "        self._state.claimed(token)\n", ""),
    Mutation(
        "a client that was let in does not stay at a feed that sleeps",
        "runs/joining.py",
        "    if run.state.phase is RunPhase.ASLEEP:\n",
        "    if run.state.phase is RunPhase.REFUSED:\n",
    ),
    Mutation(
        "readers of an answer hold it back",
        _LIVE,
        "is_counted=True, is_held=is_answer)",
        "is_counted=True, is_held=False)",
    ),
    Mutation(
        "one request opens a feed",
        _DESK,
        "        if old is not None and may_join and old.state.is_under_way:\n            return old",
        "        if old is None and may_join:\n            return old",
        ("tests/runs", "tests/proxy/journal"),
    ),
    Mutation(
        "the run before is asked for when there is room",
        _DESK,
        "        before = None if policy.is_by_run else await self.store.find(belongs.scope)\n        name",
        "        before = None if policy.is_by_run or old is None else old.name\n        name",
    ),
    Mutation(
        "runs are forgotten when their time is over",
        _DESK,
        "        self._expiries[run] = self.clock.call_at(at, lambda: self.forget(run))\n",
        "        self._expiries[run] = self.clock.call_at(at, lambda: None)\n",
    ),
    Mutation(
        "a head is kept without what belongs to one response",
        "proxy/journal/upstream.py",
        'frozenset((b"set-cookie", b"date"))',
        'frozenset((b"date",))',
        ("tests/proxy/journal/test_joining.py",),
    ),
    Mutation(
        "a snapshot is read once",
        "stores/snapshot.py",
        "        path.unlink()\n",
        "        path.exists()\n",
        ("tests/stores/test_snapshot.py",),
    ),
]


def is_noticed(mutation: Mutation | None, found_by: tuple[str, ...]) -> bool:
    """Return whether the simulation, or the tests of `found_by`, fail in a copy of the package with `mutation`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("sseproxy", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutation is not None:
            source = copy / "sseproxy" / mutation.file
            text = source.read_text(encoding="utf-8")
            assert text.count(mutation.old) == 1, f"{mutation.file} has changed: {mutation.rule}"
            source.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        command = [sys.executable, "-W", "ignore", "-m", "tests.sim.simulate", "--histories", str(HISTORIES)]
        if found_by:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *found_by]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
        return done.returncode != 0


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="break the journal, and see whether it is noticed", allow_abbrev=False)
    parser.add_argument("--only", default="", help="rules that have this in their words")
    options = parser.parse_args()
    mutations = [mutation for mutation in MUTATIONS if options.only in mutation.rule]
    for found_by in sorted({mutation.found_by for mutation in mutations}):
        if is_noticed(None, found_by):
            print("fails without any mutation:", *(found_by or ("the simulation",)))
            return 1
    left = 0
    for mutation in mutations:
        is_left = not is_noticed(mutation, mutation.found_by)
        left += is_left
        print("SURVIVES" if is_left else "found   ", mutation.rule, flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
