"""What does a client get of a run that has no stream: the upstream has answered with something else, or not at all?"""

from http import HTTPStatus

from sseproxy.core.errors import SSEProxyError, UpstreamBroken
from sseproxy.core.stream.error_events import StreamError
from sseproxy.origins.http import HttpExchange
from sseproxy.proxy.early import EarlyAnswer
from sseproxy.proxy.journal.client import RunClient
from sseproxy.runs.live_run import LiveRun
from sseproxy.runs.terms import Refusal


async def answer_refused(run: LiveRun, client: RunClient) -> None:
    """Answer with what the upstream has answered. Raises `SSEProxyError`."""
    refused, tail = run.take_refused(), client.tail
    if isinstance(refused, HttpExchange):
        _own(refused, client)
        await client.answering.answer(refused)
    elif isinstance(refused, Refusal):
        client.answering.answer_copy(refused)
    elif isinstance(refused, SSEProxyError):
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
    elif isinstance(refused, Refusal):
        early.refuse(_as_error(refused))
    elif isinstance(refused, SSEProxyError):
        early.fail(refused)
    else:
        early.relay.stop(run.end_reason)


def _own(exchange: HttpExchange, client: RunClient) -> None:
    """Let the response have the exchange, in place of its attendance at the run."""
    if client.tail.exchange is not None:
        client.tail.exchange.abort()
    client.tail.exchange = exchange


def _as_error(refusal: Refusal) -> StreamError:
    return StreamError(
        type="upstream_response",
        status=refusal.status,
        detail=f"The upstream answered {refusal.status} {refusal.reason.decode('latin-1')}".rstrip() + ".",
        body=refusal.body,
    )
