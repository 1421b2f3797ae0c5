"""How does each further Python SDK ask for a stream, and what does it hand out?

Every function takes the base URL and yields what the SDK yields, as plain values. SDKs are imported when they are
used: some of them take seconds.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

_QUESTION = "What is SSE?"
_MESSAGES: Any = [{"role": "user", "content": _QUESTION}]
_TIMEOUT = 120.0


def openai_completions(url: str) -> Iterator[Any]:
    import openai

    client = openai.OpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0, timeout=_TIMEOUT)
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=_QUESTION, stream=True)
    return (chunk.model_dump(mode="json") for chunk in stream)


def groq_chat(url: str) -> Iterator[Any]:
    import groq

    client = groq.Groq(api_key="test", base_url=url, max_retries=0, timeout=_TIMEOUT)
    stream = client.chat.completions.create(model="llama", messages=_MESSAGES, stream=True)
    return (chunk.model_dump(mode="json") for chunk in stream)


def mistral_chat(url: str) -> Iterator[Any]:
    from mistralai.client import Mistral

    client = Mistral(api_key="test", server_url=url, timeout_ms=int(_TIMEOUT * 1000))
    with client.chat.stream(model="mistral-small-latest", messages=_MESSAGES) as stream:
        for event in stream:
            yield event.data.model_dump(mode="json")


def cohere_chat(url: str) -> Iterator[Any]:
    import cohere

    client = cohere.ClientV2("test", base_url=url, timeout=_TIMEOUT)
    stream = client.chat_stream(model="command-a", messages=_MESSAGES, request_options={"max_retries": 0})
    return (event.model_dump(mode="json") for event in stream)


def langchain_openai_chat(url: str) -> Iterator[Any]:
    return _langchain(url, use_responses_api=False)


def langchain_openai_responses(url: str) -> Iterator[Any]:
    return _langchain(url, use_responses_api=True)


def _langchain(url: str, *, use_responses_api: bool) -> Iterator[Any]:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(
        model="gpt-4o",
        base_url=f"{url}/v1",
        api_key=SecretStr("test"),
        max_retries=0,
        timeout=_TIMEOUT,
        use_responses_api=use_responses_api,
    )
    return (chunk.text for chunk in model.stream(_QUESTION) if chunk.text)


def litellm_openai(url: str) -> Iterator[Any]:
    return _litellm("openai/gpt-4o", f"{url}/v1")


def litellm_anthropic(url: str) -> Iterator[Any]:
    return _litellm("anthropic/claude-sonnet-4-5", url)


def _litellm(model: str, base: str) -> Iterator[Any]:
    import litellm

    stream = litellm.completion(
        model=model, api_base=base, api_key="test", messages=_MESSAGES, stream=True, max_retries=0, timeout=_TIMEOUT
    )
    for chunk in stream:
        text = chunk.choices[0].delta.content
        if text:
            yield text


def ollama_chat(url: str) -> Iterator[Any]:
    import ollama

    stream = ollama.Client(host=url, timeout=_TIMEOUT).chat(model="llama3.2", messages=_MESSAGES, stream=True)
    return (part.model_dump(mode="json") for part in stream)


async def ollama_chat_async(url: str) -> AsyncIterator[Any]:
    import ollama

    client = ollama.AsyncClient(host=url, timeout=_TIMEOUT)
    async for part in await client.chat(model="llama3.2", messages=_MESSAGES, stream=True):
        yield part.model_dump(mode="json")


def langchain_ollama_chat(url: str) -> Iterator[Any]:
    from langchain_ollama import ChatOllama

    model = ChatOllama(model="llama3.2", base_url=url, client_kwargs={"timeout": _TIMEOUT})
    return (chunk.text for chunk in model.stream(_QUESTION) if chunk.text)


def requests_lines(url: str) -> Iterator[Any]:
    """The loop that most examples on the web show."""
    import requests

    headers = {"Accept": "text/event-stream"}
    with requests.post(f"{url}/events", json={}, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                yield json.loads(line.removeprefix(b"data: "))


def langgraph_runs(url: str) -> Iterator[Any]:
    """What LangGraph's clients do for a run without a thread; its server gives the events ids of its own."""
    from langgraph_sdk import get_sync_client

    with get_sync_client(url=url, api_key=None, timeout=_TIMEOUT) as client:
        for part in client.runs.stream(None, "agent", input={"messages": _MESSAGES}):
            yield [part.event, part.data, part.id]


#: What an import is worth to be done before the jobs, by the word that their clients' names begin with.
MODULES = {
    "cohere": "cohere",
    "fastmcp": "fastmcp",
    "groq": "groq",
    "langchain-ollama": "langchain_ollama",
    "langchain-openai": "langchain_openai",
    "langgraph-sdk": "langgraph_sdk",
    "litellm": "litellm",
    "mcp": "mcp",
    "mistralai": "mistralai.client",
    "ollama": "ollama",
}

SDKS: dict[str, Callable[[str], Iterator[Any] | AsyncIterator[Any]]] = {
    "openai completions": openai_completions,
    "groq": groq_chat,
    "mistralai": mistral_chat,
    "cohere": cohere_chat,
    "langchain-openai chat": langchain_openai_chat,
    "langchain-openai responses": langchain_openai_responses,
    "langgraph-sdk": langgraph_runs,
    "litellm openai": litellm_openai,
    "litellm anthropic": litellm_anthropic,
    "ollama": ollama_chat,
    "ollama async": ollama_chat_async,
    "langchain-ollama": langchain_ollama_chat,
    "requests iter_lines": requests_lines,
}
