"""Does a client that would come back for a late refusal again and again stop, and only that one?"""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.options import read_options
from sseproxy.asgi.request_end import RequestEnd
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.core.eventsource.end_id import VALID
from sseproxy.core.eventsource.end_signer import EndSigner
from tests.support.asgi_exchange import Exchange, Noted, body, head, on_time, script
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse

ACCEPT = (b"accept", b"text/event-stream")
EVENT_SOURCE = (ACCEPT, (b"cache-control", b"no-cache"))
PLAIN = (b"content-type", b"text/plain")
SECRET = "a secret that all workers share"
NAME = re.compile(rb"sseproxy-end-[A-Za-z0-9_-]{40}")
NEVER = 1e9
GONE = head(404, PLAIN)


class Counted:
    """An app that refuses late, and knows what it was asked for. last_ids: those that its requests brought."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None) -> None:
        self._app = script(b"no", before=12.0, start=GONE) if app is None else app
        self.last_ids: list[bytes | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.last_ids.append(dict(scope["headers"]).get(b"last-event-id"))
        await self._app(scope, receive, send)


def wrapped(app: Any, **options: Any) -> SSEKeepaliveMiddleware:
    return SSEKeepaliveMiddleware(app, **{"before_response": "10s", "streams": on_time(), **options})


def asked(app: Any, *fields: tuple[bytes, bytes], **changes: Any) -> Exchange:
    exchange = Exchange(app, headers=[*EVENT_SOURCE, *fields])
    exchange.scope.update(changes)
    return exchange


def id_of(seen: Exchange) -> bytes:
    """The id that a stream ends with."""
    last = parse(seen.body).last_event_id.encode()
    assert NAME.fullmatch(last), seen.body
    assert seen.is_whole
    return last


def back(app: Any, name: bytes, *fields: tuple[bytes, bytes], **changes: Any) -> Exchange:
    return asked(app, (b"last-event-id", name), *fields, **changes)


async def test_the_reconnect_is_answered_without_the_app() -> None:
    app = Counted()
    on = wrapped(app)
    name = id_of(await asked(on).run())
    for _ in range(2):
        again = await back(on, name).run()
        assert (again.status, again.headers, again.body) == (204, {b"cache-control": b"no-store"}, b"")
        assert again.is_whole
    assert app.last_ids == [None]


async def test_a_page_that_begins_anew_is_not_affected() -> None:
    app = Counted()
    on = wrapped(app)
    first = id_of(await asked(on).run())
    assert id_of(await asked(on).run()) != first
    assert app.last_ids == [None, None]


@pytest.mark.parametrize(
    "name",
    [b"7", b"sseproxy-end-" + b"A" * 40, b"sseproxy-end-", b"\xff", b""],
    ids=["own", "forged", "cut", "raw", "no"],
)
async def test_an_id_of_another_kind_goes_on_to_the_app(name: bytes) -> None:
    """Also one that looks like an end: it may be that of a proxy behind this one."""
    app = Counted(script(b"data: 1\n\n"))
    seen = await back(wrapped(app), name).run()
    assert (seen.status, seen.body) == (200, b"data: 1\n\n")
    assert app.last_ids == [name]


@pytest.mark.parametrize(
    ("mine", "yours", "changes"),
    [
        ([(b"authorization", b"Bearer x")], [(b"authorization", b"Bearer y")], {}),
        ([(b"authorization", b"Bearer x")], [], {}),
        ([(b"host", b"a.test")], [(b"host", b"b.test")], {}),
        ([], [], {"path": "/b", "raw_path": b"/b"}),
        ([], [], {"raw_path": b"/%2F"}),
        ([], [], {"query_string": b"a=1"}),
    ],
    ids=["login", "no login", "host", "path", "raw path", "query"],
)
async def test_the_end_of_one_request_is_not_that_of_another(
    mine: list[tuple[bytes, bytes]], yours: list[tuple[bytes, bytes]], changes: dict[str, Any]
) -> None:
    app = Counted()
    on = wrapped(app)
    name = id_of(await asked(on, *mine).run())
    assert (await back(on, name, *yours, **changes).run()).status == 200
    assert (await back(on, name, *mine).run()).status == 204
    assert app.last_ids == [None, name]


@pytest.mark.parametrize("accept", [None, b"*/*", b"text/event-stream, */*"])
async def test_a_client_that_takes_other_answers_cannot_use_it(accept: bytes | None) -> None:
    app = Counted(script(b"no", start=GONE))
    name = id_of(await asked(wrapped(Counted(), secret=SECRET)).run())
    fields = [] if accept is None else [(b"accept", accept)]
    seen = await Exchange(wrapped(app, secret=SECRET), headers=[*fields, (b"last-event-id", name)]).run()
    assert (seen.status, app.last_ids) == (404, [name])


async def test_a_post_cannot_use_it() -> None:
    app = Counted()
    on = wrapped(app)
    name = id_of(await asked(on).run())
    seen = Exchange(on, headers=[*EVENT_SOURCE, (b"last-event-id", name)], method="POST").start()
    with pytest.raises(StreamAborted):
        await seen.finish()
    assert app.last_ids == [None, name]


async def test_without_raw_paths_the_path_counts() -> None:
    on = wrapped(Counted())
    name = id_of(await asked(on, path="/\N{SNOWMAN}", raw_path=None).run())
    assert (await back(on, name, path="/\N{SNOWMAN}", raw_path=None).run()).status == 204
    assert (await back(on, name, path="/x", raw_path=None).run()).status == 200


async def test_an_app_that_changes_its_scope_changes_no_end() -> None:
    """A login that an inner middleware takes from a cookie, and the path of a mounted app."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"].append((b"authorization", b"Bearer of the cookie"))
        scope["path"] = scope["raw_path"] = "/mounted"
        await script(b"no", before=12.0, start=GONE)(scope, receive, send)

    on = wrapped(app)
    name = id_of(await asked(on).run())
    assert (await back(on, name).run()).status == 204


async def test_each_middleware_has_a_key_of_its_own() -> None:
    name = id_of(await asked(wrapped(Counted())).run())
    app = Counted()
    assert id_of(await back(wrapped(app), name).run()) != name
    assert app.last_ids == [name]


async def test_those_with_one_secret_know_each_others_ends() -> None:
    name = id_of(await asked(wrapped(Counted(), secret=SECRET)).run())
    assert (await back(wrapped(Counted(), secret=SECRET), name).run()).status == 204
    assert (await back(wrapped(Counted(), secret=SECRET + "!"), name).run()).status == 200


@pytest.mark.parametrize(("later", "is_known"), [(0, True), (VALID, True), (VALID + 1, False)])
def test_an_end_is_an_end_for_an_hour(later: float, is_known: bool) -> None:
    now = [1_700_000_000.0]
    signer, options = EndSigner(b"key", clock=lambda: now[0], random=bytes), read_options({"before_response": "10s"})
    scope = asked(script()).scope
    first = RequestEnd(signer, scope, options)
    name = first.message(id_has_event=False).id
    assert name is not None
    assert not first.is_known
    now[0] += later
    scope["headers"].append((b"last-event-id", name.encode()))
    assert RequestEnd(signer, scope, options).is_known is is_known


# What the app does meanwhile.


async def test_an_app_that_ends_its_refusal_is_not_stopped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await script(b"no", before=12.0, start=GONE)(scope, receive, send)
        await passing(60)  # a background task

    noted = Noted(app)
    id_of(await asked(wrapped(noted)).run())
    assert noted.end == "returned"


async def test_one_that_does_not_end_it_is() -> None:
    noted = Noted(script(b"half", NEVER, before=12.0, start=GONE))
    seen = await asked(wrapped(noted, response_timeout="20s")).run()
    id_of(seen)
    assert b'"detail": "half"' in seen.body
    assert noted.end is asyncio.CancelledError


async def test_nor_does_one_that_says_too_much() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await passing(12)
        await send(GONE)
        for _ in itertools.count():
            await send(body(b"x" * 50_000))
            await passing(1)

    noted = Noted(app)
    id_of(await asked(wrapped(noted)).run())
    assert noted.end is asyncio.CancelledError


@pytest.mark.parametrize("start", [GONE, head(204, PLAIN)])
async def test_one_that_fails_within_it_keeps_its_exception(start: Message) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await passing(12)
        await send(start)
        raise RuntimeError("mine")

    seen = asked(wrapped(app)).start()
    with pytest.raises(RuntimeError, match="mine"):
        await seen.finish()
    id_of(seen)


@pytest.mark.parametrize("error", [None, RuntimeError("mine")])
async def test_an_app_without_a_response_is_asked_again(error: RuntimeError | None) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await passing(12)
        if error is not None:
            raise error

    seen = asked(wrapped(app)).start()
    with pytest.raises(StreamAborted if error is None else RuntimeError):
        await seen.finish()
    assert not seen.is_whole
    assert NAME.search(seen.body) is None


async def test_a_refusal_in_time_is_as_it_was() -> None:
    seen = await asked(wrapped(script(b"no", before=5.0, start=GONE))).run()
    assert (seen.status, seen.body) == (404, b"no")


async def test_without_early_answers_ids_are_the_apps() -> None:
    app = Counted(script(b"data: 1\n\n"))
    on = wrapped(Counted())
    name = id_of(await asked(on).run())
    await back(SSEKeepaliveMiddleware(app), name).run()
    assert app.last_ids == [name]
