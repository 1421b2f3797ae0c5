"""What was observed, for people: as rows of a name and a text?"""

from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.silences import silence_after, silence_before
from sseproxy.probe.stream import Ending, Stream


def rows_of_stream(stream: Stream) -> list[tuple[str, str]]:
    """What came of one stream, and when."""
    kind = stream.field("content-type") or "no type"
    head = "none came" if stream.head_at is None else f"{stream.status}, {kind}, after {stream.head_at:.2f} s"
    if stream.coding:
        head += f", {stream.coding}-coded"
    first, interval = stream.first_byte_at, stream.heartbeat_interval
    beats = str(len(stream.heartbeats)) + (f", every {interval:.1f} s" if interval is not None else "")
    ending = "cleanly" if stream.ending is Ending.CLEAN else str(stream.ending)
    if stream.ending is Ending.OPEN:
        end = f"is still open after {stream.seconds:.1f} s, when the probe left"
    else:
        end = f"{ending}, after {stream.seconds:.1f} s"
    return [
        ("head", head),
        ("first byte", "none came" if first is None else f"after {first:.2f} s"),
        ("events", f"{len(stream.events)}, in {len(stream.reads)} reads"),
        ("heartbeats", beats),
        ("longest silence", f"{stream.longest_silence:.1f} s"),
        ("end", end),
    ]


def rows_of_chain(chain: Chain) -> list[tuple[str, str]]:
    """What was measured of a chain."""
    return [
        ("silence before the head", _silence(chain, silence_before(chain))),
        ("silence behind the head", _silence(chain, silence_after(chain))),
        ("heartbeats in it", str(len(chain.after.heartbeats))),
        ("a break of the service", "looks whole" if chain.broken.ending is Ending.CLEAN else "is seen as one"),
        ("disconnect before the head", _notice(chain.left_before)),
        ("disconnect behind the head", _notice(chain.left_after)),
        ("the service is asked in", chain.version or "unknown"),
    ]


def _silence(chain: Chain, cut: float | None) -> str:
    return f"may last {chain.silence:g} s at least" if cut is None else f"is cut after {cut:.1f} s"


def _notice(noticed: Noticed | None) -> str:
    if noticed is None:
        return "not measured"
    if noticed.after is None:
        return f"does not reach the service within {noticed.limit:g} s"
    return f"reaches the service after {noticed.after:.2f} s"
