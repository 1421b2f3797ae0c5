"""How does each Python MCP client call a tool over streamable HTTP?

They ask for the list of tools first: else they do when the result has come, to check it.
mcp 1 lies in a folder of its own (``.venv/mcp-1``): a process that has it in PYTHONPATH knows no mcp 2.
"""

from collections.abc import AsyncIterator
from typing import Any

_TOOL = "slow"
_TIMEOUT = 120.0


async def mcp_1(url: str) -> AsyncIterator[Any]:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client  # type: ignore[attr-defined]

    async with streamablehttp_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        await session.list_tools()
        yield (await session.call_tool(_TOOL, {})).model_dump(mode="json", exclude_none=True)


async def mcp_2(url: str) -> AsyncIterator[Any]:
    from mcp import Client

    async with Client(f"{url}/mcp", read_timeout_seconds=_TIMEOUT) as client:
        await client.list_tools()
        yield (await client.call_tool(_TOOL, {})).model_dump(mode="json", exclude_none=True)


async def fastmcp_tool(url: str) -> AsyncIterator[Any]:
    from fastmcp import Client

    async with Client(f"{url}/mcp", timeout=_TIMEOUT) as client:
        await client.list_tools()
        result = await client.call_tool(_TOOL, {})
        yield [block.model_dump(mode="json", exclude_none=True) for block in result.content]


MCP_CLIENTS = {"mcp 1": mcp_1, "mcp 2": mcp_2, "fastmcp": fastmcp_tool}
