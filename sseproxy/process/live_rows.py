"""What does the live list say of one response on its way?"""

from sseproxy.engine.live import LiveStream


def row(stream: LiveStream, *, now: float) -> dict[str, object]:
    """Return the fields of docs/operations.md but for the id, in seconds and bytes."""
    stats, plan = stream.stats, stream.plan
    silence = now - stats.last_upstream_at
    return {
        "route": stream.route,
        "peer": stream.client,
        "path": stream.path,
        "request_id": stream.request_id,
        "phase": stream.phase.value,
        "dialect": None if stream.dialect is None else stream.dialect.value,
        "age": round(now - stream.started_at, 3),
        "events": stats.events,
        "bytes": stats.bytes_out,
        "heartbeats": stats.heartbeats,
        "last_upstream_byte": None if stats.first_byte_at is None else round(silence, 3),
        "silence": round(silence, 3),
        "longest_silence": round(max(stats.longest_silence, silence), 3),
        "heartbeat_interval": None if plan is None else plan.heartbeat.interval,
        "silence_limit": stream.silence_limit,
        "journal": None if stream.journal is None else str(stream.journal),
    }
