"""How do the file's sections become the policies that the rest of the house works with?"""

from dataclasses import replace
from pathlib import Path as FilePath

from sseproxy.config.browsers import AuthSection, CORSSection, EndSection, TicketsSection
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import FieldRulesSection, FileSchema, RouteSection, ServerSection
from sseproxy.config.settings import AdminSettings, Config, LogSettings, ServerSettings, TelemetrySettings
from sseproxy.config.streams import HeartbeatSection, LimitsSection, TimeoutsSection
from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.journal.policy import RedisPolicy
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match, Route, Upstream
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import Declaration, StreamKind, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy


def build_config(
    file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath, *, store_url: str | None = None
) -> Config:
    """The result. `file` has passed all checks; relative paths in it begin at `folder`.

    store_url: in place of `store.url`, for routes that name no Redis.
    """
    url = (file.store.url or "") if store_url is None else store_url
    return Config(
        server=server_settings(file.server, folder),
        admin=AdminSettings(file.admin.listen, file.admin.hosts) if file.admin and file.admin.listen else None,
        log=LogSettings(file.log.level, file.log.format, file.log.access),
        routes=tuple(route_policy(route, folder, store_url=url) for route in routes),
        store=file.store.policy(folder),
        telemetry=TelemetrySettings(file.telemetry.traces),
    )


def drain_spread(server: ServerSection) -> float:
    """Seconds; where only a short timeout is given, the default spread must fit into it."""
    spread, timeout = server.drain.spread or 0.0, server.drain.timeout
    # One that is written and too long is a problem, which `ServerCheck.drain` reports.
    if timeout is None or "spread" in server.drain.model_fields_set:
        return spread
    return min(spread, timeout)


def server_settings(server: ServerSection, folder: FilePath) -> ServerSettings:
    """The public side."""
    return ServerSettings(
        listen=server.listen,
        tls=None if server.tls is None else server.tls.files(folder),
        workers=server.workers,
        connections=server.connections if isinstance(server.connections, int) else None,
        trusted_proxies=server.trusted_proxies,
        drain_delay=server.drain.delay or 0.0,
        drain_timeout=server.drain.timeout,
        drain_spread=drain_spread(server),
    )


def route_policy(route: EffectiveRoute, folder: FilePath, *, store_url: str) -> Route:
    """One route with everything that holds for its requests. store_url: of its Redis, if it names none."""
    section, merged = route.section, route.merged
    declared = merged.stream.declared
    if section.redis is not None:
        return push_route(route, section.redis.policy(store_url), folder)
    journal = None if section.journal is None else section.journal.policy(route.name)
    heartbeat = heartbeat_policy(merged.heartbeat)
    if journal is not None or declared is StreamMode.NEVER:
        # A request that declares nothing may become a run, which no client could read behind a promise of JSON.
        heartbeat = replace(heartbeat, json=None)
    return Route(
        name=route.name,
        upstream=upstream_of(section, folder),
        match=match_of(section),
        dialect=merged.dialect,
        stream=declared if isinstance(declared, StreamMode) else StreamMode.AUTO,
        declaration=declared if isinstance(declared, Declaration) else Declaration(),
        kind=merged.stream.kind if journal is None else journal.kind,
        heartbeat=heartbeat,
        timeouts=timeout_policy(merged.timeouts),
        limits=limit_policy(merged.limits),
        strip_prefix=section.rewrite.strip_prefix,
        request_headers=header_rules(section.headers.request),
        response_headers=header_rules(section.headers.response),
        tickets=None if merged.tickets is None else ticket_policy(merged.tickets),
        auth=None if merged.auth is None else cookie_auth(merged.auth),
        end=None if merged.end is None else end_policy(merged.end),
        cors=None if merged.cors is None else cors_policy(merged.cors),
        authorize=None if section.authorize is None else section.authorize.policy(folder),
        journal=journal,
    )


def push_route(route: EffectiveRoute, policy: RedisPolicy, folder: FilePath) -> Route:
    """One route that is served from Redis: a feed. What it inherits for upstreams only is left out."""
    merged = route.merged
    timeouts = replace(timeout_policy(merged.timeouts), idle=None)
    if route.section.authorize is None:
        timeouts = replace(timeouts, connect_retry=None)
    return Route(
        name=route.name,
        match=match_of(route.section),
        dialect=merged.dialect,
        kind=StreamKind.FEED,
        heartbeat=replace(heartbeat_policy(merged.heartbeat), before_response=None, json=None),
        timeouts=timeouts,
        limits=limit_policy(merged.limits),
        response_headers=header_rules(route.section.headers.response),
        tickets=None if merged.tickets is None else ticket_policy(merged.tickets),
        auth=None if merged.auth is None else cookie_auth(merged.auth),
        cors=None if merged.cors is None else cors_policy(merged.cors),
        authorize=None if route.section.authorize is None else route.section.authorize.policy(folder),
        redis=policy,
    )


def match_of(section: RouteSection) -> Match:
    """What a request must look like."""
    match = section.match
    return Match(match.path, match.prefix, frozenset(match.methods), match.host)


def upstream_of(section: RouteSection, folder: FilePath) -> Upstream:
    """Where a route leads. Raises `ValueError` for a section that has not passed the checks."""
    if section.upstream is None:
        raise ValueError("a route without upstream has passed the checks")
    return section.upstream if section.tls is None else replace(section.upstream, tls=section.tls.policy(folder))


def heartbeat_policy(section: HeartbeatSection) -> HeartbeatPolicy:
    """When a heartbeat goes out and what it says."""
    return HeartbeatPolicy(
        interval=section.interval,
        form=section.form,
        comment=section.comment,
        event_name=section.event.name,
        event_data=section.event.data,
        before_response=section.before_response,
        prelude=section.prelude,
        json=section.json,
        ndjson=section.ndjson,
    )


def timeout_policy(section: TimeoutsSection) -> TimeoutPolicy:
    """How long to wait."""
    return TimeoutPolicy(
        connect=section.connect,
        connect_retry=section.connect_retry,
        response=section.response,
        idle=section.idle,
        write=section.write,
        max_duration=section.max_duration,
        request_body=section.request_body,
    )


def limit_policy(section: LimitsSection) -> LimitPolicy:
    """How much to take."""
    return LimitPolicy(
        streams=section.streams,
        streams_per_client=section.streams_per_client,
        line=section.line,
        request_body=section.request_body,
        event=section.event,
        detached=section.detached,
        detached_per_client=section.detached_per_client,
    )


def ticket_policy(section: TicketsSection) -> TicketPolicy:
    """Which requests are kept."""
    bind, cookie = section.bind
    return TicketPolicy(section.path, section.ttl, section.max_body, bind, cookie, section.reopen)


def cookie_auth(section: AuthSection) -> CookieAuth:
    """The cookie that becomes a header; its name is empty if it is missing, which `check_browsers` reports."""
    return CookieAuth(section.cookie or "", section.header, section.format, section.strip_cookie)


def end_policy(section: EndSection) -> EndPolicy:
    """What is said to clients at a clean end."""
    event = None if section.event is None else (section.event.name, section.event.data)
    return EndPolicy(event, section.stop_reconnect, section.marker, section.only, section.secret or "")


def cors_policy(section: CORSSection) -> CorsPolicy:
    """Which pages of other origins may read."""
    return CorsPolicy(frozenset(section.origins), section.credentials, section.expose)


def header_rules(section: FieldRulesSection) -> HeaderRules:
    """Fields to set and to remove."""
    return HeaderRules(tuple(section.set.items()), section.remove)
