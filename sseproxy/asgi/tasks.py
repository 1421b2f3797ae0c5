"""How does a task of ours begin?"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any


def begin_later(work: Coroutine[Any, Any, None], context: Context | None = None) -> "asyncio.Task[None]":
    """Start `work` in a task, whose first step comes when whoever calls has gone on.

    Hazard: with `asyncio.eager_task_factory`, `create_task` would take it at once, in the middle of a call of the
    relay's, which must not be called back.
    """
    return asyncio.Task(work, loop=asyncio.get_running_loop(), context=context)
