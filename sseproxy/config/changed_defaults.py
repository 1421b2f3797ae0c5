"""Which defaults have changed, and does a file rely on what they were?

A file written for an earlier version reads the same and means something else where it leaves a key out. The rule is
plain: a file relies on a default if one of its routes neither says the key nor inherits it, and if the key does
something on that route. Each key is judged by itself, whatever else the file says, and gets one warning for the file.
"""

from collections.abc import Iterable

from sseproxy.config.checks import DRAIN_TIMEOUT
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.schema import DrainSection, FileSchema
from sseproxy.config.values import format_duration
from sseproxy.core.frozen import frozen
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.plan import StreamMode

#: Seconds: most answers take longer, and a drain of this length used to end them as if they were complete.
_SHORT_DRAIN = 10.0


@frozen
class ChangedDefault:
    """A key with a new default. now: what leaving it out means. confirms, keeps: what says the new one, and the old.

    needs_streams: it does something only on routes whose responses are looked at. dialects: only on routes with one of
    these; empty: on all.
    """

    keys: tuple[str, ...]
    now: str
    confirms: str
    keeps: str
    needs_streams: bool = False
    dialects: tuple[Dialect, ...] = ()

    def is_relied_on(self, route: EffectiveRoute) -> bool:
        """True if `route` leaves the key out, and the key does something there."""
        if route.says(*self.keys) or route.inherits(*self.keys):
            return False
        has_streams = route.merged.stream.declared is not StreamMode.NEVER
        has_dialect = not self.dialects or route.merged.dialect in self.dialects
        return has_dialect and (has_streams or not self.needs_streams)

    def warn(self, document: Document, relying: list[EffectiveRoute]) -> None:
        """Warn at the route that relies on it; for several at ``defaults``, where one line is for all of them."""
        first, key = relying[0], self.keys[-1]
        at = first.own(*self.keys) if len(relying) == 1 else ("defaults", *self.keys)
        keeps = self.keeps.format(dialect=first.merged.dialect)
        hint = f"{key}: {self.confirms} confirms that, {key}: {keeps} is as before"
        document.warning(at, f"left out: {self.now}", hint, near=first.own())


CHANGED_DEFAULTS = (
    ChangedDefault(
        ("dialect",),
        "errors in a stream have the shape of the service that the request is for; they were generic",
        "auto",
        "generic",
        needs_streams=True,
    ),
    ChangedDefault(
        ("timeouts", "idle"),
        "silence may last 15m in an answer, and for ever in a feed, a tunnel and a download; it was 5m in all of them",
        "auto",
        "5m",
    ),
    ChangedDefault(("timeouts", "response"), "the upstream has 15m for its response head; it was 5m", "15m", "5m"),
    ChangedDefault(
        ("heartbeat", "form"),
        "a client that is known gets the form that is safe for it; it was the dialect's",
        "auto",
        "{dialect.form}",
        needs_streams=True,
        # Those whose own form used to come before the client's.
        dialects=(Dialect.ANTHROPIC, Dialect.GEMINI),
    ),
)


def warn_of_changed_defaults(document: Document, file: FileSchema, routes: Iterable[EffectiveRoute]) -> None:
    """Warn of each default that has changed and that the file relies on."""
    timeout = file.server.drain.timeout
    if timeout is not None and 0 < timeout < _SHORT_DRAIN:
        said, default = format_duration(timeout), format_duration(DrainSection().timeout)
        message = f"answers are no longer ended early: one that takes longer than {said} breaks off with an error event"
        document.warning(DRAIN_TIMEOUT, message, f"{default}, the default, lets most of them finish")
    # A route to Redis is of no earlier version.
    judged = [route for route in routes if route.section.redis is None]
    # Without a file there is no line to put a key into.
    for changed in CHANGED_DEFAULTS if document.file is not None else ():
        relying = [route for route in judged if changed.is_relied_on(route)]
        if relying:
            changed.warn(document, relying)
