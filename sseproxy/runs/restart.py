"""How do the runs of one process come into the next one?"""

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path

from sseproxy.core.journal.image import RunImage, RunOwner
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.runs.desk import Desk
from sseproxy.runs.terms import Belonging
from sseproxy.stores import snapshot
from sseproxy.stores.journal import RunTerms
from sseproxy.stores.journal_memory import MemoryJournalStore

_log = logging.getLogger("sseproxy")

#: Random bytes of the secret of digests, where none is configured.
_SECRET_BYTES = 32


class RunFile:
    """What `store.file` says. secret: of all digests of this process."""

    # The digests of runs are worth something only with the secret that made them. One that is configured stands in no
    # file, and what was made with it is found again by it alone; one that is not goes from process to process with the
    # runs. What cannot be found again is not read.

    def __init__(self, policy: StorePolicy, routes: Sequence[Route]) -> None:
        """Read the file, if it is there and of use; then it is gone. routes: of the runs that may come back."""
        self._path = None if policy.file is None else Path(policy.file)
        self._is_random = not policy.secret
        self.secret = policy.secret.encode() or secrets.token_bytes(_SECRET_BYTES)
        self._before: snapshot.Snapshot | None = None
        if self._path is None:
            return
        ages = (route.journal.keep.age for route in routes if route.journal is not None)
        before = snapshot.read(self._path, max_age=max(ages, default=0.0))
        if before is not None and bool(before.secret) != self._is_random:
            _log.warning("the runs in %s are lost: store.secret has come or gone since", self._path)
        elif before is not None:
            self.secret, self._before = before.secret or self.secret, before

    def restore(self, desk: Desk, routes: Sequence[Route]) -> None:
        """Let the desk have what the process before has left, of the routes that still have such a journal."""
        before, self._before = self._before, None
        if before is None or not isinstance(desk.store, MemoryJournalStore):
            return
        by_name = {route.name: route for route in routes}
        for image in before.images:
            owner, route = image.belongs, by_name.get(image.belongs.route)
            rested = image.rested + before.elapsed
            if route is None or (policy := route.journal) is None or policy.is_answer != owner.is_answer:
                continue
            if rested >= policy.keep.age:
                continue
            state = image.restored(now=desk.loop.time(), elapsed=before.elapsed)
            terms = RunTerms(owner.scope, owner.is_answer, policy.keep.age)
            desk.store.restore(
                image.name, terms, state.window, token=image.token, end=image.end, is_newest=owner.is_newest
            )
            belongs = Belonging(route.name, policy, route.limits, owner.scope, owner.login, owner.owner)
            desk.restore(state, belongs, rested=rested)
        _log.info("%d runs are back from %s", len(desk), self._path)

    async def write(self, desk: Desk) -> None:
        """Leave what has ended or sleeps to the next process. The last thing that is done with the runs."""
        if self._path is None:
            return
        images, now = [], desk.loop.time()
        for run in desk:
            if run.rested_at is None or run.state.head is None:
                continue
            belongs = run.belongs
            is_newest = await desk.store.find(belongs.scope) == run.name
            owner = RunOwner(
                belongs.route, belongs.scope, belongs.login, belongs.owner, run.is_answer, is_newest=is_newest
            )
            images.append(RunImage.of(run.state, owner, now=now, rested=now - run.rested_at))
        if snapshot.write(self._path, self.secret if self._is_random else b"", images):
            _log.info("%d runs are left in %s", len(images), self._path)
