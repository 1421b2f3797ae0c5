"""Can each of these modules be imported first, in a fresh interpreter? (`python import_alone.py MODULE...`)

Starts one interpreter and forks it before each import, which is far quicker than one interpreter for each. The large
libraries are loaded before that, once for all; only the order in which our own modules come is in question.
"""

import importlib
import os
import sys
import traceback

LARGE_LIBRARIES = ("aiohttp", "pydantic", "yaml")


def imports_alone(module: str) -> bool:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(_import(module))
    return os.waitpid(child, 0)[1] == 0


def _import(module: str) -> int:
    try:
        importlib.import_module(module)
    except BaseException:  # noqa: BLE001 - whatever it is, it must be told, and the fork must end here
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for library in LARGE_LIBRARIES:
        importlib.import_module(library)
    failed = [module for module in sys.argv[1:] if not imports_alone(module)]
    sys.exit(f"cannot be imported alone: {', '.join(failed)}" if failed else 0)
