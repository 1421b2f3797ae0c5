"""Does a certificate that was read stay one, whatever becomes of its files?"""

import pickle
import ssl
from pathlib import Path

import pytest

from sseproxy.config.settings import CertificateFiles
from sseproxy.process.certificates import Certificate
from tests.support.certificates import new_authority, new_certificate


def test_it_outlives_its_files(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    made = new_certificate(tmp_path, authority, "a", "DNS:localhost")
    files = CertificateFiles(str(made.certificate), str(made.key), str(authority.certificate))
    read = Certificate.read(files)
    made.certificate.unlink()
    made.key.unlink()
    authority.certificate.unlink()
    sent = pickle.loads(pickle.dumps(read))
    context = sent.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert "PRIVATE" not in repr(read)


def test_one_that_is_half_renewed_is_refused(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    first, second = (new_certificate(tmp_path, authority, name, "DNS:localhost") for name in "ab")
    with pytest.raises(OSError, match="MISMATCH"):
        Certificate.read(CertificateFiles(str(first.certificate), str(second.key)))
    with pytest.raises(FileNotFoundError):
        Certificate.read(CertificateFiles(str(first.certificate), str(tmp_path / "none")))
