"""Does the demo's stand-in for nginx do to a stream what nginx does?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest

from sseproxy.demo.chat import finish, request_body, token
from sseproxy.demo.embedded import embedded
from sseproxy.demo.exchange import Answer, Ending, exchange, post
from sseproxy.demo.model import Begin, Die, Noticed, Script, Send, Silence, serving
from sseproxy.demo.ports import listener, port_of
from sseproxy.demo.standin import StandIn
from tests.support.nginx import nginx_before

_PATIENCE = 2.0
_LIMIT = 30.0
_FIRST: Script = [Begin(), Send(token("one"))]
_SCRIPTS: Mapping[str, Script] = {
    "whole": [*_FIRST, Silence(_PATIENCE / 20), Send(token("two") + finish())],
    "silent before the head": [Silence(_LIMIT), *_FIRST],
    "silent after the first event": [*_FIRST, Silence(_LIMIT)],
    "dies before the head": [Die()],
    "dies after the first event": [*_FIRST, Silence(_PATIENCE / 20), Die()],
}


@contextlib.asynccontextmanager
async def _stand_in_before(port: int) -> AsyncIterator[int]:
    sock = listener()
    chosen = port_of(sock)
    async with embedded(StandIn({"/": port}, _PATIENCE).serve, sock):
        yield chosen


def _seen(answer: Answer) -> tuple[int | None, Ending, bytes]:
    return answer.status, answer.ending, answer.body if answer.status == 200 else b""


@pytest.mark.parametrize("behaviour", _SCRIPTS)
async def test_a_client_gets_the_same(behaviour: str) -> None:
    request = post("/v1/chat/completions", request_body(behaviour))
    async with (
        serving(_SCRIPTS) as (_, service),
        _stand_in_before(service) as stand_in,
        nginx_before(service, read_timeout=_PATIENCE) as nginx,
    ):
        real, ours = await asyncio.gather(*(exchange(port, request, limit=_LIMIT) for port in (nginx, stand_in)))
    assert _seen(ours) == _seen(real)


async def test_nobody_behind_it() -> None:
    with contextlib.closing(listener()) as unused:
        nobody = port_of(unused)
    async with _stand_in_before(nobody) as stand_in, nginx_before(nobody, read_timeout=_PATIENCE) as nginx:
        request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        real, stood_in = [await exchange(port, request, limit=_LIMIT) for port in (nginx, stand_in)]
    assert (stood_in.status, real.status) == (502, 502)


async def test_a_client_that_leaves_is_told_to_the_service() -> None:
    request = post("/", request_body("silent before the head"))
    async with serving(_SCRIPTS) as (model, service), _stand_in_before(service) as stand_in:
        await exchange(stand_in, request, limit=_LIMIT, leave_after=_PATIENCE / 20)
        visit = await model.visit("demo", limit=_LIMIT)
        assert visit is not None
        assert visit.noticed is Noticed.PEER_LEFT
