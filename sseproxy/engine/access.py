"""What is written down about each request?"""

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer
from sseproxy.engine.run_record import RunRecord
from sseproxy.logs import ACCESS_LOGGER

#: Not ``None`` for text without blanks, quotes, ``=`` and all that is not printable ASCII.
_PLAIN = re.compile("[!#-<>-~]+").fullmatch


class AccessLog(Observer):
    """Writes one line for each request when it has been answered, and one for each run of a journal when it is over.

    At level debug also one when a stream opens.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS_LOGGER)

    def opened(self, stream: ObservedStream) -> None:
        if (record := stream.record) is not None and self._logger.isEnabledFor(logging.DEBUG):
            fields = record.beginning() | record.names()
            self._logger.debug("start %s", _pairs(fields), extra={"fields": {"message": "start", **fields}})

    def answered(self, record: AccessRecord) -> None:
        # The upstream's own 502 is the upstream's to tell of; one that sseproxy answers with has no other witness.
        is_own_fault = record.refusal is not None and record.refusal >= HTTPStatus.INTERNAL_SERVER_ERROR
        level = logging.WARNING if is_own_fault else logging.INFO
        if self._logger.isEnabledFor(level):
            fields = record.fields()
            self._logger.log(level, "%s", _pairs(fields), extra={"fields": fields})

    def run_ended(self, run: RunRecord) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            fields = run.fields()
            self._logger.info("run %s", _pairs(fields), extra={"fields": {"message": "run", **fields}})


def _pairs(fields: Mapping[str, object]) -> str:
    """Write ``name=value`` for each; a value that a parser could misread is quoted as in JSON."""
    return " ".join(
        [
            f"{name}={value if type(value) is not str or _PLAIN(value) else json.dumps(value)}"
            for name, value in fields.items()
        ]
    )
