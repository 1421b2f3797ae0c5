"""Which routes say how JSON or NDJSON is kept alive, and have no client that could get it?"""

from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.core.stream.heartbeat import WhiteSpace
from sseproxy.core.stream.json_answer import WITHOUT_PROMISE
from sseproxy.core.stream.plan import StreamMode

_KEY = ("heartbeat", "json")
_NDJSON = ("heartbeat", "ndjson")
_SENT = (WhiteSpace.SPACE, WhiteSpace.NEWLINE)


def warn_of_idle_json(document: Document, route: EffectiveRoute) -> None:
    """Warn of what does nothing for any client, though the route says so itself."""
    # What a route inherits is meant for others, and is no mistake here.
    is_untouched = route.merged.stream.declared is StreamMode.NEVER
    if is_untouched and route.says(*_NDJSON) and route.merged.heartbeat.ndjson in _SENT:
        document.warning(route.own(*_NDJSON), "has no effect with stream: never", "leave one of them out")
    if not route.says(*_KEY) or route.merged.heartbeat.json is None:
        return
    methods = route.section.match.methods
    if is_untouched:
        document.warning(route.own(*_KEY), "has no effect with stream: never", "leave one of them out")
    elif route.section.journal is not None:
        message = "has no effect with a journal: any response may become a run, which is read as a stream"
        document.warning(route.own(*_KEY), message, "a route of its own for what is no stream")
    elif methods and WITHOUT_PROMISE.issuperset(methods):
        document.warning(route.own(*_KEY), f"has no effect with methods: [{', '.join(methods)}]", "such as POST")
