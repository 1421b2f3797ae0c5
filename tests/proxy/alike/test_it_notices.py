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

    def changed(message: Message) -> Message:
        return {**message, "headers": change(list(message["headers"]))} if "headers" in message else message

    return in_response(changed)


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


def joined(headers: Headers) -> Headers:
    """Join all fields of one name."""
    names = list(dict.fromkeys(name for name, _ in headers))
    return [(name, b", ".join(value for other, value in headers if other == name)) for name in names]


def less(name: bytes) -> Callable[[Headers], Headers]:
    """Leave a field out."""
    return lambda headers: [each for each in headers if each[0] != name]


def twice(name: bytes) -> Callable[[Headers], Headers]:
    """Say a field twice."""
    return lambda headers: [*headers, *(each for each in headers if each[0] == name)]


def swapped(data: bytes) -> bytes:
    """Make the last byte another."""
    return data[:-1] + b"!"


def swapped_body(message: Message) -> Message:
    """Make the last byte of a piece another."""
    return {**message, "body": swapped(message["body"])} if message.get("body") else message


def another_status(message: Message) -> Message:
    """Make one status another."""
    return {**message, "status": 418} if message.get("status") == 404 else message


#: How a door is broken, and where that shows.
BROKEN: dict[str, tuple[Callable[[ASGIApp], ASGIApp], str]] = {
    "a field of the request is dropped": (in_request(less(b"prefer")), "arrived.fields"),
    "a field of the request comes twice": (in_request(twice(b"priority")), "arrived.fields"),
    "fields of one name are joined": (in_request(joined), "arrived.fields"),
    "fields change places": (in_request(lambda headers: headers[::-1]), "order of arrived.fields"),
    "a target is spelled otherwise": (respelled_targets, "arrived.target"),
    "a byte of the body is another": (in_body(swapped), "arrived.body"),
    "a body loses its last byte": (in_body(lambda data: data[:-1]), "arrived.body"),
    "a status is another": (in_response(another_status), "replies.status"),
    "a field of the response is dropped": (in_head(less(b"etag")), "replies.fields"),
    "cookies are joined": (in_head(joined), "replies.fields"),
    "a byte of the response is another": (in_response(swapped_body), "replies.body"),
    "a broken response ends as if it were whole": (clean_ends, "replies.has_end"),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_a_door_that_is_broken_differs(name: str) -> None:
    around, where = BROKEN[name]
    async with standing(inside(UVICORN, partial(UvicornFront.open, around=around))) as doors:
        found = await fuzz(doors, 1, _REQUESTS, most=1, shrinks=0)
    places = [re.sub(r"\[\d\]", "", each.where) for finding in found for each in finding.differences]
    assert where in places, "\n".join(map(str, found))
