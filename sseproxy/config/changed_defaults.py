"""Which defaults have changed, and does a file rely on what they were?

A file written for an earlier version reads the same and means something else where it leaves a key out. Each such key
gets one warning, at the first route that relies on it. A file that uses a word which this version has brought was
written for it, and gets none.
"""

from collections.abc import Iterable

from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import FileSchema, Inherited
from sseproxy.config.values import format_duration
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.end_message import EndsAt
from sseproxy.core.stream.heartbeat import HeartbeatForm
from sseproxy.core.stream.plan import Declaration, StreamKind
from sseproxy.core.stream.timeouts import Auto

#: Dialects that earlier versions knew.
_OLD_DIALECTS = frozenset(
    (Dialect.GENERIC, Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES, Dialect.ANTHROPIC, Dialect.GEMINI)
)

#: Dialects whose heartbeat form came before the client's.
_WITH_FORM = frozenset((Dialect.ANTHROPIC, Dialect.GEMINI))

#: Seconds: most answers take longer, and a drain of this length used to end them as if they were complete.
_SHORT_DRAIN = 10.0


def warn_of_changed_defaults(document: Document, file: FileSchema, routes: Iterable[EffectiveRoute]) -> None:
    """Warn of each default that has changed and that the file relies on."""
    _warn_of_short_drain(document, file.server.drain.timeout)
    relying = list(routes)
    if document.file is None or any(_is_of_this_version(route.merged) for route in relying):
        return
    for warning in (_warn_of_dialect, _warn_of_idle, _warn_of_response, _warn_of_form):
        next((route for route in relying if warning(document, route)), None)


def _warn_of_short_drain(document: Document, timeout: float | None) -> None:
    if timeout is not None and 0 < timeout < _SHORT_DRAIN:
        said = format_duration(timeout)
        message = f"answers are no longer ended early: one that takes longer than {said} breaks off with an error event"
        document.warning(("server", "drain", "timeout"), message, "25s, the default, lets most of them finish")


def _is_of_this_version(merged: Inherited) -> bool:
    """True if a key has a value that earlier versions refused."""
    said, end = merged.model_fields_set, merged.end
    return (
        ("dialect" in said and merged.dialect not in _OLD_DIALECTS)
        or ("idle" in merged.timeouts.model_fields_set and merged.timeouts.idle is Auto.AUTO)
        or isinstance(merged.stream.declared, Declaration)
        or merged.stream.kind is not StreamKind.AUTO
        or (
            end is not None and (end.only is EndsAt.MARKER or (end.marker is not None and end.marker.event is not None))
        )
    )


def _names_dialect(route: EffectiveRoute) -> bool:
    return "dialect" in route.merged.model_fields_set


def _is_for_streams(route: EffectiveRoute) -> bool:
    return _names_dialect(route) or route.merged.heartbeat.before_response is not None


def _warn_of_dialect(document: Document, route: EffectiveRoute) -> bool:
    if _names_dialect(route) or route.merged.heartbeat.before_response is None:
        return False
    message = "left out: errors in a stream now have the shape of the service that the request is for"
    document.warning(route.own("dialect"), message, "dialect: auto confirms that, dialect: generic is as before")
    return True


def _warn_of_idle(document: Document, route: EffectiveRoute) -> bool:
    if "idle" in route.merged.timeouts.model_fields_set or not _is_for_streams(route):
        return False
    message = "left out: silence may last 15m in an answer and for ever in a feed or a tunnel; it was 5m in all of them"
    document.warning(route.own("timeouts", "idle"), message, "idle: auto confirms that, idle: 5m is as before")
    return True


def _warn_of_response(document: Document, route: EffectiveRoute) -> bool:
    if "response" in route.merged.timeouts.model_fields_set or not _is_for_streams(route):
        return False
    message = "left out: the upstream has 15m for its response head; it was 5m"
    document.warning(
        route.own("timeouts", "response"), message, "response: 15m confirms that, response: 5m is as before"
    )
    return True


def _warn_of_form(document: Document, route: EffectiveRoute) -> bool:
    dialect, form = route.merged.dialect, route.merged.heartbeat.form
    if dialect not in _WITH_FORM or form is not HeartbeatForm.AUTO or "form" in route.merged.heartbeat.model_fields_set:
        return False
    message = "left out: the form that is safe for the client now comes before the dialect's"
    hint = f"form: auto confirms that, form: {dialect.form} is as before"
    document.warning(route.own("heartbeat", "form"), message, hint)
    return True
