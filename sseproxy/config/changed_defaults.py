"""Which defaults have changed, and does a file rely on what they were?

A file written for an earlier version reads the same and means something else where it leaves a key out. The rule is
plain: a file relies on a default if one of its routes neither says the key nor inherits it, and if the key does
something on that route. Each key is judged by itself, whatever else the file says, and gets one warning for the file.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sseproxy.config.checks import DRAIN_TIMEOUT
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import DrainSection, FileSchema
from sseproxy.config.values import format_duration
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamMode

#: Seconds: most answers take longer, and a drain of this length used to end them as if they were complete.
_SHORT_DRAIN = 10.0


def _always(_: EffectiveRoute) -> bool:
    return True


def _has_streams(route: EffectiveRoute) -> bool:
    return route.merged.stream.declared is not StreamMode.NEVER


def _has_form(route: EffectiveRoute) -> bool:
    """Whether its dialect has a heartbeat form that used to come before the client's."""
    return route.merged.dialect in (Dialect.ANTHROPIC, Dialect.GEMINI) and _has_streams(route)


@dataclass(frozen=True, slots=True)
class _Changed:
    """A key with a new default. now: what leaving it out means. confirms, keeps: what says the new one, and the old.

    matters: whether the key does something on a route.
    """

    keys: tuple[str, ...]
    now: str
    confirms: str
    keeps: str
    matters: Callable[[EffectiveRoute], bool] = _always


_CHANGED = (
    _Changed(
        ("dialect",),
        "errors in a stream have the shape of the service that the request is for; they were generic",
        "auto",
        "generic",
        _has_streams,
    ),
    _Changed(
        ("timeouts", "idle"),
        "silence may last 15m in an answer, and for ever in a feed, a tunnel and a download; it was 5m in all of them",
        "auto",
        "5m",
    ),
    _Changed(("timeouts", "response"), "the upstream has 15m for its response head; it was 5m", "15m", "5m"),
    _Changed(
        ("heartbeat", "form"),
        "a client that is known gets the form that is safe for it; it was the dialect's",
        "auto",
        "{dialect.form}",
        _has_form,
    ),
)


def warn_of_changed_defaults(document: Document, file: FileSchema, routes: Iterable[EffectiveRoute]) -> None:
    """Warn of each default that has changed and that the file relies on."""
    _warn_of_short_drain(document, file.server.drain.timeout)
    if document.file is None:
        return
    for changed in _CHANGED:
        relying = [route for route in routes if _relies(route, changed)]
        if relying:
            _warn(document, changed, relying)


def _relies(route: EffectiveRoute, changed: _Changed) -> bool:
    is_said = route.says(*changed.keys) or route.inherits(*changed.keys)
    return not is_said and changed.matters(route)


def _warn(document: Document, changed: _Changed, relying: list[EffectiveRoute]) -> None:
    """At the route that relies on it; if there are several, at ``defaults``, where one line is for all of them."""
    first, key = relying[0], changed.keys[-1]
    at = first.own(*changed.keys) if len(relying) == 1 else ("defaults", *changed.keys)
    keeps = changed.keeps.format(dialect=first.merged.dialect)
    hint = f"{key}: {changed.confirms} confirms that, {key}: {keeps} is as before"
    document.warning(at, f"left out: {changed.now}", hint, near=first.own())


def _warn_of_short_drain(document: Document, timeout: float | None) -> None:
    if timeout is not None and 0 < timeout < _SHORT_DRAIN:
        said, default = format_duration(timeout), format_duration(DrainSection().timeout)
        message = f"answers are no longer ended early: one that takes longer than {said} breaks off with an error event"
        document.warning(DRAIN_TIMEOUT, message, f"{default}, the default, lets most of them finish")
