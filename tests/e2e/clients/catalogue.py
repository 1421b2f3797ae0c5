"""Which published clients are there, and what kind of service does each speak to?

service: a key of `endings.SERVICES`.
"""

from collections.abc import Mapping

from tests.e2e.clients.client_programs import Client, Runtime

_PYTHON = {
    "openai chat": "openai-chat",
    "openai chat async": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai completions": "openai-completions",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "anthropic": "anthropic",
    "anthropic helper": "anthropic",
    "google-genai": "gemini",
    "google-genai async": "gemini",
    "groq": "openai-chat",
    "mistralai": "mistral",
    "cohere": "cohere",
    "langchain-openai chat": "openai-chat",
    "langchain-openai responses": "openai-responses",
    "litellm openai": "openai-chat",
    "litellm anthropic": "anthropic",
    "ollama": "ollama",
    "ollama async": "ollama",
    "langchain-ollama": "ollama",
    "mcp 2": "mcp",
    "fastmcp": "mcp",
    "httpx-sse": "generic",
    "sseclient-py": "generic",
    "requests iter_lines": "generic",
}
_NODE = {
    "openai chat": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai completions": "openai-completions",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "@anthropic-ai/sdk": "anthropic",
    "@anthropic-ai/sdk helper": "anthropic",
    "@google/genai": "gemini",
    "ai 7 openai chat": "openai-chat",
    "ai 7 openai responses": "openai-responses",
    "ai 7 openai-compatible": "openai-chat",
    "ai 7 anthropic": "anthropic",
    "ai 6 openai chat": "openai-chat",
    "ai 6 openai responses": "openai-responses",
    "ai 6 openai-compatible": "openai-chat",
    "ai 6 anthropic": "anthropic",
    "@langchain/openai chat": "openai-chat",
    "@langchain/openai responses": "openai-responses",
    "ollama": "ollama",
    "@modelcontextprotocol/client 2": "mcp",
    "@modelcontextprotocol/sdk 1.32": "mcp",
    "@modelcontextprotocol/sdk 1.24": "mcp",
    "@urql/core": "graphql",
    "eventsource": "generic",
    "eventsource-parser": "generic",
    "@microsoft/fetch-event-source": "generic",
}

#: Every client, with its service.
SERVICE_OF: Mapping[Client, str] = {
    **{Client(Runtime.PYTHON, name): service for name, service in _PYTHON.items()},
    Client(Runtime.PYTHON_MCP_1, "mcp 1"): "mcp",
    **{Client(Runtime.NODE, name): service for name, service in _NODE.items()},
}

#: The clients that ask for an answer without a stream, with its service.
ANSWERING: Mapping[Client, str] = {
    **{
        Client(Runtime.PYTHON, f"answer {name}"): service
        for name, service in {
            "openai chat": "openai-chat",
            "openai chat async": "openai-chat",
            "openai responses": "openai-responses",
            "anthropic": "anthropic",
            "google-genai": "gemini",
            "google-genai async": "gemini",
            "groq": "openai-chat",
            "mistralai": "mistral",
            "cohere": "cohere",
            "langchain-openai": "openai-chat",
            "ollama": "ollama",
        }.items()
    },
    **{
        Client(Runtime.NODE, f"answer {name}"): service
        for name, service in {
            "openai chat": "openai-chat",
            "openai responses": "openai-responses",
            "@anthropic-ai/sdk": "anthropic",
            "@google/genai": "gemini",
            "@langchain/openai": "openai-chat",
            "ai 7 openai": "openai-chat",
            "ai 7 anthropic": "anthropic",
            "ollama": "ollama",
        }.items()
    },
}

#: The loops that programs without a library read JSON lines with, as documentation shows them.
READING: Mapping[Client, str] = {
    Client(Runtime.PYTHON, "records requests"): "`for line in response.iter_lines(): json.loads(line)` (requests)",
    Client(Runtime.PYTHON, "records requests, if line"): "the same with `if line:` (requests, as its manual shows it)",
    Client(Runtime.PYTHON, "records requests, if stripped"): "the same with `if line.strip():`",
    Client(Runtime.PYTHON, "records httpx"): "`for line in response.iter_lines(): json.loads(line)` (httpx)",
    Client(Runtime.PYTHON, "records aiohttp"): "`async for line in response.content: json.loads(line)` (aiohttp)",
    Client(Runtime.PYTHON, "records decoder"): "a streaming decoder: value after value (as Go's `json.Decoder`)",
    Client(Runtime.NODE, "records split"): r'`text.split("\n")`, `JSON.parse` of each line (JavaScript)',
    Client(Runtime.NODE, "records split, if line"): "the same with `if (line)`",
    Client(Runtime.NODE, "records split, if trimmed"): "the same with `if (line.trim())`",
    Client(Runtime.NODE, "records readline"): "`for await (const line of readline)`, `JSON.parse` (Node)",
}


def clients_of(*services: str) -> list[Client]:
    """The clients of `services`."""
    return [client for client, service in SERVICE_OF.items() if service in services]
