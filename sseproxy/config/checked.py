"""What is known of a configuration once nothing is wrong with it?"""

from dataclasses import replace
from pathlib import Path as FilePath

from sseproxy.config.build import build_config
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import in_reading_order
from sseproxy.config.schema import FileSchema
from sseproxy.config.settings import Config
from sseproxy.core.frozen import frozen


@frozen
class Checked:
    """A configuration that has passed all checks, still in the form of a file.

    folder: where its relative paths begin.
    """

    document: Document
    file: FileSchema
    routes: tuple[EffectiveRoute, ...]
    folder: FilePath

    def config(self, *, store_url: str | None = None) -> Config:
        """What the rest of the house works with. store_url: in place of `store.url`, for routes that name no Redis."""
        warnings = tuple(in_reading_order(self.document.warnings))
        config = build_config(self.file, self.routes, self.folder, store_url=store_url)
        return replace(config, warnings=warnings)
