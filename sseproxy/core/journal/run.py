"""What is one run of a stream?"""

from dataclasses import dataclass

from sseproxy.core.journal.positions import Mark
from sseproxy.core.stream.transfer import CloseReason


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run, its last entry. mark: of the end itself. is_clean: the stream was whole."""

    mark: Mark
    reason: CloseReason
    is_clean: bool
