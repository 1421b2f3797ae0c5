"""Can the PEM files of a `tls` section be used?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from dataclasses import dataclass
from pathlib import Path as FilePath

from sseproxy.config import files
from sseproxy.config.document import Document
from sseproxy.config.files import absolute
from sseproxy.config.problems import Path
from sseproxy.config.tls import ServerTLSSection, UpstreamTLSSection
from sseproxy.core.routes import Upstream


def check_server_tls(document: Document, at: Path, section: ServerTLSSection, folder: FilePath) -> None:
    """What clients are shown, and have to show. folder: where relative paths of the file begin."""
    check = PemCheck(document, at, folder)
    check.pair(section.certificate, section.key)
    if section.client_ca is not None:
        check.authorities("client_ca", section.client_ca)


def check_upstream_tls(
    document: Document, at: Path, section: UpstreamTLSSection, upstream: Upstream | None, folder: FilePath
) -> None:
    """How `upstream` is verified, and what it is shown. It is ``None`` where the section is superfluous anyway."""
    if upstream is not None and upstream.scheme != "https":
        document.problem(at, f"has no effect on an {upstream.scheme} upstream")
    check = PemCheck(document, at, folder)
    if section.certificate is not None or section.key is not None:
        check.pair(section.certificate, section.key)
    if section.ca is not None:
        if not section.verify:
            document.problem((*at, "ca"), "has no effect with verify: false")
        check.authorities("ca", section.ca)


@dataclass(slots=True, eq=False)
class PemCheck:
    """The files of the section at one place. folder: where relative paths of the file begin."""

    document: Document
    at: Path
    folder: FilePath

    def pair(self, certificate: str | None, key: str | None) -> None:
        """Check that certificate and key are there, can be read, and belong together."""
        readable = [self.is_readable("certificate", certificate), self.is_readable("key", key)]
        if not all(readable) or certificate is None or key is None:
            return
        wrong = files.unusable_certificate(absolute(certificate, self.folder))
        if wrong:
            self.document.problem((*self.at, "certificate"), wrong)
            return
        wrong = files.unusable_pair(absolute(certificate, self.folder), absolute(key, self.folder))
        if wrong:
            self.document.problem((*self.at, "key"), wrong)

    def authorities(self, name: str, path: str) -> None:
        """Check that the file under the key `name` holds certificates."""
        if self.is_readable(name, path) and (wrong := files.unusable_certificate(absolute(path, self.folder))):
            self.document.problem((*self.at, name), f"{path} {wrong}")

    def is_readable(self, name: str, path: str | None) -> bool:
        """Return whether the file under the key `name` can be read; if not, it is noted."""
        at = (*self.at, name)
        if self.document.is_broken(at):
            return False
        if path is None:
            self.document.problem(at, "is missing", "certificate and key go together")
            return False
        wrong = files.unreadable(absolute(path, self.folder))
        if wrong:
            hint = "" if FilePath(path).is_absolute() else "relative paths begin at the folder of this file"
            self.document.problem(at, f"{path} {wrong}", hint)
        return not wrong
