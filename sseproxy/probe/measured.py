"""What was measured of a chain that has the probe's origin behind it?"""

from collections.abc import Mapping
from dataclasses import field

from sseproxy.core.frozen import frozen
from sseproxy.probe.stream import Stream


@frozen
class Noticed:
    """How soon the origin learned that the client had left. after: in seconds, None if not within `limit`.

    while_writing: the same while the origin writes an event each step; measured only if it learned nothing in silence.
    """

    after: float | None
    limit: float
    while_writing: "Noticed | None" = None


@frozen
class Chain:
    """All that was measured. silence: how long the origin was silent in `before` and `after`.

    version: of HTTP, in which the last hop asked the origin. request_fields: by which hops showed there. round_trip: of
    a small answer, in seconds. plain, hinted: the same known events, without and with a word against buffering.
    before, after: silences. broken: the origin broke off. left_before, left_after: the client left in a silence; None
    if that could not be measured.
    """

    silence: float
    step: float
    round_trip: float
    version: str
    plain: Stream
    hinted: Stream
    before: Stream
    after: Stream
    broken: Stream
    left_before: Noticed | None = None
    left_after: Noticed | None = None
    request_fields: Mapping[str, str] = field(default_factory=dict)
