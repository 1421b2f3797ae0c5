"""How do the file's sections become the policies that the rest of the house works with?"""

from dataclasses import replace
from pathlib import Path as FilePath

from sseproxy.config.browsers import CORS, Auth, End, Tickets
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import FileSchema, Heartbeat, Limits, RequestFields, RouteSection, Server, Timeouts
from sseproxy.config.settings import AdminSettings, CertificateFiles, Config, LogSettings, ServerSettings
from sseproxy.core.eventsource.policies import CookieAuth, CorsPolicy, TicketPolicy
from sseproxy.core.http.fields import HeaderRules
from sseproxy.core.limits import LimitPolicy
from sseproxy.core.routes import Match, Route, Upstream, UpstreamTLS
from sseproxy.core.stream.end_message import EndPolicy
from sseproxy.core.stream.heartbeat import HeartbeatPolicy
from sseproxy.core.stream.plan import Declaration, StreamMode
from sseproxy.core.stream.timeouts import TimeoutPolicy


def absolute(path: str, folder: FilePath) -> str:
    """The path of a file that the configuration in `folder` names."""
    return str(folder.absolute() / path)


def build_config(file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath) -> Config:
    """The result. `file` has passed all checks; relative paths in it begin at `folder`."""
    return Config(
        server=_server(file.server, folder),
        admin=AdminSettings(file.admin.listen) if file.admin and file.admin.listen else None,
        log=LogSettings(file.log.level, file.log.format, file.log.access),
        routes=tuple(_route(route, folder) for route in routes),
    )


def drain_spread(server: Server) -> float:
    """Seconds; where only a short timeout is given, the default spread must fit into it."""
    spread, timeout = server.drain.spread or 0.0, server.drain.timeout
    if timeout is None or "spread" in server.drain.model_fields_set:
        return spread
    return min(spread, timeout)


def _server(server: Server, folder: FilePath) -> ServerSettings:
    tls = None
    if server.tls is not None and server.tls.certificate and server.tls.key:
        tls = CertificateFiles(absolute(server.tls.certificate, folder), absolute(server.tls.key, folder))
    return ServerSettings(
        listen=server.listen,
        tls=tls,
        workers=server.workers,
        trusted_proxies=server.trusted_proxies,
        drain_timeout=server.drain.timeout,
        drain_spread=drain_spread(server),
    )


def _route(route: EffectiveRoute, folder: FilePath) -> Route:
    section, merged = route.section, route.merged
    declared = merged.stream.declared
    return Route(
        name=route.name,
        upstream=_upstream(section, folder),
        match=match_of(section),
        dialect=merged.dialect,
        stream=declared if isinstance(declared, StreamMode) else StreamMode.AUTO,
        declaration=declared if isinstance(declared, Declaration) else Declaration(),
        kind=merged.stream.kind,
        heartbeat=_heartbeat(merged.heartbeat),
        timeouts=_timeouts(merged.timeouts),
        limits=_limits(merged.limits),
        strip_prefix=section.rewrite.strip_prefix,
        request_headers=_rules(section.headers.request),
        response_headers=_rules(section.headers.response),
        tickets=None if merged.tickets is None else _tickets(merged.tickets),
        auth=None if merged.auth is None else _auth(merged.auth),
        end=None if merged.end is None else _end(merged.end),
        cors=None if merged.cors is None else _cors(merged.cors),
    )


def match_of(section: RouteSection) -> Match:
    """What a request must look like."""
    match = section.match
    return Match(match.path, match.prefix, frozenset(match.methods), match.host)


def _upstream(section: RouteSection, folder: FilePath) -> Upstream:
    if section.upstream is None:
        raise ValueError("a route without upstream has passed the checks")
    if section.tls is None:
        return section.upstream
    ca = absolute(section.tls.ca, folder) if section.tls.ca else None
    return replace(section.upstream, tls=UpstreamTLS(section.tls.verify, ca, section.tls.server_name))


def _heartbeat(section: Heartbeat) -> HeartbeatPolicy:
    return HeartbeatPolicy(
        interval=section.interval,
        form=section.form,
        comment=section.comment,
        event_name=section.event.name,
        event_data=section.event.data,
        before_response=section.before_response,
        prelude=section.prelude,
    )


def _timeouts(section: Timeouts) -> TimeoutPolicy:
    return TimeoutPolicy(
        connect=section.connect,
        response=section.response,
        idle=section.idle,
        write=section.write,
        max_duration=section.max_duration,
        request_body=section.request_body,
    )


def _limits(section: Limits) -> LimitPolicy:
    return LimitPolicy(section.streams, section.streams_per_client, section.line, section.request_body)


def _tickets(section: Tickets) -> TicketPolicy:
    bind, cookie = section.bind
    return TicketPolicy(section.path, section.ttl, section.max_body, bind, cookie, section.reopen)


def _auth(section: Auth) -> CookieAuth:
    if section.cookie is None:
        raise ValueError("auth without cookie has passed the checks")
    return CookieAuth(section.cookie, section.header, section.format, section.strip_cookie)


def _end(section: End) -> EndPolicy:
    event = None if section.event is None else (section.event.name, section.event.data)
    return EndPolicy(event, section.stop_reconnect, section.marker, section.only, section.secret or "")


def _cors(section: CORS) -> CorsPolicy:
    return CorsPolicy(frozenset(section.origins), section.credentials, section.expose)


def _rules(section: RequestFields) -> HeaderRules:
    return HeaderRules(tuple(section.set.items()), section.remove)
