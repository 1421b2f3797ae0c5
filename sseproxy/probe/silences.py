"""How long was the service silent when the chain ended its answer, and how much silence does the chain bear?"""

# The plan: the origin of `sseproxy probe --serve` says when it sends, so its silence counts from there, not from what
# arrives last. It answers at once, so what it sends first is sent within one round trip of the request.
#
# 1. A silence is never shorter than what the client saw, and never longer than the request.
# 2. A limit is given only where nothing else explains the end. A third of a wrong time is a wrong setting.
#
# Hazards: a hop that holds all back until it cuts (nginx with its defaults, gzip), so that head, events and end come
# together, or the events not at all; heartbeats that a hop adds; a limit of the whole response.

import itertools
import json

from sseproxy.probe.measured import Chain
from sseproxy.probe.stream import Ending, Mark, Stream

#: A silence by so much longer than the ones before it was not yet survived.
_LONGER = 1.1
#: Two silences that differ by less than this share may be one limit.
_SAME = 0.8


def is_whole(stream: Stream) -> bool:
    """True if the origin's last event came."""
    return any(event.name == "end" for event in stream.events)


def sent_at(event: Mark) -> float | None:
    """Return when the origin sent an event, in seconds after its head; None if the event does not say so."""
    try:
        return float(json.loads(event.data)["at"])
    except (ValueError, TypeError, KeyError):
        return None  # not one of those that were sent, or a hop has changed it


def silence_before(chain: Chain) -> float | None:
    """Return after how many seconds of silence before the head the chain ended the request; None if it did not."""
    before = chain.before
    if is_whole(before):
        return None
    # A head with 200 is not the end: a hop sent it early, and the service went on to be silent.
    return before.seconds if before.status in (None, 200) else before.head_at


def silence_after(chain: Chain) -> float | None:
    """Return after how many seconds of the service's silence the chain ended the stream; None if it did not."""
    after = chain.after
    return None if is_whole(after) else after.seconds - min((chain.round_trip, after.seconds, *after.arrivals))


def beats_in(chain: Chain) -> int:
    """Return how many heartbeats came in the service's silence, without what a hop sends with the head."""
    return sum(beat.at > chain.step for beat in chain.after.heartbeats)


def lifetime_of(chain: Chain) -> float | None:
    """Return after how many seconds the chain ended a stream that was not silent; None if it did not."""
    plain, after = chain.plain, silence_after(chain)
    if is_whole(plain) or not plain.events:
        return None
    sent = [at + chain.round_trip for event in plain.events if (at := sent_at(event)) is not None]
    silence = plain.seconds - min(max(sent, default=plain.seconds), max(plain.arrivals))
    return plain.seconds if after is None or silence < _SAME * after else None


def limit_after(chain: Chain) -> float | None:
    """Return how many seconds without a byte the chain bears behind the head; None if that is not known."""
    after, lifetime = chain.after, lifetime_of(chain)
    if after.ending is Ending.OPEN or beats_in(chain):
        return None  # it did not end, or ended although it was not silent on the wire
    if lifetime is not None and after.seconds >= _SAME * lifetime:
        return None
    return silence_after(chain)


def limit_of(stream: Stream) -> float | None:
    """Return the silence at the end of one stream, in seconds; None if it has survived one as long before."""
    before = [later - earlier for earlier, later in itertools.pairwise(stream.arrivals)]
    return stream.last_silence if stream.last_silence > _LONGER * max(before, default=0.0) else None
