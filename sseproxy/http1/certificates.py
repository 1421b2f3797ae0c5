"""How is a certificate loaded, with its key, for either side of TLS?"""

import ssl


class EncryptedKey(OSError):
    """A private key needs a passphrase, for which a server cannot ask."""


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let `context` show the certificate of one PEM file, with the key of another.

    Raises `EncryptedKey`; `ssl.SSLError` if the two do not belong together, or are no PEM; any other `OSError` if a
    file cannot be read.
    """

    # Without a function OpenSSL would ask on the terminal, and wait.
    def refuse() -> str:
        raise EncryptedKey(f"{key} is encrypted; a passphrase is not supported")

    context.load_cert_chain(certificate, key, password=refuse)
