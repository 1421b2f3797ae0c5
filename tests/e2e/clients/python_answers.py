"""How does each Python SDK ask for an answer without a stream, and where does its user find the text?

Every function takes the base URL and yields two things: the whole object that the SDK returns, as plain values, and the
text of the answer, read from it as the SDK's own documentation shows.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

_QUESTION = "What is SSE?"
_MESSAGES: Any = [{"role": "user", "content": _QUESTION}]
_TIMEOUT = 60.0


def openai_chat(url: str) -> Iterator[Any]:
    import openai

    client = openai.OpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0, timeout=_TIMEOUT)
    completion = client.chat.completions.create(model="gpt-4o", messages=_MESSAGES)
    yield _plain(completion)
    yield completion.choices[0].message.content


async def openai_chat_async(url: str) -> AsyncIterator[Any]:
    import openai

    client = openai.AsyncOpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0, timeout=_TIMEOUT)
    completion = await client.chat.completions.create(model="gpt-4o", messages=_MESSAGES)
    yield _plain(completion)
    yield completion.choices[0].message.content


def openai_responses(url: str) -> Iterator[Any]:
    import openai

    client = openai.OpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0, timeout=_TIMEOUT)
    response = client.responses.create(model="gpt-4.1", input=_QUESTION)
    yield _plain(response)
    yield response.output_text


def anthropic_messages(url: str) -> Iterator[Any]:
    import anthropic

    client = anthropic.Anthropic(api_key="test", base_url=url, max_retries=0, timeout=_TIMEOUT)
    message = client.messages.create(model="claude-test", max_tokens=64, messages=_MESSAGES)
    yield _plain(message)
    block: Any = message.content[0]
    yield block.text


def google_genai(url: str) -> Iterator[Any]:
    from google import genai

    with genai.Client(api_key="test", http_options=_google_options(url)) as client:
        response = client.models.generate_content(model="gemini-2.5-flash", contents=_QUESTION)
        yield _plain(response, exclude={"sdk_http_response"})
        yield response.text


async def google_genai_async(url: str) -> AsyncIterator[Any]:
    from google import genai

    async with genai.Client(api_key="test", http_options=_google_options(url)).aio as client:
        response = await client.models.generate_content(model="gemini-2.5-flash", contents=_QUESTION)
        yield _plain(response, exclude={"sdk_http_response"})
        yield response.text


def _google_options(url: str) -> Any:
    from google.genai import types

    return types.HttpOptions(base_url=url, timeout=int(_TIMEOUT * 1000))


def groq_chat(url: str) -> Iterator[Any]:
    import groq

    client = groq.Groq(api_key="test", base_url=url, max_retries=0, timeout=_TIMEOUT)
    completion = client.chat.completions.create(model="llama", messages=_MESSAGES)
    yield _plain(completion)
    yield completion.choices[0].message.content


def mistral_chat(url: str) -> Iterator[Any]:
    from mistralai.client import Mistral

    client = Mistral(api_key="test", server_url=url, timeout_ms=int(_TIMEOUT * 1000))
    completion: Any = client.chat.complete(model="mistral-small-latest", messages=_MESSAGES)
    yield _plain(completion)
    yield completion.choices[0].message.content


def cohere_chat(url: str) -> Iterator[Any]:
    import cohere

    client = cohere.ClientV2("test", base_url=url, timeout=_TIMEOUT)
    response: Any = client.chat(model="command-a", messages=_MESSAGES, request_options={"max_retries": 0})
    yield _plain(response)
    yield response.message.content[0].text


def langchain_openai_chat(url: str) -> Iterator[Any]:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", api_key=SecretStr("test"), max_retries=0, timeout=_TIMEOUT)
    message = model.invoke(_QUESTION)
    yield message.content  # the message itself has an id that is new each time
    yield message.text


def ollama_chat(url: str) -> Iterator[Any]:
    import ollama

    response = ollama.Client(host=url, timeout=_TIMEOUT).chat(model="llama3.2", messages=_MESSAGES)
    yield _plain(response)
    yield response.message.content


def _plain(value: Any, **options: Any) -> Any:
    """Not every SDK returns an object of its own, whatever comes."""
    if isinstance(value, str | list | dict | None):
        return value
    return value.model_dump(mode="json", warnings=False, **options)


ANSWERS: dict[str, Callable[[str], Iterator[Any] | AsyncIterator[Any]]] = {
    "answer openai chat": openai_chat,
    "answer openai chat async": openai_chat_async,
    "answer openai responses": openai_responses,
    "answer anthropic": anthropic_messages,
    "answer google-genai": google_genai,
    "answer google-genai async": google_genai_async,
    "answer groq": groq_chat,
    "answer mistralai": mistral_chat,
    "answer cohere": cohere_chat,
    "answer langchain-openai": langchain_openai_chat,
    "answer ollama": ollama_chat,
}
