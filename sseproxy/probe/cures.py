"""Which directive of which hop cures which fault?"""

from collections.abc import Collection, Mapping
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.probe.hops import Hop


class Fault(StrEnum):
    """What can be wrong with a chain, or with what is asked for."""

    UNREACHABLE = "unreachable"
    NOT_HTTP = "not-http"
    NO_RESPONSE = "no-response"
    ERROR_STATUS = "error-status"
    NOT_A_STREAM = "not-a-stream"
    CUT_BEFORE_HEAD = "cut-before-head"
    CUT_AFTER_HEAD = "cut-after-head"
    LIFETIME = "lifetime"
    BROKEN_OFF = "broken-off"
    LUMPS = "lumps"
    COMPRESSED = "compressed"
    HEAD_HELD = "head-held"
    DELAYED = "delayed"
    HTTP10 = "http-1.0"
    BREAK_LOOKS_WHOLE = "break-looks-whole"
    DISCONNECT_LATE = "disconnect-late"
    DISCONNECT_WHEN_WRITING = "disconnect-when-writing"
    DISCONNECT_LOST = "disconnect-lost"


@frozen
class Cure:
    """What to change. hop: where, None: not at a hop. is_seen: the hop shows in this chain."""

    hop: Hop | None
    change: str
    is_seen: bool = False

    def __str__(self) -> str:
        return self.change if self.hop is None else f"{self.hop}: {self.change}"


_SILENCE: Mapping[Hop, str] = {
    Hop.NGINX: "proxy_read_timeout (60s unless set); in ingress-nginx the annotation proxy-read-timeout",
    Hop.HAPROXY: "timeout server and timeout client (timeout tunnel does not apply to event streams)",
    Hop.ALB: "the attribute idle_timeout.timeout_seconds (60 unless set)",
    Hop.CLOUDFLARE: "the read timeout of 100 to 120 s (524) can be raised on Enterprise plans only: send heartbeats",
    Hop.CADDY: "response_header_timeout and read_timeout in reverse_proxy's transport",
    Hop.ENVOY: "stream_idle_timeout (5m unless set), and the route's timeout: 0s",
    Hop.APACHE: "ProxyTimeout, or timeout= of ProxyPass",
    Hop.KONG: "read_timeout of the service (60000 ms unless set)",
    Hop.CLOUDFRONT: "the origin's response timeout (30 s unless set)",
    Hop.API_GATEWAY: "responseTransferMode: STREAM; its 29 s without it cannot be outlasted by heartbeats",
    Hop.GOOGLE: "timeoutSec of the backend service (30 unless set); it counts the whole response, no heartbeat helps",
    Hop.AZURE: "the origin response timeout of the profile (16 to 240 s)",
    Hop.HEROKU: "30 s for the first byte and 55 s between bytes are fixed: send heartbeats",
    Hop.VERCEL: "maxDuration, which counts the whole response",
    Hop.FASTLY: "first_byte_timeout and between_bytes_timeout of the backend",
    Hop.VARNISH: "first_byte_timeout and between_bytes_timeout of the backend, and return (pipe) for streams",
    Hop.SSEPROXY: "timeouts.response before the head and timeouts.idle behind it: they count the service's silence",
}

#: What keeps the field X-Accel-Buffering from the nginx that has to read it.
_ACCEL = (
    "for that field take out proxy_ignore_headers X-Accel-Buffering, and of two nginx in a row the inner one needs "
    "proxy_pass_header X-Accel-Buffering;"
)

_BUFFERING: Mapping[Hop, str] = {
    Hop.NGINX: f"proxy_buffering off, or the response field X-Accel-Buffering: no; {_ACCEL}",
    # Measured with 2.6.2: encode's own match, no-transform and flush_interval -1 leave the head where it is.
    Hop.CADDY: "@plain not header Accept text/event-stream, and encode @plain gzip: encode holds the head of what it "
    "may compress",
    Hop.APACHE: "flushpackets=on in ProxyPass, and no mod_deflate for text/event-stream",
    Hop.TRAEFIK: "no compress middleware for text/event-stream (excludedContentTypes)",
    Hop.CLOUDFLARE: "Quick Tunnels hold the response of a GET to its end: use a named tunnel",
    Hop.AZURE: "Response Buffer off in the backend setting",
    Hop.API_GATEWAY: "responseTransferMode: STREAM",
    Hop.VARNISH: "set beresp.do_stream = true, and no gzip for text/event-stream",
    Hop.KONG: "the service has to send X-Accel-Buffering: no",
}

_COMPRESSION: Mapping[Hop, str] = {
    Hop.NGINX: "gzip off for the location, or gzip_types without text/event-stream, or the response field "
    f"X-Accel-Buffering: no, which makes gzip flush (no-transform does not); {_ACCEL}",
    Hop.CADDY: "@plain not header Accept text/event-stream, and encode @plain gzip",
    Hop.HAPROXY: "compression type without text/event-stream",
    Hop.TRAEFIK: "excludedContentTypes: [text/event-stream] in the compress middleware",
    Hop.APACHE: "no AddOutputFilterByType DEFLATE for text/event-stream",
    Hop.CLOUDFLARE: "a compression rule for the path, or Cache-Control: no-transform in the response",
}

_DELAY: Mapping[Hop, str] = {
    Hop.HAPROXY: "option http-no-delay (without it each event may wait for 0.2 s)",
    Hop.NGINX: "tcp_nodelay on, which is the default",
    Hop.TRAEFIK: "responseForwarding.flushInterval (100ms unless set)",
}

_HTTP10: Mapping[Hop, str] = {
    Hop.NGINX: 'proxy_http_version 1.1; proxy_set_header Connection ""; (the default before 1.29.7 is 1.0)',
    Hop.APACHE: "no force-proxy-request-1.0",
}

_BREAKS: Mapping[Hop, str] = {
    Hop.NGINX: 'proxy_http_version 1.1; proxy_set_header Connection "";',
    Hop.CADDY: "2.8 or newer: older ones end the response cleanly when the service breaks off",
}

_DISCONNECTS: Mapping[Hop, str] = {
    Hop.HAPROXY: "it notices only when the service writes, and no option changes that: send heartbeats",
    Hop.CADDY: "no flush_interval -1 before 2.9: with it the service does not hear of clients that left",
    Hop.NGINX: "proxy_ignore_client_abort off, which is the default",
}

_LIFETIMES: Mapping[Hop, str] = {
    Hop.ENVOY: "timeout: 0s of the route (15s unless set)",
    Hop.GOOGLE: "timeoutSec of the backend service (30 unless set)",
    Hop.API_GATEWAY: "29 s, or 15 min with responseTransferMode: STREAM",
    Hop.VERCEL: "maxDuration",
    Hop.SSEPROXY: "timeouts.max_duration, or the deadline of the request",
}

_AT_HOPS: Mapping[Fault, Mapping[Hop, str]] = {
    Fault.CUT_BEFORE_HEAD: _SILENCE,
    Fault.CUT_AFTER_HEAD: _SILENCE,
    Fault.LIFETIME: _LIFETIMES,
    Fault.LUMPS: _BUFFERING,
    Fault.HEAD_HELD: _BUFFERING,
    Fault.COMPRESSED: _COMPRESSION,
    Fault.DELAYED: _DELAY,
    Fault.HTTP10: _HTTP10,
    Fault.BREAK_LOOKS_WHOLE: _BREAKS,
    Fault.DISCONNECT_LATE: _DISCONNECTS,
    Fault.DISCONNECT_WHEN_WRITING: _DISCONNECTS,
    Fault.DISCONNECT_LOST: _DISCONNECTS,
}

_ANYWHERE: Mapping[Fault, str] = {
    Fault.CUT_BEFORE_HEAD: "sseproxy in front of the service, with heartbeat.before_response below that time",
    Fault.LIFETIME: "no heartbeat moves this limit: raise it, or end streams before it with timeouts.max_duration",
    Fault.LUMPS: "X-Accel-Buffering: no and Cache-Control: no-transform in the response; sseproxy adds both",
    Fault.HEAD_HELD: "sseproxy's heartbeat.prelude: true, which sends a byte with the head",
    Fault.DISCONNECT_WHEN_WRITING: "sseproxy in front of the service: its heartbeats find out",
    Fault.BROKEN_OFF: "look for what restarts, crashes or limits the service; its log and each hop's say who closed",
    Fault.NOT_A_STREAM: "--header, --method and --data, if the service streams only when it is asked to",
    Fault.ERROR_STATUS: "--header 'Authorization: ...', --method and --data, if the request lacks something",
}

#: Hops that no header field betrays: they may be there even if others are seen.
_UNSEEN = (Hop.HAPROXY, Hop.TRAEFIK, Hop.ALB)
_COMMON = (Hop.NGINX, Hop.HAPROXY, Hop.CADDY, Hop.ENVOY, Hop.TRAEFIK, Hop.ALB, Hop.CLOUDFLARE, Hop.GOOGLE)


def cures_of(fault: Fault, hops: Collection[Hop], limit: float | None = None) -> tuple[Cure, ...]:
    """Return what cures `fault`: first at `hops`, those seen in the chain, then at hops that may be there as well.

    limit: how many seconds of silence the chain bears behind the head; None if that is not known.
    """
    at_hops = _AT_HOPS.get(fault, {})
    seen = [hop for hop in at_hops if hop in hops]
    # That sseproxy shows says nothing about the gateways in front of it.
    candidates = _UNSEEN if set(seen) - {Hop.SSEPROXY} else _COMMON
    others = [hop for hop in at_hops if hop in candidates and hop not in seen]
    cures = [Cure(hop, at_hops[hop], is_seen=hop in seen) for hop in (*seen, *others)]
    change = _ANYWHERE.get(fault, "")
    if fault is Fault.CUT_AFTER_HEAD and limit is not None:
        change = "sseproxy in front of the service: its heartbeats end the silence"
        # Of a limit that is too short for any heartbeat nothing is left, and no interval is named.
        if interval := round(limit / 3, 1):
            change += f"; heartbeat.interval below {interval:g}s, a third of that time"
    if change and not (Hop.SSEPROXY in hops and "sseproxy" in change):
        cures.append(Cure(None, change))
    return tuple(cures)
