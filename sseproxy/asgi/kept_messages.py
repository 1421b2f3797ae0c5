"""What has the client said that the app has not received yet?"""

from collections import deque

from sseproxy.asgi.types import Message

#: Bytes that are kept for an app that reads, and for one that has not begun to.
_KEPT = 64 * 1024
KEPT_UNREAD = 1024 * 1024

#: Bytes that a message takes beside its body: a client may send empty ones without end.
_MESSAGE = 256


class KeptMessages:
    """Messages in the order in which they came, in bounded memory. size: in bytes.

    An app that reads gets all of its body, and nothing is read from the server while `is_full`. For an app that has not
    begun to read, too large a body is thrown away, whole: `is_lost` from then on.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] | None = deque()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def is_lost(self) -> bool:
        """True if the body was too large for an app that did not read it."""
        return self._messages is None

    @property
    def is_full(self) -> bool:
        """True if an app that reads has enough to read."""
        return self.size > _KEPT

    def append(self, message: Message, *, app_reads: bool) -> None:
        """Keep `message`, unless the body is lost, or is now."""
        if self._messages is not None:
            self._messages.append(message)
            self.size += len(message.get("body", b"")) + _MESSAGE
            if self.size > KEPT_UNREAD and not app_reads:
                self._messages = None
                self.size = 0

    def pop(self) -> Message:
        """Return the oldest message. Raises `IndexError` if there is none."""
        if self._messages is None:
            raise IndexError
        message = self._messages.popleft()
        self.size -= len(message.get("body", b"")) + _MESSAGE
        return message
