"""Which combinations of right values are impossible for a route that asks another service?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from collections.abc import Mapping
from pathlib import Path as FilePath

from sseproxy.config.checks import check_leads_away
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import FileSchema
from sseproxy.config.tls_checks import check_upstream_tls
from sseproxy.config.values import nearest
from sseproxy.core.authorization import names_in


def check_authorize(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath) -> None:
    """The services of all routes, and the templates that ask for what they say."""
    for route in routes:
        at = route.own("authorize")
        if route.own() in document.broken or at in document.broken:
            continue
        section = route.section.authorize
        if section is not None and not document.is_broken((*at, "url")):
            if section.url is None:
                document.problem((*at, "url"), "is missing", "the URL of the service to ask")
            else:
                check_leads_away(document, (*at, "url"), section.url.upstream, file.server.listen)
        if section is not None and section.tls is not None:
            upstream = None if section.url is None else section.url.upstream
            check_upstream_tls(document, (*at, "tls"), section.tls, upstream, folder)
        if not document.is_broken((*at, "take")):
            check_templates(document, route, None if section is None else section.take)


def check_templates(document: Document, route: EffectiveRoute, take: Mapping[str, str] | None) -> None:
    """Check that each name in the route's header rules is one of `take`; ``None``: no service is asked."""
    for field, value in route.section.headers.request.set.items():
        for name in names_in(value):
            at = route.own("headers", "request", "set", field)
            if take is None:
                hint = f"authorize: {{url: URL, take: {{{name or 'user'}: X-User}}}}"
                document.problem(at, f"{{auth:{name}}} needs authorize on this route", hint)
            elif name not in take:
                message = f"authorize.take has no {name}" if name else "{auth:} names nothing"
                document.problem(at, message, nearest(name, take) or "such as take: {user: X-User}")
