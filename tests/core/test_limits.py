"""Are the limits those of the documents?"""

from sseproxy.core.limits import ERROR_BODY, MINIMUM_LINE, LimitPolicy
from sseproxy.core.stream.events import BOM


def test_the_defaults() -> None:
    policy = LimitPolicy()
    assert (policy.streams, policy.streams_per_client, policy.line, policy.request_body) == (10_000, None, 65_536, None)
    assert ERROR_BODY == 64 * 1024


def test_the_smallest_line_holds_what_must_be_recognised_whole() -> None:
    assert len(BOM + b"data: ") <= MINIMUM_LINE
