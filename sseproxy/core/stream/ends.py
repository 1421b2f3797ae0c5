"""What does each close reason mean: to the client, to the log, and to the app behind a middleware?

One table for the proxy and both middlewares. Its litmus: no client of an answer sees a clean end that the upstream did
not send, unless the client asked for it or an error that its SDK raises came before it.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from math import inf

from sseproxy.core.frozen import frozen
from sseproxy.core.stream.dialects import Finality
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason


class LastWord(Enum):
    """What sseproxy writes before the end, where the position in the stream allows it."""

    NOTHING = "nothing"
    ERROR = "error event"  # the dialect's
    COMMENT = "comment"  # with the reason, where one is allowed
    RETRY = "retry field"  # the time after which the client comes back
    END_MESSAGE = "end message"  # the route's `end`, after a clean end of the upstream


class AppNotice(Enum):
    """How the app behind a middleware learns that its stream has ended."""

    NONE = "none"  # the app ended the stream itself
    DISCONNECT = "disconnect"  # the server delivers `http.disconnect`; the app has time to end
    STOP = "stop"  # `http.disconnect` if the app waits for it, else cancellation, at once
    STOP_WHEN_SENT = "stop when sent"  # the same, once the last bytes have gone out


@frozen
class End:
    """One row.

    last_word: at an event boundary. is_clean: the body ends as if it were complete. waits: seconds for which the end
    waits for the next event boundary. status, detail: of the error event. is_by_client: the client brought the end
    about, so that there is nothing left to tell it. server_ends: behind a middleware, the server breaks the connection
    by itself.
    """

    reason: CloseReason
    last_word: LastWord = LastWord.NOTHING
    is_clean: bool = False
    waits: float = 0.0
    app: AppNotice = AppNotice.STOP_WHEN_SENT
    status: int = 500
    detail: str = ""
    is_by_client: bool = False
    server_ends: bool = False


def _error(reason: CloseReason, status: int, detail: str, *, waits: float = 0.0) -> End:
    return End(reason, LastWord.ERROR, waits=waits, status=status, detail=detail)


def _by_client(reason: CloseReason, app: AppNotice, *, server_ends: bool = False) -> End:
    return End(reason, app=app, is_by_client=True, server_ends=server_ends)


_ROWS = (
    End(CloseReason.UPSTREAM_END, LastWord.END_MESSAGE, is_clean=True, app=AppNotice.NONE),
    replace(_error(CloseReason.UPSTREAM_ERROR, 502, "the response broke off"), app=AppNotice.NONE, server_ends=True),
    _error(CloseReason.INTERNAL_ERROR, 500, "an internal error occurred"),
    _error(CloseReason.IDLE_TIMEOUT, 504, "the stream has been silent for too long"),
    _error(CloseReason.MAX_DURATION, 504, "the stream has reached its maximum duration", waits=5.0),
    _error(CloseReason.RESPONSE_TIMEOUT, 504, "no response came in time"),
    _error(CloseReason.CONNECT_ERROR, 502, "the upstream could not be reached"),
    _by_client(CloseReason.CLIENT_GONE, AppNotice.DISCONNECT, server_ends=True),
    _by_client(CloseReason.CLIENT_ERROR, AppNotice.STOP),
    _by_client(CloseReason.CLIENT_STALLED, AppNotice.STOP),
    _error(CloseReason.DRAIN, 503, "the server is shutting down"),
    _error(CloseReason.KILLED, 503, "an operator has ended the stream"),
    End(CloseReason.STOPPED, is_clean=True, waits=0.5),
    _by_client(CloseReason.BEHIND, AppNotice.STOP),
    _error(CloseReason.SUPERSEDED, 503, "a newer request has taken the place of this one"),
    _error(CloseReason.ABANDONED, 503, "no reader was left"),
)

_ENDS = {end.reason: end for end in _ROWS}

#: Rows that differ for a client that comes back by itself: it loses nothing by a clean end.
_ENDS_FOR_RETURNING: Mapping[CloseReason, End] = _ENDS | {
    reason: End(reason, LastWord.RETRY, is_clean=True, waits=waits)
    for reason, waits in ((CloseReason.MAX_DURATION, 5.0), (CloseReason.DRAIN, inf))  # a drain has its own deadline
}


#: For which reason a stream ends when a timer expires.
WHEN_EXPIRED: Mapping[Timer, CloseReason] = {
    Timer.DRAIN_DEADLINE: CloseReason.DRAIN,
    Timer.MAX_DURATION: CloseReason.MAX_DURATION,
    Timer.IDLE: CloseReason.IDLE_TIMEOUT,
    Timer.WRITE: CloseReason.CLIENT_STALLED,
    Timer.DRAIN: CloseReason.DRAIN,
}


def row(reason: CloseReason, *, comes_back: bool = False) -> End:
    """Return the row of `reason`. comes_back: the client reconnects by itself, and its stream is no answer."""
    return (_ENDS_FOR_RETURNING if comes_back else _ENDS)[reason]


def decide(reason: CloseReason, last: Finality, *, is_between_events: bool, comes_back: bool) -> End:
    """Return how a stream ends that has to end here and now.

    last: what its last event says. is_between_events: an event may be written here.
    """
    end = row(reason, comes_back=comes_back)
    if end.is_by_client or reason is CloseReason.UPSTREAM_END:
        return end
    if last is Finality.TERMINAL or (last is Finality.FINISHED and reason is CloseReason.UPSTREAM_ERROR):
        return _ENDS[CloseReason.UPSTREAM_END]
    if last is Finality.FINISHED:
        return replace(end, last_word=LastWord.NOTHING, is_clean=True)
    if not is_between_events:
        return replace(end, last_word=LastWord.COMMENT, is_clean=False)
    if last is Finality.ERROR and end.last_word is LastWord.ERROR:
        return replace(end, last_word=LastWord.NOTHING)
    return end
