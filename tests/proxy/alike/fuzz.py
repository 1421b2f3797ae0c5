"""Do more servers, and more requests, bring any difference to light? `make doors-all` runs this.

    python -m tests.proxy.alike.fuzz [--requests N] [--seed N] [--doors granian hypercorn ...]

Prints each difference with the smallest case that shows it. Exit code 1 if there is one.
"""

import argparse
import asyncio
import logging
import sys
import time

from tests.proxy.alike.stand import AIOHTTP, SERVERS, UVICORN, fuzz, in_a_process, inside, standing
from tests.support.fronts import AiohttpFront, UvicornFront

_SERVERS = {each.name: each for each in SERVERS}
_DOORS = ("uvicorn", "aiohttp", *_SERVERS)


async def _run(requests: int, seed: int, names: list[str]) -> bool:
    inner = {"uvicorn": inside(UVICORN, UvicornFront.open), "aiohttp": inside(AIOHTTP, AiohttpFront.open)}
    doors = [inner.get(name) or in_a_process(_SERVERS[name]) for name in names]
    began = time.monotonic()
    async with standing(*doors) as stand:
        found = await fuzz(stand, seed, requests)
        print("\n\n".join(map(str, found)))
        print(
            f"{stand.requests} requests, seed {seed}, through {', '.join(names)}: {len(found)} differences, "
            f"{stand.arrived} came upstream, {stand.unseen} of {stand.cases} cases stayed with a server in front, "
            f"{time.monotonic() - began:.0f} s"
        )
    return not found


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--requests", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=15)
    arguments.add_argument("--doors", nargs="*", choices=_DOORS, default=list(_DOORS))
    options = arguments.parse_args()
    for name in ("uvicorn.error", "sseproxy", "aiohttp.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return 0 if asyncio.run(_run(options.requests, options.seed, options.doors)) else 1


if __name__ == "__main__":
    sys.exit(main())
