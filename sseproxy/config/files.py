"""Can the files that the configuration needs be used: certificates, keys, authorities, folders of sockets, modules?

The functions whose names begin with ``un`` return what is wrong, or ``None``.
"""

import grp
import os
import ssl
import stat
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from sseproxy.http1.certificates import EncryptedKey, load_pair


def absolute(path: str, folder: Path) -> str:
    """The path of a file that the configuration in `folder` names."""
    return str(folder.absolute() / path)


def unreadable(path: str) -> str | None:
    """Why the file at `path` cannot be read."""
    try:
        with Path(path).open("rb"):
            return None
    except OSError as error:
        return f"cannot be read: {(error.strerror or 'input/output error').lower()}"


def unusable_pair(certificate: str, key: str) -> str | None:
    """Why certificate and key, both readable, do not make a TLS server."""
    try:
        # OpenSSL is the judge: what it loads here, it loads when the server starts.
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    except EncryptedKey:
        return "is encrypted; a passphrase is not supported"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "does not belong to the certificate"
        return "does not make a PEM certificate and key with the certificate"
    return None


def unusable_certificate(path: str) -> str | None:
    """Why the readable file at `path` is no list of PEM certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no PEM certificate"
    return None


def unusable_socket(path: str) -> str | None:
    """Why no unix socket can be made at `path`. One that is there already is fine: it is taken over."""
    place = Path(path)
    if not place.parent.is_dir():
        return f"folder {place.parent} does not exist"
    return "is there already and is not a socket" if place.exists() and not place.is_socket() else None


def unwritable(path: str) -> str | None:
    """Why no file can be put at `path`."""
    place = Path(path)
    if not place.parent.is_dir():
        return f"folder {place.parent} does not exist"
    if place.is_dir():
        return "is a folder"
    return None if os.access(place.parent, os.W_OK) else f"nothing can be written into folder {place.parent}"


def unknown_group(group: str) -> str | None:
    """Why there is no such group, which is a name or a number."""
    try:
        group_id(group)
    except LookupError:
        return f"there is no group {group} on this machine"
    return None


def group_id(group: str) -> int:
    """The number of a group. Raises `LookupError` for a name that the system does not know."""
    return int(group) if group.isascii() and group.isdigit() else grp.getgrnam(group).gr_gid


def opens_to_all(path: str) -> bool:
    """True if any user of this machine may put files into the folder of `path`."""
    try:
        return bool(Path(path).parent.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False


def missing_module(names: Iterable[str]) -> str | None:
    """Which of these modules of an extra is not installed."""
    for name in names:
        try:
            is_there = find_spec(name) is not None
        except ModuleNotFoundError:  # nor is the package that it would be in
            is_there = False
        if not is_there:
            return name
    return None
