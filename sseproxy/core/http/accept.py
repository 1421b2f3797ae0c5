"""Does a client prefer an event stream, or does it take JSON? (``Accept``, RFC 9110 section 12.5.1)"""

import re
from collections.abc import Iterable, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import MOST_MEMBERS

_EVENT_STREAM = b"text/event-stream"
_PAGE = b"text/html"
#: What names JSON, the most specific first: that one counts (RFC 9110 section 12.5.1).
_JSON_RANGES = (b"application/json", b"application/*", b"*/*")


@frozen
class Accepted:
    """What the ``Accept`` fields of a request say about event streams.

    named: one is acceptable by name, with a weight above 0. alone: and nothing else is listed. preferred: its weight is
    above that of every other concrete type. json: ``application/json`` is acceptable by name.
    """

    named: bool = False
    alone: bool = False
    preferred: bool = False
    json: bool = False


NOTHING = Accepted()

#: Not ``None`` for the value of an ``Accept`` field that names event streams.
names_stream = re.compile(re.escape(_EVENT_STREAM), re.IGNORECASE).search

_ALONE = Accepted(named=True, alone=True, preferred=True)


def accepted(values: Sequence[bytes]) -> Accepted:
    """Read the values of all ``Accept`` fields. A wildcard names no type."""
    if len(values) == 1 and values[0] == _EVENT_STREAM:
        return _ALONE
    if not any(map(names_stream, values)):
        return NOTHING
    members = [member for value in values for member in value.split(b",", MOST_MEMBERS) if member.strip()]
    if len(members) > MOST_MEMBERS:  # not taken at its word
        return NOTHING
    weights = _weights(members)
    own = weights.pop(_EVENT_STREAM, 0.0)
    others = max(weights.values(), default=0.0)
    return Accepted(
        named=own > 0,
        alone=own > 0 and len(members) == 1,
        preferred=own > others,
        json=weights.get(_JSON_RANGES[0], 0.0) > 0,
    )


def admits_json(values: Sequence[bytes]) -> bool:
    """True if a client with these ``Accept`` fields takes JSON, by whatever weight above 0.

    A format that is written in JSON (``+json``) counts as well. A client that would rather have a page is a browser
    on its way to one: it takes anything, and shows JSON as text.
    """
    members = [member for value in values for member in value.split(b",", MOST_MEMBERS) if member.strip()]
    if not members:
        return True
    if len(members) > MOST_MEMBERS:  # not taken at its word
        return False
    weights = _weights(members, with_ranges=True)
    own = next((weights[media] for media in _JSON_RANGES if media in weights), 0.0)
    own = max(own, *(weight for media, weight in weights.items() if media.endswith(b"+json")), 0.0)
    return own > 0 and own >= weights.get(_PAGE, 0.0)


def _weights(members: Iterable[bytes], *, with_ranges: bool = False) -> dict[bytes, float]:
    """The weight of each media type; of one that is listed twice, the larger one. with_ranges: of wildcards, too."""
    weights: dict[bytes, float] = {}
    for member in members:
        media, *parameters = (part.strip().lower() for part in member.split(b";"))
        if with_ranges or b"*" not in media:
            weights[media] = max(_weight(parameters), weights.get(media, 0.0))
    return weights


def _weight(parameters: Iterable[bytes]) -> float:
    """RFC 9110 section 12.4.2. A weight that cannot be read counts as if it were not there."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 1.0
    return 1.0
