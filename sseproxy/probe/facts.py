"""What was observed, for programs: as JSON?"""

from collections.abc import Mapping
from typing import Any

from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.silences import silence_after, silence_before
from sseproxy.probe.stream import Stream


def facts_of_stream(stream: Stream) -> dict[str, Any]:
    """What came of one stream, and when."""
    events, heartbeats = stream.events, stream.heartbeats
    return {
        "status": stream.status,
        "content_type": stream.field("content-type"),
        "content_encoding": stream.coding,
        "head_seconds": _rounded(stream.head_at),
        "first_byte_seconds": _rounded(stream.first_byte_at),
        "events": len(events),
        "reads": len(stream.reads),
        "heartbeats": len(heartbeats),
        "heartbeat_interval": _rounded(stream.heartbeat_interval),
        "longest_silence": _rounded(stream.longest_silence),
        "ending": str(stream.ending),
        "ended_seconds": _rounded(stream.seconds),
    }


def facts_of_chain(chain: Chain) -> dict[str, Any]:
    """What was measured of a chain."""
    return {
        "silence_seconds": chain.silence,
        "cut_before_head": _rounded(silence_before(chain)),
        "cut_after_head": _rounded(silence_after(chain)),
        "status_before_head": chain.before.status,
        "ending_after_head": str(chain.after.ending),
        "ending_of_a_break": str(chain.broken.ending),
        "round_trip": _rounded(chain.round_trip),
        "origin_saw_version": chain.version,
        "origin_saw_fields": dict(chain.request_fields),
        "heartbeats_in_silence": len(chain.after.heartbeats),
        "disconnect_before_head": _facts_of_notice(chain.left_before),
        "disconnect_after_head": _facts_of_notice(chain.left_after),
    }


def _facts_of_notice(noticed: Noticed | None) -> Mapping[str, Any] | None:
    if noticed is None:
        return None
    return {
        "noticed_after": _rounded(noticed.after),
        "limit": noticed.limit,
        "noticed_after_while_writing": None if noticed.while_writing is None else _rounded(noticed.while_writing.after),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
