"""Which checks does a configuration have to pass whose values are all right by themselves?"""

from pathlib import Path as FilePath

from sseproxy.config.authorize_checks import check_authorize
from sseproxy.config.browser_checks import check_browsers
from sseproxy.config.checks import check_server
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.push_checks import check_push
from sseproxy.config.route_checks import check_routes
from sseproxy.config.schema import FileSchema


def check_combinations(
    document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...], folder: FilePath
) -> None:
    """All of them. What is wrong is added to `Document.problems`. folder: where relative paths of the file begin."""
    check_server(document, file, folder)
    check_routes(document, file, routes, folder)
    check_browsers(document, file, routes)
    check_push(document, file, routes)
    check_authorize(document, file, routes, folder)
    if file.store.file is not None or any(route.section.journal is not None for route in routes):
        from sseproxy.config.journal_checks import check_journals  # noqa: PLC0415 - only where there is one

        check_journals(document, file, routes, folder)
