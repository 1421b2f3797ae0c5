"""What is written down about each request?"""

import json
import logging
from collections.abc import Mapping

from sseproxy.engine.observer import AccessRecord, ObservedStream, Observer
from sseproxy.logs import ACCESS_LOGGER


class AccessLog(Observer):
    """Writes one line for each request when it has been answered, and at level debug one when a stream opens."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS_LOGGER)

    def opened(self, stream: ObservedStream) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            said = {"id": stream.id, "peer": stream.client, "path": stream.path, "route": stream.route}
            self._logger.debug("start %s", _pairs(said))

    def answered(self, record: AccessRecord) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            fields = record.fields()
            self._logger.info("%s", _pairs(fields), extra={"fields": fields})


def _pairs(fields: Mapping[str, object]) -> str:
    """Write ``name=value`` for each; a value that a parser could misread is quoted as in JSON."""
    pairs = []
    for name, value in fields.items():
        text = str(value)
        is_plain = text and text.isascii() and text.isprintable() and not any(char in ' "=' for char in text)
        pairs.append(f"{name}={text if is_plain else json.dumps(text)}")
    return " ".join(pairs)
