"""How do file, environment and command line become one `Config`, or a list of all that is wrong?

Flags win over ``SSEPROXY_*`` variables, those over the file, that over the defaults.
"""

from collections.abc import Mapping
from pathlib import Path as FilePath

from sseproxy.config.checked import Checked
from sseproxy.config.combinations import check_combinations
from sseproxy.config.document import Document
from sseproxy.config.effective import effective_routes
from sseproxy.config.flags import CONFIG_VARIABLE, FlagValue
from sseproxy.config.overrides import apply_overrides, unknown_variables
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.settings import Config
from sseproxy.config.validation import validate
from sseproxy.config.warnings import warn

# The way of a configuration
#
#   file ─ reading ─► Document ─ validation ─► FileSchema ─ effective ─► EffectiveRoute ─ checks ─► build ─► Config
#                                                                                   └──► printing
#                        ▲
#          overrides ────┘  flags and variables
#
# Invariants
#   1. All that is wrong is reported at once. Each step goes on with what is right, and is silent about a value that a
#      step before it has found wrong (`Document.is_broken`).
#   2. Whether a key was written is never guessed from its value: `model_fields_set` says it, also after merging.
#   3. What leaves here is frozen and has passed all checks; no other module looks at sections.


def load(path: FilePath | None, *, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> Config:
    """The configuration; as for `check`."""
    return check(path, flags=flags, environ=environ).config()


def check(path: FilePath | None, *, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> Checked:
    """Read everything, and look for all that is wrong with it.

    path: the file, else what ``SSEPROXY_CONFIG`` names, else none. flags: by name, as in `overrides.OVERRIDES`.
    Errors: `ConfigErrors` with everything that is wrong, if anything is.
    """
    if path is None and environ.get(CONFIG_VARIABLE):
        path = FilePath(environ[CONFIG_VARIABLE])
    folder = FilePath() if path is None else path.parent
    if path is None:
        document = Document()
    else:
        from sseproxy.config.reading import read_document  # noqa: PLC0415 - YAML, only where there is a file

        document = read_document(path, environ)
    # Twice: what is wrong with the file is known before flags and variables take its place, so that both are reported.
    validate(document)
    apply_overrides(document, flags, environ)
    return check_document(document, folder, environ)


def check_document(document: Document, folder: FilePath, environ: Mapping[str, str]) -> Checked:
    """Look for all that is wrong with what has been read. folder: where relative paths in it begin.

    Errors: as for `check`.
    """
    file = validate(document)
    routes = effective_routes(file)
    if () not in document.broken:
        check_combinations(document, file, routes, folder)
    problems = [*document.problems, *unknown_variables(document, environ)]
    if problems:
        raise ConfigErrors(problems)
    warn(document, file, routes)
    return Checked(document, file, routes, folder)
