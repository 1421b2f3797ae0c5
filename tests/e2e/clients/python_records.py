"""How do programs without a library read a stream of JSON lines in Python?

Every function takes the base URL and yields the records, as it parses them. None skips anything that it is not said to.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import requests

_TIMEOUT = 120.0
_BLANKS = " \t\r\n"


def requests_iter_lines(url: str) -> Iterator[Any]:
    with requests.get(f"{url}/records", stream=True, timeout=_TIMEOUT) as response:
        for line in response.iter_lines():
            yield json.loads(line)


def requests_iter_lines_filled(url: str) -> Iterator[Any]:
    """As the documentation of requests shows it: "filter out keep-alive new lines"."""
    with requests.get(f"{url}/records", stream=True, timeout=_TIMEOUT) as response:
        for line in response.iter_lines():
            if line:
                yield json.loads(line)


def requests_iter_lines_stripped(url: str) -> Iterator[Any]:
    with requests.get(f"{url}/records", stream=True, timeout=_TIMEOUT) as response:
        for line in response.iter_lines():
            if line.strip():
                yield json.loads(line)


def httpx_iter_lines(url: str) -> Iterator[Any]:
    with httpx.stream("GET", f"{url}/records", timeout=_TIMEOUT) as response:
        for line in response.iter_lines():
            yield json.loads(line)


async def aiohttp_lines(url: str) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/records") as response:
        async for line in response.content:
            yield json.loads(line)


def streaming_decoder(url: str) -> Iterator[Any]:
    """What Go's `json.Decoder` and jq do: one value after the other, with any white space between them, to the end."""
    decoder, text = json.JSONDecoder(), ""
    with httpx.stream("GET", f"{url}/records", timeout=_TIMEOUT) as response:
        for piece in response.iter_text():
            text = (text + piece).lstrip(_BLANKS)
            while text:
                try:
                    value, end = decoder.raw_decode(text)
                except ValueError:
                    break  # the rest of it has not come yet
                yield value
                text = text[end:].lstrip(_BLANKS)
    if text:
        raise EOFError(text)


RECORDS: dict[str, Callable[[str], Iterator[Any] | AsyncIterator[Any]]] = {
    "records requests": requests_iter_lines,
    "records requests, if line": requests_iter_lines_filled,
    "records requests, if stripped": requests_iter_lines_stripped,
    "records httpx": httpx_iter_lines,
    "records aiohttp": aiohttp_lines,
    "records decoder": streaming_decoder,
}
