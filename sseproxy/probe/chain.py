"""What is done to find out about a chain that has our own origin behind it?"""

import asyncio
import json
import secrets
import statistics
from collections.abc import Mapping

from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.script import FIELD, KNOWN_EVENTS, LEAD, Act, Script
from sseproxy.probe.stream import Ending, Stream
from sseproxy.probe.target import Target
from sseproxy.probe.watching import Listener, watch

#: Steps in the shortest time that is enough for all that is known to be sent.
_STEPS = 15
# Longer than a corked socket waits, which is 0.2 s on Linux.
_SHORTEST_STEP, _LONGEST_STEP = 0.25, 0.5
_PINGS = 3
_NOTICE_LIMIT = 5.0
_ASK_AGAIN = 0.1
# What is still open so long after its end was due will not end.
_GRACE = 5.0


def is_from_origin(stream: Stream) -> bool:
    """True if the origin of ``sseproxy probe --serve`` has answered."""
    return bool(stream.field(FIELD.lower()))


def with_script(target: Target, script: Script) -> Target:
    """The request that asks the origin for `script`. Another service does not know the field."""
    return target.with_field(FIELD, str(script))


class Examination:
    """Measures one chain, all of it side by side. total: seconds of the longest silence."""

    def __init__(self, target: Target, total: float, listener: Listener | None) -> None:
        self._target = target
        self._total = total
        self._step = max(_SHORTEST_STEP, min(_LONGEST_STEP, total / _STEPS))
        self._listener = listener

    async def run(self) -> Chain:
        """Measure. Raises `Unreachable`."""
        pings = [await self._watch(Script(Act.PING)) for _ in range(_PINGS)]
        facts = _facts_of(pings[-1])
        total, step = self._total, self._step
        known = (LEAD + KNOWN_EVENTS) * step
        scripts = (
            Script(Act.STEADY, seconds=total, step=step),
            Script(Act.STEADY, seconds=known, step=step, hints=True),
            Script(Act.BEFORE, seconds=total, step=step),
            Script(Act.AFTER, seconds=total, step=step),
            Script(Act.BROKEN, step=step),
        )
        async with asyncio.TaskGroup() as tasks:
            streams = [tasks.create_task(self._watch(script)) for script in scripts]
            left_before = tasks.create_task(self._leave(Act.BEFORE))
            left_after = tasks.create_task(self._leave(Act.AFTER))
        plain, hinted, before, after, broken = (task.result() for task in streams)
        fields = facts.get("fields")
        return Chain(
            silence=total,
            step=step,
            round_trip=statistics.median(ping.first_byte_at or ping.seconds for ping in pings),
            version=str(facts.get("version", "")),
            plain=plain,
            hinted=hinted,
            before=before,
            after=after,
            broken=broken,
            left_before=left_before.result(),
            left_after=left_after.result(),
            request_fields=fields if isinstance(fields, dict) else {},
        )

    async def _watch(self, script: Script, *, leave_after: float | None = None) -> Stream:
        limit = script.seconds + script.lead + _GRACE if leave_after is None else leave_after
        return await watch(with_script(self._target, script), limit=limit, listener=self._listener)

    async def _leave(self, act: Act) -> Noticed | None:
        in_silence = await self._notice(act)
        if in_silence is None or in_silence.after is not None or act is Act.BEFORE:
            return in_silence
        return Noticed(None, in_silence.limit, while_writing=await self._notice(Act.STEADY))

    async def _notice(self, act: Act) -> Noticed | None:
        """Leave in the middle, and ask the origin until it has noticed. None: something else ended it before."""
        clock = asyncio.get_running_loop().time
        visit = secrets.token_hex(8)
        limit = min(_NOTICE_LIMIT, self._total)
        # So that the origin's silence outlasts the wait.
        script = Script(act, seconds=self._total + 2 * limit, step=self._step, visit=visit)
        stream = await self._watch(script, leave_after=(LEAD + 1) * self._step)
        left = clock()
        if stream.ending is not Ending.OPEN:
            return None
        while clock() - left < limit:
            facts = _facts_of(await self._watch(Script(Act.PING, of=visit)))
            seen = facts.get("visit")
            if not isinstance(seen, dict):
                return None  # another replica of the origin answered
            if isinstance(ago := seen.get("ago"), int | float):
                return Noticed(max(0.0, clock() - left - ago), limit)
            await asyncio.sleep(_ASK_AGAIN)
        return Noticed(None, limit)


def _facts_of(ping: Stream) -> Mapping[str, object]:
    try:
        facts = json.loads(ping.beginning)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
