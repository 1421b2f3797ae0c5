"""Which combinations of right values are impossible on the public and the private side?

Checks add to `Document.problems`. Where a value that a check looks at has been found wrong already, it stays silent.
"""

from pathlib import Path as FilePath

from sseproxy.config import files
from sseproxy.config.addresses import Address
from sseproxy.config.build import absolute
from sseproxy.config.document import Document
from sseproxy.config.problems import Path
from sseproxy.config.schema import DrainSection, FileSchema, ServerTLSSection
from sseproxy.config.values import format_duration

LISTEN: Path = ("server", "listen")
ADMIN_LISTEN: Path = ("admin", "listen")
DRAIN_TIMEOUT: Path = ("server", "drain", "timeout")
_TLS: Path = ("server", "tls")


def check_server(document: Document, file: FileSchema, folder: FilePath) -> None:
    """Listeners, certificate and drain."""
    _check_listeners(document, file)
    _check_drain(document, file.server.drain)
    if file.server.tls is not None:
        _check_tls(document, file.server.tls, folder)


def _check_listeners(document: Document, file: FileSchema) -> None:
    if not document.is_broken(LISTEN):
        _check_listen(document, file.server.listen)
    if file.admin is not None and not document.is_broken(("admin",)):
        _check_admin(document, file)


def _check_listen(document: Document, listen: tuple[Address, ...]) -> None:
    if not listen:
        document.problem(LISTEN, "must not be empty")
    for index, address in enumerate(listen):
        at = document.shown((*LISTEN, index))
        _check_socket(document, (*LISTEN, index), address)
        taken = next((earlier for earlier in listen[:index] if address.overlaps(earlier)), None)
        if taken is not None:
            document.problem(at, f"takes the same place as {taken}")


def _check_admin(document: Document, file: FileSchema) -> None:
    listen = file.admin.listen if file.admin else None
    if listen is None:
        document.problem(ADMIN_LISTEN, "is missing", "leave out admin for none")
        return
    _check_socket(document, ADMIN_LISTEN, listen)
    if not listen.trust:
        document.problem((*ADMIN_LISTEN, "trust"), "has no effect here", "leave it out")
    for address in () if document.is_broken(LISTEN) else file.server.listen:
        if listen.overlaps(address):
            document.problem(ADMIN_LISTEN, f"takes the same place as server.listen {address}")


def _check_socket(document: Document, at: Path, address: Address) -> None:
    wrong = files.unusable_socket(address.path) if address.path is not None else None
    if wrong:
        document.problem(document.shown(at), wrong)
    wrong = files.unknown_group(address.group) if address.group is not None else None
    if wrong:
        document.problem((*at, "group"), wrong)


def _check_drain(document: Document, drain: DrainSection) -> None:
    at: Path = ("server", "drain", "spread")
    if document.is_broken(("server", "drain")) or drain.timeout is None or "spread" not in drain.model_fields_set:
        return
    if (drain.spread or 0) > drain.timeout:
        document.problem(at, f"must not be longer than server.drain.timeout ({format_duration(drain.timeout)})")


def _check_tls(document: Document, tls: ServerTLSSection, folder: FilePath) -> None:
    readable = True
    for name, path in (("certificate", tls.certificate), ("key", tls.key)):
        at = (*_TLS, name)
        if document.is_broken(at) or path is None:
            readable = False
            if not document.is_broken(at):
                document.problem(at, "is missing", "tls needs certificate and key")
        else:
            readable &= check_readable(document, at, path, folder)
    if readable and tls.certificate and tls.key:
        wrong = files.unusable_certificate(absolute(tls.certificate, folder))
        if wrong:
            document.problem((*_TLS, "certificate"), wrong)
            return
        wrong = files.unusable_pair(absolute(tls.certificate, folder), absolute(tls.key, folder))
        if wrong:
            document.problem((*_TLS, "key"), wrong)


def check_readable(document: Document, at: Path, path: str, folder: FilePath) -> bool:
    """Whether a file can be read; if not, it is noted."""
    wrong = files.unreadable(absolute(path, folder))
    if wrong:
        relative = not FilePath(path).is_absolute()
        document.problem(at, f"{path} {wrong}", "relative paths begin at the folder of this file" if relative else "")
    return not wrong
