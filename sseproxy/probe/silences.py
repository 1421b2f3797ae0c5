"""How long was the service silent when the chain ended its answer, and how much silence does the chain bear?"""

# The plan: the origin of `sseproxy probe --serve` says when it sends, so its silence counts from there, not from what
# arrives last. It answers at once, so what it sends first is sent within one round trip of the request.
#
# 1. A silence is never shorter than what the client saw, and never longer than the request.
# 2. A limit is given only where nothing else explains the end: a third of a wrong time is a wrong setting.
# 3. An event that is not the origin's, and comes last, is a hop's word for the end; its break may come later.
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


def ended_at(stream: Stream, step: float) -> float:
    """Return when the chain ended a stream: with the event that a hop adds to say so, else with the connection."""
    last = stream.events[-1] if stream.events else None
    return last.at if last is not None and last.at > step and sent_at(last) is None else stream.seconds


def silence_after(chain: Chain) -> float | None:
    """Return after how many seconds of the service's silence the chain ended the stream; None if it did not."""
    after = chain.after
    if is_whole(after):
        return None
    ended = ended_at(after, chain.step)
    return ended - min((chain.round_trip, ended, *after.arrivals))


def beats_in(chain: Chain) -> int:
    """Return how many heartbeats came in the service's silence, without what a hop sends with the head."""
    return sum(beat.at > chain.step for beat in chain.after.heartbeats)


def lifetime_of(chain: Chain) -> float | None:
    """Return after how many seconds the chain ended a stream that was not silent; None if it did not."""
    plain, after = chain.plain, silence_after(chain)
    if is_whole(plain) or not plain.events:
        return None
    ended = ended_at(plain, chain.step)
    sent = [at + chain.round_trip for event in plain.events if (at := sent_at(event)) is not None]
    silence = ended - min(max(sent, default=ended), *plain.arrivals[-1:])
    return ended if after is None or silence < _SAME * after else None


def is_of_lifetime(chain: Chain) -> bool:
    """True if the silent stream may have ended by the limit of the whole response."""
    lifetime = lifetime_of(chain)
    return lifetime is not None and chain.after.seconds >= _SAME * lifetime


def limit_after(chain: Chain) -> float | None:
    """Return how many seconds without a byte the chain bears behind the head; None if that is not known."""
    # It did not end, or ended although bytes came.
    if chain.after.ending is Ending.OPEN or beats_in(chain) or is_of_lifetime(chain):
        return None
    return silence_after(chain)


def limit_of(stream: Stream) -> float | None:
    """Return the silence at the end of one stream, in seconds; None if it has survived one as long before."""
    before = [later - earlier for earlier, later in itertools.pairwise(stream.arrivals)]
    return stream.last_silence if stream.last_silence > _LONGER * max(before, default=0.0) else None
