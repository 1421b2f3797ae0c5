"""Which service is asked whether a request may go on, and what is taken from its answer?"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from sseproxy.config.browser_values import MASK
from sseproxy.config.fields import VARIABLE, Duration, LimitedDuration
from sseproxy.config.sections import Scalar, Section
from sseproxy.config.tls import UpstreamTLSSection
from sseproxy.config.urls import format_upstream, upstream_url
from sseproxy.config.values import BadValue, field_name, line, quote
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import FORWARDING, belongs_to_connection
from sseproxy.core.routes import AuthorizePolicy, Upstream

_QUERY = re.compile(r"[!-~]*")
_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
#: Of messages, not of clients: a request without them would be another one.
_OF_MESSAGES = re.compile(r"content-.*|accept(-.*)?|date|expect|host", re.IGNORECASE)
_DEFAULTS = AuthorizePolicy(Upstream("http"))


@frozen
class AskedURL:
    """Where a service is, and what it is asked for."""

    upstream: Upstream
    target: str


def asked_url(value: object) -> AskedURL:
    """A URL as of an upstream, whose path is all of the path, and which may have a query."""
    url, mark, query = line(value).partition("?")
    authority, _, path = url.partition("://")[2].partition("/")
    if "@" in authority:
        raise BadValue("must not carry a user or password", "the service gets those of the client")
    if "#" in url or "#" in query:
        raise BadValue("must not carry a fragment")
    upstream = upstream_url(url)
    if not _QUERY.fullmatch(query):
        raise BadValue("the query has characters that a request line cannot have", "percent-encode them")
    where = f"/{path}" if authority else "/"  # without an authority the path is that of a unix socket
    return AskedURL(replace(upstream, base_path=""), where + mark + query)


def format_asked(url: AskedURL) -> str:
    """The URL, fit to be shown: what its parameters say is masked, it may be a secret."""
    path, mark, query = url.target.partition("?")
    shown = "&".join(f"{part.partition('=')[0]}={MASK}" if "=" in part else MASK for part in query.split("&"))
    return format_upstream(url.upstream) + path + mark + (shown if mark else "")


def taken_name(value: object) -> str:
    """The NAME of ``{auth:NAME}``."""
    found = line(value)
    if not _NAME.fullmatch(found):
        raise BadValue(f"{quote(found)} is not a name", "lower-case letters, digits, - and _, a letter first")
    return found


def taken_field(value: object) -> str:
    """The name of a response field that says who the client is; requests lose their own field of that name."""
    found = field_name(value)
    if belongs_to_connection(found):
        raise BadValue(f"{found} belongs to the connection and says nothing of the client")
    if found.lower().encode() in FORWARDING or _OF_MESSAGES.fullmatch(found):
        raise BadValue(f"{found} cannot be taken: requests need their own", "such as X-User")
    return found


def nothing_is_a_section(value: object) -> object:
    """An empty section in place of nothing: a guard that is named and says nothing must not let everything in."""
    return {} if value is None else value


TakenName = Annotated[str, Scalar(taken_name, {"type": "string"})]
TakenField = Annotated[str, Scalar(taken_field, {"type": "string"})]
ServiceURL = Annotated[
    AskedURL,
    Scalar(
        asked_url,
        {"anyOf": [{"type": "string", "pattern": r"^([Hh][Tt][Tt][Pp].*)://.+$"}, VARIABLE]},
        write=format_asked,
    ),
]


class AuthorizeSection(Section):
    """Another service says whether a request may go on."""

    model_config = ConfigDict(json_schema_extra={"required": ["url"]})

    url: ServiceURL | None = Field(
        default=None,
        description="http://, https:// or http+unix:// URL that is asked with GET, the client's Cookie and "
        "Authorization, X-Original-Method and X-Original-URI. 2xx lets in, 401 and 403 are passed on, anything else is "
        "a 503.",
    )
    take: Mapping[TakenName, TakenField] = Field(
        default={},
        description="Response fields that become {auth:NAME} in headers.request.set and in the names of redis; a "
        "missing or repeated one is a 503, and a client's own field of that name is removed.",
    )
    cache: Duration = Field(
        default=_DEFAULTS.cache,
        description="A yes holds so long for all requests of the route with the same credentials; off: the service is "
        "asked for each.",
    )
    timeout: LimitedDuration = Field(default=_DEFAULTS.timeout, description="Until the answer is here, or it is a 503.")
    tls: UpstreamTLSSection | None = Field(
        default=None,
        description="How an https service is verified, and what it is shown. The tls of the route is not for it.",
    )

    def policy(self, folder: Path) -> AuthorizePolicy:
        """What the proxy goes by. folder: where the paths of files begin.

        Raises `ValueError` for a section that has not passed the checks.
        """
        if self.url is None:
            raise ValueError("authorize without url has passed the checks")
        take, upstream = tuple(self.take.items()), self.url.upstream
        if self.tls is not None:
            upstream = replace(upstream, tls=self.tls.policy(folder))
        return AuthorizePolicy(upstream, self.url.target, take, self.cache, self.timeout)


Authorize = Annotated[AuthorizeSection | None, BeforeValidator(nothing_is_a_section)]
