"""What do ASGI's parts look like?"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Frameworks type scope and messages each in their own way, so an app is whatever takes the three.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
