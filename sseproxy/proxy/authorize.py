"""May a request go on? Another service is asked, and what it says of the client goes on with the request."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from sseproxy.core.authorization import RecentLogins, read_identity
from sseproxy.core.errors import AccessDenied, AuthorizeFailed, SSEProxyError
from sseproxy.core.frames import release_frames
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers
from sseproxy.core.http.via import signed
from sseproxy.core.routes import AuthorizePolicy, Route, Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.codings import can_decode
from sseproxy.origins.http import HttpExchange, HttpOrigin
from sseproxy.proxy.inbound import ClientRequest, InboundRequest
from sseproxy.proxy.refusal import Beginning

#: Seconds after which a client may ask again that got no yes and no no.
_RETRY_AFTER = 5

_DENIALS = frozenset((401, 403))

#: Fields of a denial that go on. ``Set-Cookie`` does not: a login belongs to a response of the service itself.
_OF_DENIAL = frozenset((b"content-type", b"www-authenticate"))


@frozen
class _Allowed:
    identity: Mapping[str, bytes]


@frozen
class _Denied:
    status: int
    reason: bytes
    headers: Headers
    body: bytes


@frozen
class _Failed:
    cause: str


_Verdict = _Allowed | _Denied | _Failed


@dataclass(slots=True, eq=False)
class _Question:
    """A question that several requests wait for. waiting: how many do."""

    task: asyncio.Task[_Verdict]
    waiting: int = 0


class Authorizer:
    """Asks the services of all routes that have `authorize`.

    origins: those services, by where they are. instance: the name of this proxy in ``Via``.
    """

    # Plan: without a cache each request asks for itself, in its own task. With one, requests with the same credentials
    # on the same route are one question: a yes is remembered, and while it is being asked all wait for the same answer.
    #
    # Invariants:
    # 1. What is not a whole 2xx with each taken field exactly once lets no request in. No error does, nor does time.
    # 2. The service hears the credentials and what the request is, and nothing else that the client has written.
    # 3. Only a yes is remembered, counted from the moment in which it was asked for. Credentials are not: only a keyed
    #    digest of them is.
    # 4. A question ends with the last request that waits for it: `_ask_together` cancels it, and nothing of it is left.
    # 5. A verdict is a value, no error: an error that several tasks raise would collect the frames of all of them.
    #
    # Hazards:
    # - a question that is done or cancelled while a new request with its credentials comes: it is taken out of
    #   `_asked` in the same turn, so the new one asks anew;
    # - a service behind this very proxy: ``Via`` ends the loop with 508, which is no yes.

    def __init__(self, routes: Sequence[Route], origins: Mapping[Upstream, HttpOrigin], *, instance: bytes) -> None:
        unasked = [each.name for each in routes if each.authorize and each.authorize.upstream not in origins]
        if unasked:
            raise ValueError(f"routes with authorize need a service to ask: {', '.join(unasked)}")
        self._origins = origins
        self._instance = instance
        self._secret = secrets.token_bytes(32)
        self._recent = RecentLogins()
        self._asked: dict[bytes, _Question] = {}
        self._time = asyncio.get_running_loop().time

    async def let_in(self, request: ClientRequest, route: Route, target: str) -> ClientRequest:
        """Return `request` with the identity of its client. Raises `AccessDenied` and `AuthorizeFailed`.

        target: what is asked for; of a request that is to be kept, without the path of tickets.
        """
        policy = route.authorize
        assert policy is not None
        credentials = request.inbound.credentials(route)
        question = _question(request.inbound, target, policy, credentials, self._instance)
        # The whole question has one limit, that of its policy. Within it, a service that is away is asked again.
        timeouts = TimeoutPolicy(connect=None, connect_retry=route.timeouts.connect_retry, response=None)
        if policy.cache is None:
            verdict = await self._ask(policy, timeouts, question)
        else:
            key = self._key(route, credentials)
            identity = self._recent.find(key, now=self._time())
            if identity is None:
                verdict = await self._ask_together(key, policy, timeouts, question)
            else:
                verdict = _Allowed(identity)
        match verdict:
            case _Allowed(identity=identity):
                return replace(request, identity=identity)
            case _Denied():
                raise AccessDenied(verdict.status, verdict.reason, verdict.headers, verdict.body)
            case _Failed(cause=cause):
                detail = "It could not be found out whether this request is allowed."
                raise AuthorizeFailed(detail, retry_after=_RETRY_AFTER, cause=cause)

    async def _ask_together(
        self, key: bytes, policy: AuthorizePolicy, timeouts: TimeoutPolicy, request: OriginRequest
    ) -> _Verdict:
        question = self._asked.get(key)
        if question is None:
            task = asyncio.create_task(self._ask(policy, timeouts, request, key))
            question = self._asked[key] = _Question(task)
        question.waiting += 1
        try:
            await asyncio.wait({question.task})
        finally:
            question.waiting -= 1
            if question.task.done() or not question.waiting:
                question.task.cancel()
                if self._asked.get(key) is question:
                    del self._asked[key]
        return question.task.result()

    async def _ask(
        self, policy: AuthorizePolicy, timeouts: TimeoutPolicy, request: OriginRequest, key: bytes | None = None
    ) -> _Verdict:
        """Return what the service says. key: under which a yes is remembered; ``None``: it is not."""
        asked_at = self._time()
        try:
            async with asyncio.timeout(policy.timeout):
                exchange = await self._origins[policy.upstream].open(request, timeouts)
                try:
                    verdict = await _read(exchange, policy.take)
                finally:
                    exchange.abort()
        except TimeoutError as error:
            release_frames(error)
            return _Failed(f"authorize was not answered within {policy.timeout:g} s")
        except SSEProxyError as error:
            release_frames(error)
            return _Failed(f"authorize: {error}")
        if key is not None and policy.cache is not None and isinstance(verdict, _Allowed):
            self._recent.keep(key, verdict.identity, until=asked_at + policy.cache)
        return verdict

    def _key(self, route: Route, credentials: Headers) -> bytes:
        """Return a digest in which no part can be taken for a piece of another."""
        digest = blake2b(digest_size=32, key=self._secret)
        for part in (route.name.encode(), *(part for name, value in credentials for part in (name.lower(), value))):
            digest.update(b"%d:%b" % (len(part), part))
        return digest.digest()


def _question(
    inbound: InboundRequest, target: str, policy: AuthorizePolicy, credentials: Headers, instance: bytes
) -> OriginRequest:
    headers = [
        (b"Host", policy.upstream.authority.encode()),
        *credentials,
        (b"X-Original-Method", inbound.method.encode()),
        (b"X-Original-URI", target.encode()),
        (b"Accept-Encoding", b"identity"),
    ]
    return OriginRequest("GET", policy.target, signed(headers, inbound.passed, instance))


async def _read(exchange: HttpExchange, take: Iterable[tuple[str, str]]) -> _Verdict:
    """Return what a response means. Its body is read to the end, if that is near: the connection serves others then."""
    head = exchange.head
    is_yes = 200 <= head.status < 300
    if not is_yes and head.status not in _DENIALS:
        return _Failed(f"authorize was answered {head.status}")
    beginning = Beginning(exchange)
    exchange.attach(beginning)
    await beginning.ended
    if beginning.error is not None:
        return _Failed(f"authorize: {beginning.error}")
    if is_yes:
        try:
            return _Allowed(read_identity(head.headers, take))
        except ValueError as error:
            return _Failed(str(error))
    headers = [each for each in head.headers if each[0].lower() in _OF_DENIAL]
    if can_decode(head.headers):
        return _Denied(head.status, head.reason, headers, beginning.body(head.headers))
    if not beginning.is_whole:  # half of what only the client can decode is worth nothing
        return _Denied(head.status, head.reason, headers, b"")
    codings = [each for each in head.headers if each[0].lower() == b"content-encoding"]
    return _Denied(head.status, head.reason, headers + codings, beginning.raw)
