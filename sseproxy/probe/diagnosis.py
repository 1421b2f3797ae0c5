"""What is wrong with a chain, judged by what was observed?

Observations go in, findings come out; no clock and no network.
"""

import itertools
import statistics
from collections.abc import Collection, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.probe.cures import Cure, Fault, cures_of
from sseproxy.probe.hops import Hop, Seen, hops_in, named
from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.script import KNOWN_EVENTS, LEAD
from sseproxy.probe.silences import (
    beats_in,
    is_of_lifetime,
    lifetime_of,
    limit_after,
    limit_of,
    sent_at,
    silence_after,
    silence_before,
)
from sseproxy.probe.stream import Ending, Stream

#: Seconds for which a byte may be under way longer than another before that is a fault.
_DELAY = 0.15
#: Seconds after which the origin should know that the client has left.
_NOTICE = 1.5
#: Seconds of silence after which an end is laid to a limit of silence.
_SILENCE = 5.0
#: So many of the known events have to be late: one may be by chance.
_LATE_EVENTS = 3
#: Seconds between two bursts, and inside one.
_PAUSE, _BURST = 0.5, 0.02
#: Seconds of waiting after which it is strange that all events come at once.
_WAIT = 2.0
#: Events in one burst that are no chance.
_CROWD = 4
_GATEWAY_STATUS = frozenset((408, 499, 502, 503, 504, 522, 524, 598, 599))


@frozen
class Finding:
    """A fault, what it looked like, and what to change."""

    fault: Fault
    what: str
    cures: tuple[Cure, ...] = ()


def hops_of(stream: Stream) -> tuple[Seen, ...]:
    """Return the hops that a response shows."""
    return hops_in(stream.fields, stream.beginning if stream.status != 200 else "")


def hops_of_chain(chain: Chain) -> tuple[Seen, ...]:
    """Return the hops that show in any response of a chain, or in the requests that came out of it."""
    streams = (chain.plain, chain.hinted, chain.before, chain.after, chain.broken)
    found = [*hops_in(named(chain.request_fields)), *(seen for stream in streams for seen in hops_of(stream))]
    return tuple({seen.hop: seen for seen in reversed(found)}.values())


# A stream of a service that we know nothing about.


def diagnose_stream(stream: Stream) -> tuple[Finding, ...]:
    """Return what is wrong with one response."""
    hops = {seen.hop for seen in hops_of(stream)}
    if stream.head_at is None:
        return (_without_head(stream, hops),)
    if stream.status != 200:
        return (_with_status(stream, hops),)
    if not stream.is_event_stream:
        kind = stream.media_type or "of no stated type"
        found = [_finding(Fault.NOT_A_STREAM, f"the answer is no event stream: it is {kind}", ())]
    else:
        found = arrival_of(stream, hops)
    return (*found, *end_of(stream, hops))


def _without_head(stream: Stream, hops: Collection[Hop]) -> Finding:
    after = f"after {stream.seconds:.1f} s"
    if stream.ending is Ending.NOT_HTTP:
        return _finding(Fault.NOT_HTTP, "what answers there speaks no HTTP", hops)
    if stream.ending is Ending.OPEN:
        return _finding(Fault.NO_RESPONSE, f"no response head came within {stream.seconds:.1f} s", hops)
    if stream.seconds >= _SILENCE:
        return _finding(Fault.CUT_BEFORE_HEAD, f"the connection {_words(stream)} {after} of silence", hops)
    return _finding(Fault.NO_RESPONSE, f"the connection {_words(stream)} {after}", hops)


def _with_status(stream: Stream, hops: Collection[Hop]) -> Finding:
    head_at = stream.head_at or 0.0
    if stream.status in (504, 524) or (stream.status in _GATEWAY_STATUS and head_at >= _SILENCE):
        what = f"a gateway answered {stream.status} after {head_at:.1f} s in which the service said nothing"
        return _finding(Fault.CUT_BEFORE_HEAD, what, hops)
    return _finding(Fault.ERROR_STATUS, f"the answer is {stream.status}, after {head_at:.1f} s", ())


def arrival_of(stream: Stream, hops: Collection[Hop]) -> list[Finding]:
    """Judge whether events come one by one."""
    lump = lump_of(stream)
    if lump is None:
        return []
    what = f"events arrive in lumps: {lump}; a hop collects them, or the service sends them so"
    if stream.coding:
        return [_finding(Fault.COMPRESSED, f"{what} (the response is {stream.coding}-coded)", hops)]
    return [_finding(Fault.LUMPS, what, hops)]


def lump_of(stream: Stream) -> str | None:
    """Say how events come together; None if they come one by one, or too few came to tell."""
    bursts = bursts_of([event.at for event in stream.events])
    sizes = [len(burst) for burst in bursts]
    if sum(sizes) < _CROWD:
        return None
    if len(bursts) == 1:
        # Without a wait it is a short answer; without an end it is what a feed had in store.
        waited = bursts[0][0] if stream.ending is Ending.CLEAN else 0.0
        return f"all {sizes[0]} at once after {waited:.1f} s" if waited >= _WAIT else None
    pauses = [after[0] - before[-1] for before, after in itertools.pairwise(bursts)]
    if statistics.median(sizes) >= _CROWD and statistics.median(pauses) >= _PAUSE:
        return f"{sum(sizes)} in {len(bursts)} bursts"
    return None


def bursts_of(times: Sequence[float]) -> list[list[float]]:
    """Return `times` in groups: what came with the first of a group, or right behind it.

    Counted from the first one, so that a model that writes a hundred words a second is no single burst.
    """
    bursts: list[list[float]] = []
    for at in times:
        if bursts and at - bursts[-1][0] <= _BURST:
            bursts[-1].append(at)
        else:
            bursts.append([at])
    return bursts


def end_of(stream: Stream, hops: Collection[Hop]) -> list[Finding]:
    """Judge how a stream ended."""
    found = []
    if stream.ending not in (Ending.CLEAN, Ending.OPEN):
        silence = stream.last_silence
        if silence >= _SILENCE and silence >= 0.8 * stream.longest_silence:
            what = f"the stream {_words(stream)} after {silence:.1f} s of silence"
            found.append(Finding(Fault.CUT_AFTER_HEAD, what, cures_of(Fault.CUT_AFTER_HEAD, hops, limit_of(stream))))
        else:
            what = f"the stream {_words(stream)} after {stream.seconds:.1f} s"
            if silence <= _BURST and min(stream.arrivals, default=0.0) >= _SILENCE:
                what += "; all of it came only then: a hop may hold it back, so the service's silence is not known"
            else:
                what += ", in the middle"
            found.append(_finding(Fault.BROKEN_OFF, what, hops))
    if stream.closes:
        what = "only the end of the connection ends the response: half of it looks whole"
        found.append(_finding(Fault.HTTP10, what, hops))
    return found


# A chain with the origin of `sseproxy probe --serve` behind it.


def diagnose_chain(chain: Chain) -> tuple[Finding, ...]:
    """Return what is wrong with a chain."""
    hops = {seen.hop for seen in hops_of_chain(chain)}
    found = [
        *of_known_events(chain, hops),
        *of_silences(chain, hops),
        *of_ends(chain, hops),
        *of_disconnects(chain, hops),
    ]
    return tuple({finding.fault: finding for finding in found}.values())


def delays(stream: Stream) -> list[float]:
    """Return how long each known event was under way, in seconds, the way of the request included."""
    return [event.at - at for event in stream.events if (at := sent_at(event)) is not None]


def is_lumped(stream: Stream, step: float) -> bool:
    """True if known events, sent a step apart, came together, or did not come."""
    under_way = delays(stream)
    if len(under_way) < _LATE_EVENTS:
        return stream.seconds > (LEAD + KNOWN_EVENTS) * step
    late = [delay for delay in under_way if delay - min(under_way) >= 1.5 * step]
    return len(late) >= _LATE_EVENTS


def is_head_held(stream: Stream, step: float) -> bool:
    """True if the head came with the first byte of the body, which was sent `LEAD` steps later."""
    if stream.head_at is None or stream.first_byte_at is None:
        return False
    half = LEAD * step / 2
    # A hop that sends heartbeats may add a first byte of its own to a head that came at once.
    return stream.head_at >= half and stream.first_byte_at - stream.head_at < half


def of_known_events(chain: Chain, hops: Collection[Hop]) -> list[Finding]:
    """Judge how the events came that were sent a step apart."""
    plain, hinted, step = chain.plain, chain.hinted, chain.step
    if not plain.is_event_stream and plain.head_at is not None:
        return list(diagnose_stream(plain))
    if is_lumped(plain, step):
        verdict = _with_hints(not is_lumped(hinted, step))
        if plain.coding or hinted.coding:
            what = f"events wait for each other in a compressor ({plain.coding or hinted.coding}){verdict}"
            return [_finding(Fault.COMPRESSED, what, hops)]
        return [_finding(Fault.LUMPS, f"events wait for each other in a buffer{verdict}", hops)]
    if is_head_held(plain, step):
        what = f"the response head waits for the first byte of the body{_with_hints(not is_head_held(hinted, step))}"
        if plain.coding:
            what += f"; the response is {plain.coding}-coded"
        return [_finding(Fault.HEAD_HELD, what, hops)]
    late = sorted(delays(plain)[:KNOWN_EVENTS])
    # Where each event drives out the one before it, every other one is in time.
    under_way = late[-_LATE_EVENTS] - chain.round_trip if len(late) >= _LATE_EVENTS else 0.0
    if under_way >= _DELAY:
        what = f"events are under way for {under_way:.2f} s longer than a small answer"
        return [_finding(Fault.DELAYED, what, hops)]
    return []


def _with_hints(is_cured: bool) -> str:
    if is_cured:
        return "; X-Accel-Buffering: no and Cache-Control: no-transform in the response cure it (sseproxy sends both)"
    return (
        "; X-Accel-Buffering: no and Cache-Control: no-transform in the response do not cure it: they do not reach the "
        "hop that does this (the first of two nginx takes X-Accel-Buffering away), or it does not heed them"
    )


def of_silences(chain: Chain, hops: Collection[Hop]) -> list[Finding]:
    """Judge how long silence and a whole stream may last."""
    found = []
    before, after, lifetime = silence_before(chain), silence_after(chain), lifetime_of(chain)
    if before is not None:
        what = f"a request {_answer_words(chain.before)} after {before:.1f} s of silence before the head"
        found.append(_finding(Fault.CUT_BEFORE_HEAD, what, hops))
    if after is not None:
        what = f"a stream {_answer_words(chain.after)} after {after:.1f} s of silence"
        if beats := beats_in(chain):
            what += f" of the service, although heartbeats came ({beats}): what ended it counts the service's silence"
        if is_of_lifetime(chain):
            what += ", perhaps by the limit of the whole response"
        if chain.after.ending is Ending.CLEAN and chain.after.status == 200:
            what += ", and half an answer looks whole"
        found.append(Finding(Fault.CUT_AFTER_HEAD, what, cures_of(Fault.CUT_AFTER_HEAD, hops, limit_after(chain))))
    if lifetime is not None:
        what = f"a stream {_words(chain.plain)} after {lifetime:.1f} s, although it was not silent"
        found.append(_finding(Fault.LIFETIME, what, hops))
    return found


def _answer_words(stream: Stream) -> str:
    return f"is answered with {stream.status}" if stream.status not in (None, 200) else _words(stream)


def of_ends(chain: Chain, hops: Collection[Hop]) -> list[Finding]:
    """Judge whether a client can distinguish a break from an end."""
    looks_whole = chain.broken.ending is Ending.CLEAN and chain.broken.status == 200
    if chain.version == "HTTP/1.0":
        what = "the last hop speaks HTTP/1.0 to the service"
        if looks_whole:
            what += ": an answer that breaks off looks like one that is whole"
        return [_finding(Fault.HTTP10, what, hops)]
    if looks_whole:
        what = "an answer that breaks off ends cleanly behind the chain: half of it looks whole"
        return [_finding(Fault.BREAK_LOOKS_WHOLE, what, hops)]
    return []


def of_disconnects(chain: Chain, hops: Collection[Hop]) -> list[Finding]:
    """Judge how soon the origin hears of clients that left."""
    found = []
    places = [(chain.left_before, "before the head"), (chain.left_after, "behind the head")]
    # Before the head the origin cannot write. What holds behind it will hold there.
    if chain.left_after is not None and _notice_fault(chain.left_after) is Fault.DISCONNECT_WHEN_WRITING:
        del places[0]
    for noticed, where in places:
        if noticed is not None and (fault := _notice_fault(noticed)) is not None:
            found.append(_finding(fault, f"{_notice_words(noticed)} (it left in a silence {where})", hops))
    return found


def _notice_fault(noticed: Noticed) -> Fault | None:
    if noticed.after is not None:
        return None if noticed.after <= _NOTICE else Fault.DISCONNECT_LATE
    writing = noticed.while_writing
    return Fault.DISCONNECT_WHEN_WRITING if writing is not None and writing.after is not None else Fault.DISCONNECT_LOST


def _notice_words(noticed: Noticed) -> str:
    if noticed.after is not None:
        return f"the service hears {noticed.after:.1f} s late that a client has left"
    words = f"the service does not hear within {noticed.limit:g} s that a client has left"
    if noticed.while_writing is not None and noticed.while_writing.after is not None:
        words += f", but after {noticed.while_writing.after:.1f} s if it writes meanwhile"
    return words


def _words(stream: Stream) -> str:
    return "ended cleanly" if stream.ending is Ending.CLEAN else str(stream.ending)


def _finding(fault: Fault, what: str, hops: Collection[Hop]) -> Finding:
    return Finding(fault, what, cures_of(fault, hops))
