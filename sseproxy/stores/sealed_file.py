"""How does a process leave a file to the next one that no other user can read, and that is whole or not used?"""

import hashlib
import os
import stat
from collections.abc import Iterable
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import Final

_DIGEST_BYTES: Final = 32

#: Bytes that are read at once.
_PIECE: Final = 1 << 20

# A file is a line that says what it is and in which version, a line with the digest of all that is behind it, and that.
#
# Invariants
#   1. Only its owner can read it, from the first moment on.
#   2. It is there as a whole or not at all: it gets its name when all of it is on the disk.
#   3. Nothing of it is used before the digest is found to be right.
#
# Hazards: a file that another user has put there, or a link to one; a named pipe, which to open would wait for ever; a
# process that was killed while it wrote, or a disk that was full.


class Fate(Enum):
    """What should become of a file that is not used."""

    LEFT = "left as it is"
    ASIDE = "moved aside"  # this program has written it, and it is perhaps worth a look
    REMOVED = "removed"  # likewise, and it is worth nothing


class Unusable(Exception):
    """Why a file is not used."""

    def __init__(self, reason: str, fate: Fate) -> None:
        super().__init__(reason)
        self.fate = fate


def write_sealed(path: Path, kind: str, version: int, pieces: Iterable[bytes]) -> None:
    """Write a file, in place of what has its name. Raises `OSError`; then what had the name is as it was."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
        try:
            digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
            magic = f"{kind} {version}\n".encode()
            file.write(magic + b"0" * (2 * _DIGEST_BYTES) + b"\n")
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.seek(len(magic))
            file.write(digest.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # its name, too
    finally:
        os.close(folder)


def open_sealed(path: Path, kind: str, version: int) -> BufferedReader:
    """Return a file that `write_sealed` has written, at the beginning of what it was given. The caller closes it.

    Raises `FileNotFoundError` if there is none, and `Unusable`.
    """
    try:
        # Without waiting, for the sake of named pipes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "it is a symbolic link" if path.is_symlink() else error.strerror or str(error)
        raise Unusable(reason, Fate.LEFT) from error
    try:
        refuse_foreign(os.fstat(descriptor))
    except Unusable:
        os.close(descriptor)
        raise
    file = os.fdopen(descriptor, "rb")
    try:
        check_sealed(file, kind, version)
    except OSError as error:
        file.close()
        raise Unusable(error.strerror or str(error), Fate.LEFT) from error
    except BaseException:
        file.close()
        raise
    return file


def refuse_foreign(status: os.stat_result) -> None:
    """Raise `Unusable` unless a file is a regular one, and of this user alone."""
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("it is no regular file", Fate.LEFT)
    if status.st_uid != os.geteuid():
        raise Unusable("it belongs to another user", Fate.LEFT)
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_nlink != 1:
        raise Unusable("others may read or write it, or it has another name, too", Fate.LEFT)


def check_sealed(file: BufferedReader, kind: str, version: int) -> None:
    """Raise `Unusable` unless `file` is exactly as it was written. It is then behind the digest."""
    magic = f"{kind} {version}\n".encode()
    first = file.readline(2 * len(magic))
    shown = file.readline(2 * _DIGEST_BYTES + 1)
    if first != magic:
        if first.startswith(kind.encode() + b" ") and first.endswith(b"\n"):
            raise Unusable("it is of another version", Fate.LEFT)
        raise Unusable("it is damaged", Fate.ASIDE)
    start = file.tell()
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while piece := file.read(_PIECE):
        digest.update(piece)
    if shown != digest.hexdigest().encode() + b"\n":
        raise Unusable("it is damaged, or cut short", Fate.ASIDE)
    file.seek(start)


def dispose(path: Path, fate: Fate) -> Fate:
    """Do with a file what its fate is. Return what was done: it is left where more is not possible."""
    try:
        if fate is Fate.ASIDE:
            path.replace(path.with_name(path.name + ".damaged"))
        elif fate is Fate.REMOVED:
            path.unlink()
    except OSError:
        return Fate.LEFT
    return fate
