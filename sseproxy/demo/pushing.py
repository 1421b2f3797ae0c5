"""What is behind the demo's third page, where Redis brings a message to one user?"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import field
from importlib.resources import as_file, files

from sseproxy.core.frozen import frozen
from sseproxy.demo.page import local
from sseproxy.demo.redis_server import RedisFailed, find_redis, redis_server, redis_version
from sseproxy.demo.sidecar import sidecar
from sseproxy.demo.timing import Timing
from sseproxy.stores.redis.library import RedisMissing, require_redis

#: The path of the page, behind the gateway.
PUSH = "/push/"


@frozen
class Push:
    """What runs. targets: a port for each path prefix. facts: for the page. missing: why there is no page."""

    targets: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    missing: str = ""


NO_PUSH = Push()


@contextlib.asynccontextmanager
async def pushing(timing: Timing) -> AsyncIterator[Push]:
    """Run Redis, the service in push/ and, for each user, a sseproxy with the file that lies beside it."""
    program = find_redis()
    try:
        require_redis()
    except RedisMissing:
        yield Push(missing="the page needs pip install 'sseproxy[redis]'")
        return
    if program is None:
        yield Push(missing="the page needs Redis: apt install redis-server, or brew install redis")
        return
    async with contextlib.AsyncExitStack() as exits:
        try:
            push = await _start(exits, program, timing)
        except RedisFailed as error:
            push = Push(missing=f"{program} does not start: {error}")
        yield push


async def _start(exits: contextlib.AsyncExitStack, program: str, timing: Timing) -> Push:
    from sseproxy.demo.push.app import USERS, make_app  # noqa: PLC0415 - redis-py is imported where it is used

    port = await exits.enter_async_context(redis_server(program))
    url = f"redis://127.0.0.1:{port}/0"
    service = await exits.enter_async_context(local(make_app(url)))
    file = exits.enter_context(as_file(files("sseproxy.demo") / "push" / "sseproxy.yaml"))
    flags = ["-c", str(file), *timing.flags, "--no-access-log"]
    variables = {"REDIS_URL": url, "APP_URL": f"http://127.0.0.1:{service}"}
    replicas = {user: await exits.enter_async_context(sidecar(flags, **variables)) for user in USERS}
    facts: dict[str, object] = {**replicas, "redis": await redis_version(program), "redis_port": port}
    return Push({f"{PUSH}{user}/": replica for user, replica in replicas.items()}, facts)
