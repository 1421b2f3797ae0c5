"""What does each published Python client make of a stream?

A program of its own: reads a list of jobs from stdin, each ``{"id": …, "client": NAME, "url": BASE}``, and
writes a line of JSON for each: ``{"id": …, "result": [ITEM, …]}``, with an ``error`` if the client raised.
"""

import asyncio
import importlib
import inspect
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import anthropic
import httpx
import httpx_sse
import openai
import requests
import sseclient
from google import genai
from google.genai import types as genai_types

from tests.e2e.clients.python_answers import ANSWERS
from tests.e2e.clients.python_mcp import MCP_CLIENTS
from tests.e2e.clients.python_records import RECORDS
from tests.e2e.clients.python_sdks import MODULES, SDKS

_CONCURRENCY = 64
_OUTPUT = sys.stdout
_QUESTION = "What is SSE?"
_OPENAI = openai.OpenAI(api_key="test", max_retries=0, timeout=120)
_ASYNC_OPENAI = openai.AsyncOpenAI(api_key="test", max_retries=0, timeout=120)
_ANTHROPIC = anthropic.Anthropic(api_key="test", max_retries=0, timeout=120)
_GENAI = genai.Client(api_key="test")
_HTTPX = httpx.Client(timeout=120)


def openai_chat(url: str) -> Iterator[Any]:
    client = _OPENAI.with_options(base_url=f"{url}/v1")
    stream = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": _QUESTION}], stream=True
    )
    return (chunk.model_dump(mode="json") for chunk in stream)


async def openai_chat_async(url: str) -> AsyncIterator[Any]:
    client = _ASYNC_OPENAI.with_options(base_url=f"{url}/v1")
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": _QUESTION}], stream=True
    )
    async for chunk in stream:
        yield chunk.model_dump(mode="json")


def openai_chat_helper(url: str) -> Iterator[Any]:
    client = _OPENAI.with_options(base_url=f"{url}/v1")
    with client.chat.completions.stream(model="gpt-4o", messages=[{"role": "user", "content": _QUESTION}]) as stream:
        for event in stream:
            yield event.type
        yield stream.get_final_completion().model_dump(mode="json")


def openai_responses(url: str) -> Iterator[Any]:
    client = _OPENAI.with_options(base_url=f"{url}/v1")
    stream = client.responses.create(model="gpt-4.1", input=_QUESTION, stream=True)
    return (event.model_dump(mode="json", warnings=False) for event in stream)


def openai_responses_helper(url: str) -> Iterator[Any]:
    client = _OPENAI.with_options(base_url=f"{url}/v1")
    with client.responses.stream(model="gpt-4.1", input=_QUESTION) as stream:
        for event in stream:
            yield event.type
        yield stream.get_final_response().model_dump(mode="json", warnings=False)


def anthropic_messages(url: str) -> Iterator[Any]:
    client = _ANTHROPIC.with_options(base_url=url)
    stream = client.messages.create(
        model="claude-test", max_tokens=64, messages=[{"role": "user", "content": _QUESTION}], stream=True
    )
    return (event.model_dump(mode="json") for event in stream)


def anthropic_helper(url: str) -> Iterator[Any]:
    client = _ANTHROPIC.with_options(base_url=url)
    with client.messages.stream(
        model="claude-test", max_tokens=64, messages=[{"role": "user", "content": _QUESTION}]
    ) as stream:
        yield from stream.text_stream
        yield stream.get_final_message().model_dump(mode="json", warnings=False)


def google_genai(url: str) -> Iterator[Any]:
    stream = _GENAI.models.generate_content_stream(
        model="gemini-2.5-flash", contents=_QUESTION, config=_genai_config(url)
    )
    return (_genai_chunk(chunk) for chunk in stream)


async def google_genai_async(url: str) -> AsyncIterator[Any]:
    stream = await _GENAI.aio.models.generate_content_stream(
        model="gemini-2.5-flash", contents=_QUESTION, config=_genai_config(url)
    )
    async for chunk in stream:
        yield _genai_chunk(chunk)


def _genai_config(url: str) -> genai_types.GenerateContentConfig:
    return genai_types.GenerateContentConfig(http_options=genai_types.HttpOptions(base_url=url, timeout=120_000))


def _genai_chunk(chunk: genai_types.GenerateContentResponse) -> Any:
    return chunk.model_dump(mode="json", exclude={"sdk_http_response"})


def httpx_sse_events(url: str) -> Iterator[Any]:
    with httpx_sse.connect_sse(_HTTPX, "GET", f"{url}/events") as source:
        for event in source.iter_sse():
            yield [event.event, event.data, event.id, event.retry]


def sseclient_py_events(url: str) -> Iterator[Any]:
    with requests.get(f"{url}/events", stream=True, timeout=120) as response:
        for event in sseclient.SSEClient(cast("Iterator[bytes]", response)).events():
            yield [event.event, event.data, event.id, event.retry]


CLIENTS: dict[str, Callable[[str], Iterator[Any] | AsyncIterator[Any]]] = {
    "openai chat": openai_chat,
    "openai chat async": openai_chat_async,
    "openai chat helper": openai_chat_helper,
    "openai responses": openai_responses,
    "openai responses helper": openai_responses_helper,
    "anthropic": anthropic_messages,
    "anthropic helper": anthropic_helper,
    "google-genai": google_genai,
    "google-genai async": google_genai_async,
    "httpx-sse": httpx_sse_events,
    "sseclient-py": sseclient_py_events,
    **SDKS,
    **ANSWERS,
    **RECORDS,
    **MCP_CLIENTS,
}


def _described(error: Exception) -> dict[str, Any]:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]  # task groups wrap what was raised
    classes = [f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__]
    shown = {name: getattr(error, name, None) for name in ("status_code", "code", "type", "body", "details", "status")}
    return {"classes": classes, "message": str(error), **{key: _plain(value) for key, value in shown.items()}}


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=str))


async def _run(job: dict[str, Any], slots: asyncio.Semaphore) -> None:
    async with slots:
        items: list[Any] = []
        outcome: dict[str, Any] = {"id": job["id"], "result": items}
        try:
            async with asyncio.timeout(job.get("limit")):
                await _read(CLIENTS[job["client"]], job["url"], items, job.get("pause", 0))
        except Exception as error:  # noqa: BLE001, what the client raises is what is asked
            outcome["error"] = _described(error)
    _OUTPUT.write(json.dumps(outcome) + "\n")
    _OUTPUT.flush()


async def _read(client: Callable[[str], Any], url: str, items: list[Any], pause: float) -> None:
    """pause: seconds that the reader takes for each item."""
    if inspect.isasyncgenfunction(client):
        async for item in client(url):
            items.append(item)
            await asyncio.sleep(pause)
    else:
        await asyncio.to_thread(_collect, client, url, items, pause)


def _collect(client: Callable[[str], Any], url: str, items: list[Any], pause: float) -> None:
    for item in client(url):
        items.append(item)
        time.sleep(pause)  # noqa: TID251, a reader that is busy is what is asked for


async def _main() -> None:
    sys.stdout = sys.stderr  # some SDKs print
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_CONCURRENCY))
    jobs = json.load(sys.stdin)
    for module in {MODULES.get(job["client"].removeprefix("answer ").partition(" ")[0]) for job in jobs}:
        if module is not None:
            importlib.import_module(module)  # now: it would keep all others waiting later
    slots = asyncio.Semaphore(_CONCURRENCY)
    await asyncio.gather(*(_run(job, slots) for job in jobs))


if __name__ == "__main__":
    asyncio.run(_main())
