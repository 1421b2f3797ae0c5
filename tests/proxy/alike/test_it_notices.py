"""Is each way noticed in which a door could be broken? A comparison that cannot fail says nothing."""

import re
from collections.abc import Callable
from functools import partial

import pytest

from sseproxy.asgi.types import ASGIApp, Message, Receive, Scope, Send
from sseproxy.core.http.fields import Headers
from tests.proxy.alike.stand import UVICORN, fuzz, inside, standing
from tests.support.fronts import UvicornFront

_REQUESTS = 400

Break = Callable[[Message], Message]


def in_request(change: Callable[[Headers], Headers]) -> Callable[[ASGIApp], ASGIApp]:
    """Change the fields of each request."""

    def around(app: ASGIApp) -> ASGIApp:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "headers": change(list(scope["headers"]))}, receive, send)

        return broken

    return around


def in_body(change: Callable[[bytes], bytes]) -> Callable[[ASGIApp], ASGIApp]:
    """Change the body of each request."""

    def around(app: ASGIApp) -> ASGIApp:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            async def changed() -> Message:
                message = await receive()
                return {**message, "body": change(message["body"])} if message.get("body") else message

            await app(scope, changed, send)

        return broken

    return around


def in_response(change: Break) -> Callable[[ASGIApp], ASGIApp]:
    """Change each message of a response."""

    def around(app: ASGIApp) -> ASGIApp:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            async def changed(message: Message) -> None:
                await send(change(message))

            await app(scope, receive, changed)

        return broken

    return around


def in_head(change: Callable[[Headers], Headers]) -> Callable[[ASGIApp], ASGIApp]:
    """Change the fields of each response."""
    return in_response(lambda message: {**message, "headers": change(list(message["headers"]))} if "headers" in message else message)


def clean_ends(app: ASGIApp) -> ASGIApp:
    """A broken response ends as if it were whole."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception:  # noqa: BLE001 - that is what is wrong with it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return broken


def respelled_targets(app: ASGIApp) -> ASGIApp:
    """A path comes upstream in another spelling."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "raw_path": scope["raw_path"].replace(b"%20", b"+")}, receive, send)

    return broken


def _joined(headers: Headers) -> Headers:
    names = list(dict.fromkeys(name for name, _ in headers))
    return [(name, b", ".join(value for other, value in headers if other == name)) for name in names]


_BREAKS: dict[str, tuple[Callable[[ASGIApp], ASGIApp], str]] = {
    "a field of the request is dropped": (in_request(lambda all: [each for each in all if each[0] != b"prefer"]), "arrived[0].fields"),
    "a field of the request comes twice": (in_request(lambda all: [*all, *(each for each in all if each[0] == b"priority")]), "arrived[0].fields"),
    "fields of one name are joined": (in_request(_joined), "arrived[0].fields"),
    "fields of one name change places": (in_request(lambda all: all[::-1]), "order of arrived[0].fields"),
    "a target is spelled otherwise": (respelled_targets, "arrived[0].target"),
    "a byte of the body is another": (in_body(lambda body: body[:-1] + b"!"), "arrived[0].body"),
    "a body loses its last byte": (in_body(lambda body: body[:-1]), "arrived[0].body"),
    "a status is another": (in_response(lambda message: {**message, "status": 418} if message.get("status") == 404 else message), "replies[0].status"),
    "a field of the response is dropped": (in_head(lambda all: [each for each in all if each[0] != b"etag"]), "replies[0].fields"),
    "cookies are joined": (in_head(_joined), "replies[0].fields"),
    "a byte of the response is another": (in_response(lambda message: {**message, "body": message["body"][:-1] + b"!"} if message.get("body") else message), "replies[0].body"),
    "a broken response ends as if it were whole": (clean_ends, "replies[0].has_end"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(_BREAKS))
async def test_a_door_that_is_broken_differs(name: str) -> None:
    around, where = _BREAKS[name]
    async with standing(inside(UVICORN, partial(UvicornFront.open, around=around))) as doors:
        found = await fuzz(doors, 1, _REQUESTS, most=1, shrinks=0)
    # What is broken may show in the second request first.
    where = where.replace("[0]", "")
    assert where in [re.sub(r"\[\d\]", "", each.where) for finding in found for each in finding.differences], "\n".join(map(str, found))
