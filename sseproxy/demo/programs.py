"""Where is a program that the user may have installed, and which version is it?"""

import asyncio
import os
import re
import shutil

# Debian and most packages install servers to sbin, which is not on every user's PATH.
_PLACES = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])


def find_program(*names: str) -> str | None:
    """The path of the first of these programs that is installed, if there is one."""
    found = (shutil.which(name) or shutil.which(name, path=_PLACES) for name in names)
    return next(filter(None, found), None)


async def version_of(program: str, flag: str, pattern: bytes) -> str:
    """What the first group of `pattern` finds in what `program` writes when it is asked with `flag`."""
    process = await asyncio.create_subprocess_exec(
        program, flag, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    written, _ = await process.communicate()
    found = re.search(pattern, written)
    return found[1].decode() if found else "of unknown version"
