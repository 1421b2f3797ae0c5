"""What does the live list say of one response on its way, and of one run?"""

from typing import TYPE_CHECKING

from sseproxy.engine.live import LiveStream

if TYPE_CHECKING:
    from sseproxy.runs.live_run import LiveRun


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
        "run": None if stream.journal is None else stream.journal.run,
    }


def run_row(run: "LiveRun", *, unread_since: float | None, now: float) -> dict[str, object]:
    """Return the same of a run. unread_since: when its last reader has gone; ``None`` if it does not go on without."""
    traffic, plan = run.producer.traffic, run.producer.plan
    last = traffic.last_upstream_at
    return {
        "route": run.belongs.route,
        "kind": run.belongs.policy.kind.value,
        "state": run.state.phase.value,
        "reason": None if run.state.end is None else run.state.end.reason.value,
        "readers": run.attended,
        "age": round(now - run.started_at, 3),
        "events": traffic.events,
        "bytes": traffic.bytes,
        "kept_bytes": run.state.window.bytes,
        "last_upstream_byte": None if last is None else round(now - last, 3),
        "silence": round(now - (run.started_at if last is None else last), 3) if run.producer.is_busy else None,
        "silence_limit": plan.timeouts.idle_of(is_answer=plan.is_answer),
        "unread": None if unread_since is None else round(now - unread_since, 3),
    }
