"""What does a client get in place of a run's stream: there is none, or what it names is no longer kept?"""

from dataclasses import replace
from http import HTTPStatus

from sseproxy.core.errors import ClientError, PositionGone, SSEProxyError, UpstreamBroken
from sseproxy.core.http.fields import is_json, without
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.origins.codings import can_decode
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.early import EarlyAnswer, is_success
from sseproxy.proxy.journal.client import RunClient
from sseproxy.proxy.journal.upstream import OF_ONE_RESPONSE
from sseproxy.proxy.refusal import decoded_beginning, refused_there
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import ResponseCopy


def position_gone() -> PositionGone:
    """Return what a client gets whose position, or the beginning of what it wants, is no longer kept (J4)."""
    return PositionGone("What the request names, or the beginning of it, is no longer kept.")


async def answer_refused(run: LiveRun, client: RunClient, *, is_first: bool) -> None:
    """Answer with what the upstream has answered in place of a stream. Raises `SSEProxyError`, if it has not at all.

    is_first: it has answered the request of this client, and has set cookies for no other. What is wrong with that
    request is no fault of the others.
    """
    refused, tail = run.take_refused(), client.tail
    if isinstance(refused, HttpExchange):
        _own(refused, client)
        await client.answering.answer(refused, but=() if is_first else OF_ONE_RESPONSE)
    elif isinstance(refused, ResponseCopy):
        fields = refused.fields if is_first else without(refused.fields, OF_ONE_RESPONSE)
        client.answering.answer_copy(replace(refused, fields=fields))
    elif isinstance(refused, SSEProxyError) and (is_first or not isinstance(refused, ClientError)):
        raise refused
    elif run.state.end is not None and run.state.end.is_clean:
        tail.answer_with_nothing(HTTPStatus.NO_CONTENT)  # it was stopped
    else:
        raise UpstreamBroken("The run has ended before it had begun.", proxy_status="http_response_incomplete")


async def tell_refused(run: LiveRun, client: RunClient, early: EarlyAnswer) -> None:
    """The same to a client that was promised a stream."""
    refused = run.take_refused()
    if isinstance(refused, HttpExchange):
        _own(refused, client)
        client.tail.respond(refused)
        await early.join(refused)
    elif isinstance(refused, ResponseCopy):
        _tell_copy(refused, client, early)
    elif isinstance(refused, SSEProxyError):
        early.fail(refused)
    else:
        early.relay.stop(run.end_reason)


def _tell_copy(copy: ResponseCopy, client: RunClient, early: EarlyAnswer) -> None:
    if early.relay.ended.done():
        return
    client.tail.record.intended = copy.status
    if is_success(copy.status) and copy.body and is_json(copy.fields) and can_decode(copy.fields):
        early.receive_json()
        early.relay.receive_data(decoded_beginning(copy.fields, copy.body))
        if copy.is_whole:
            early.relay.receive_eof()
        else:
            early.relay.stop(CloseReason.UPSTREAM_ERROR)
    else:
        early.refuse(refused_there(copy.status, copy.reason, copy.fields, copy.body))


def _own(exchange: HttpExchange, client: RunClient) -> None:
    """Let the response have the exchange, in place of its attendance at the run."""
    if client.tail.exchange is not None:
        client.tail.exchange.abort()
    client.tail.exchange = exchange
