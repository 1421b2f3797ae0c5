"""What does ``sseproxy demo`` do from its first line to its exit code?"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from importlib.resources import as_file, files

from sseproxy.core.frozen import frozen
from sseproxy.demo.asking import asking
from sseproxy.demo.check import DIRECT, KEPT, check_both_ways, table
from sseproxy.demo.gateway import GatewayChoice, gateway
from sseproxy.demo.model import serving
from sseproxy.demo.nginx import NginxFailed
from sseproxy.demo.page import page_server
from sseproxy.demo.ports import authority, listener
from sseproxy.demo.process import interrupted
from sseproxy.demo.pushing import NO_PUSH, PUSH, Push, pushing
from sseproxy.demo.resuming import RESUME, resuming
from sseproxy.demo.sidecar import SidecarFailed, sidecar
from sseproxy.demo.timing import STOCK_PATIENCE, Timing, scripts, tokens

#: Where only browsers of this machine find the pages.
LOOPBACK = "127.0.0.1"

#: No browser can open the address that stands for all of a machine; this one stands in for it.
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}

#: What to do when the demo has shown its point.
_NEXT = """\
in front of your own service at port 9000, with your gateway asking port 8080 instead:
  sseproxy serve --upstream http://127.0.0.1:9000 --before-response 10s"""

#: What the last row of the table needs beside that command.
_JSON = "the JSON answer needs heartbeat.json, which is off by default: docs/json.md"

#: The path of the second page, behind the gateway.
_EVENT_SOURCE = "/eventsource/"


def run(check: bool, port: int, choice: GatewayChoice = GatewayChoice.AUTO, host: str = LOOPBACK) -> int:
    """Run the demo until it is interrupted, or with `check` until both ways are through; returns the exit code.

    host, port: where the gateway, and through it the page, listens: an IP address, and 0 lets the kernel choose.
    """
    try:
        return asyncio.run(_run(check, (host, port), choice))
    except (OSError, NginxFailed, SidecarFailed, TimeoutError) as error:
        print(f"sseproxy demo: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


@frozen
class _Stack:
    """What is running: the gateway's address and name, how long everything takes, and what is behind the third page."""

    host: str
    port: int
    gateway: str
    timing: Timing
    push: Push

    @classmethod
    async def start(
        cls,
        exits: contextlib.AsyncExitStack,
        sock: socket.socket,
        choice: GatewayChoice,
        timing: Timing,
        push: Push,
        *,
        resumed: Mapping[str, int],
    ) -> "_Stack":
        """Start models, sseproxy, page and gateway, from the back to the front; `exits` ends them.

        resumed: what is behind the fourth page.
        """
        bound, port, *_ = sock.getsockname()
        host = _ANY.get(bound, bound)
        _, model = await exits.enter_async_context(serving(scripts(timing)))
        file = exits.enter_context(as_file(files("sseproxy.demo") / "chat.yaml"))
        variables = {"MODEL_URL": f"http://127.0.0.1:{model}", "JSON_AFTER": timing.json_after}
        flags = ["-c", str(file), *timing.flags, "--no-access-log"]
        kept = await exits.enter_async_context(sidecar(flags, **variables))
        facts: dict[str, object] = {**timing.facts, **push.facts, "tokens": len(tokens())}
        page = await exits.enter_async_context(page_server(facts))
        asked = await exits.enter_async_context(asking(timing, origin=f"http://{authority(host, port)}"))
        targets = {DIRECT: model, KEPT: kept, _EVENT_SOURCE: asked, **push.targets, **resumed, "/": page}
        name = await exits.enter_async_context(gateway(choice, sock, targets, patience=timing.patience))
        facts["gateway"] = name
        return cls(host, port, name, timing, push)

    async def check(self) -> int:
        """Print what both ways give. Return the exit code: 0 if the direct way fails and the other does not."""
        results = await check_both_ways(self.host, self.port, self.timing)
        print(f"{table(results)}\n{_JSON}\n\n{_NEXT}")
        return 0 if all(result.as_promised for result in results) else 1

    async def show(self) -> int:
        """Print where the pages are, and wait until the user has seen enough. Return the exit code."""
        async with interrupted() as event:
            url = f"http://{authority(self.host, self.port)}"
            print(f"open {url}/ in a browser; Ctrl-C ends it")
            print(f"EventSource that can POST, log in, stop and ask elsewhere: {url}{_EVENT_SOURCE}")
            print(f"a message to one user, by Redis: {self.push.missing or url + PUSH}")
            print(f"an answer that survives a reload: {url}{RESUME}")
            print(f"\n{_NEXT}", flush=True)
            await event.wait()
        return 0

    def __str__(self) -> str:
        time = self.timing
        return (
            f"{time.faster:g} times faster than in production, where nginx waits for {STOCK_PATIENCE:g} s by default\n"
            f"gateway: {self.gateway}, gives up after {time.patience:g} s of silence\n"
            f"model: silent for {time.silence:g} s at a time\n"
            f"sseproxy: a heartbeat every {time.heartbeat:g} s, "
            f"also before the response, after {time.before_response:g} s\n"
        )


async def _run(check: bool, address: tuple[str, int], choice: GatewayChoice) -> int:
    async with contextlib.AsyncExitStack() as exits:
        host, port = address
        sock = exits.enter_context(contextlib.closing(listener(port, host)))
        timing = Timing()
        push = NO_PUSH if check else await exits.enter_async_context(pushing(timing))
        resumed = {} if check else await exits.enter_async_context(resuming(timing))
        stack = await _Stack.start(exits, sock, choice, timing, push, resumed=resumed)
        print(stack, flush=True)
        return await (stack.check() if check else stack.show())
