"""Which keys say how TLS is spoken, with clients and with upstreams?"""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from sseproxy.config import values
from sseproxy.config.fields import Boolean, FilePath, HostName
from sseproxy.config.files import absolute
from sseproxy.config.sections import Scalar, Section
from sseproxy.config.settings import CertificateFiles
from sseproxy.core.routes import UpstreamTLS

_UPSTREAM_TLS = UpstreamTLS()

FilePathOrOff = Annotated[
    str | None,
    Scalar(
        values.file_path_or_off, {"type": "string", "minLength": 1}, write=lambda path: "off" if path is None else path
    ),
]


class ServerTLSSection(Section):
    """The certificate that clients see, and those that they must show."""

    model_config = ConfigDict(json_schema_extra={"required": ["certificate", "key"]})

    certificate: FilePath | None = Field(default=None, description="PEM file: the certificate, then its chain.")
    key: FilePath | None = Field(default=None, description="PEM file: the private key, without a passphrase.")
    client_ca: FilePathOrOff = Field(
        default=None,
        description="PEM file of authorities: a client must show a certificate that one of them has signed; off: "
        "clients need none. No field tells the upstream of it.",
    )

    def files(self, folder: Path) -> CertificateFiles | None:
        """What the server goes by; ``None`` for a section that has not passed the checks. folder: of the file."""
        if self.certificate is None or self.key is None:
            return None
        client_ca = absolute(self.client_ca, folder) if self.client_ca is not None else None
        return CertificateFiles(absolute(self.certificate, folder), absolute(self.key, folder), client_ca)


class UpstreamTLSSection(Section):
    """How an https upstream is verified, and what it is shown."""

    verify: Boolean = Field(default=_UPSTREAM_TLS.verify, description="Verify certificate and name.")
    ca: FilePath | None = Field(
        default=None, description="PEM file of the authorities to trust; left out: the system's."
    )
    server_name: HostName | None = Field(
        default=None, description="The name to ask for and verify; left out: the host."
    )
    certificate: FilePath | None = Field(
        default=None, description="PEM file: the certificate to show, then its chain; left out: none is shown."
    )
    key: FilePath | None = Field(default=None, description="PEM file: its private key, without a passphrase.")

    def policy(self, folder: Path) -> UpstreamTLS:
        """What connections go by. folder: where the paths begin."""
        ca, certificate, key = (
            absolute(path, folder) if path is not None else None for path in (self.ca, self.certificate, self.key)
        )
        return UpstreamTLS(self.verify, ca, self.server_name, certificate, key)
