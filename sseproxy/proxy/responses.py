"""What does a client get from sseproxy itself? (RFC 9457 problem details, RFC 9209 Proxy-Status)"""

import json
from collections.abc import Sequence
from http import HTTPStatus

from sseproxy.core.errors import AccessDenied, ClientError, MethodRefused, SSEProxyError
from sseproxy.core.http.fields import ALLOW, PSEUDONYM, Headers, with_request_id
from sseproxy.core.stream.events import reconnection_time
from sseproxy.proxy.port import ClientResponse


def send_problem(downstream: ClientResponse, error: SSEProxyError, request_id: str) -> None:
    """Answer with `error`. After a request that is at fault the connection closes: its end may be anywhere.

    request_id: by which the operator finds the request in the log, so the client is given it in head and body.
    """
    if isinstance(error, AccessDenied):
        fields = [*error.headers, *_never_stored(), (b"Content-Length", b"%d" % len(error.body))]
        length = len(error.body)
        downstream.send_whole(error.status, error.reason, fields, error.body, length=length, has_body=True)
        return
    said: dict[str, object] = {"type": "about:blank", "title": error.title, "status": error.status}
    body = json.dumps({**said, "detail": error.detail, "request_id": request_id}).encode()
    if isinstance(error, ClientError) and error.status not in (403, 404):
        downstream.close_behind()
    fields = with_request_id(_fields(error, len(body)), request_id)
    downstream.send_head(error.status, error.title.encode(), fields, length=len(body), has_body=True)
    downstream.write(body)
    downstream.finish()


def send_away(downstream: ClientResponse, fields: Headers, retry: int | None) -> None:
    """Answer with an event stream that has ended: its client comes back by itself.

    fields: of the head. retry: the reconnection time in milliseconds; ``None`` for a client that fails on one.
    """
    body = b"" if retry is None else reconnection_time(retry)
    downstream.send_whole(200, b"OK", fields, body, length=None, has_body=True)


def send_created(downstream: ClientResponse, location: str, value: object, request_id: str) -> None:
    """Answer that there is something new at `location`; `value` says in JSON what."""
    body = json.dumps(value).encode()
    fields = [(b"Location", location.encode()), (b"Content-Type", b"application/json"), *_never_stored()]
    fields = with_request_id([*fields, (b"Content-Length", b"%d" % len(body))], request_id)
    downstream.send_head(201, b"Created", fields, length=len(body), has_body=True)
    downstream.write(body)
    downstream.finish()


def send_nothing(
    downstream: ClientResponse, status: HTTPStatus, more: Sequence[tuple[bytes, bytes]], request_id: str
) -> None:
    """Answer without a body: with 204, or to a HEAD. more: header fields."""
    fields = with_request_id([*_never_stored(), *more], request_id)
    downstream.send_head(status, status.phrase.encode(), fields, length=None, has_body=False)


def _never_stored() -> Headers:
    return [(b"Cache-Control", b"no-store")]


def _fields(error: SSEProxyError, length: int) -> Headers:
    fields: Headers = [
        (b"Content-Type", b"application/problem+json"),
        (b"Content-Length", b"%d" % length),
        *_never_stored(),
    ]
    if error.proxy_status is not None:
        fields.append((b"Proxy-Status", PSEUDONYM + b"; error=" + error.proxy_status.encode()))
    else:
        fields.append((b"Proxy-Status", PSEUDONYM))
    if error.retry_after is not None:
        fields.append((b"Retry-After", b"%d" % error.retry_after))
    if isinstance(error, MethodRefused):
        fields.append((ALLOW[0], ", ".join(error.allowed).encode()) if error.allowed else ALLOW)
    return fields
