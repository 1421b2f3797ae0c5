"""How does one Redis channel reach all clients that listen to it?"""

from sseproxy.core.journal.window import Block, Window
from sseproxy.journal.fanout import CHANNEL, Fanout
from sseproxy.journal.place import Place
from sseproxy.origins.redis.shared import Shared, Terms
from sseproxy.stores.redis.subscriber import Subscriber


class ChannelFeed:
    """One channel: its subscription, its window, its readers."""

    # Fire and forget, as Redis has it: a message reaches who is connected, once and in order. The window holds what
    # slow readers still have to get. Marks count messages and never leave the process.

    def __init__(self, name: bytes, terms: Terms, shared: Shared, subscriber: Subscriber) -> None:
        self.name = name
        self.readers = 0
        self._terms, self._shared = terms, shared
        self._window = Window()
        self.fanout = Fanout(self._window, shared.loop, CHANNEL, shared.catching_up, budget=shared.budget)
        self._subscription = subscriber.subscribe(name, self._receive, _ready)

    def join(self, place: Place) -> None:
        """Let a reader begin with the next message. The caller must call `leave` later."""
        self.readers += 1
        place.begin(self._window.top)

    def leave(self) -> None:
        """A reader has gone."""
        self.readers -= 1

    def close(self) -> None:
        """Unsubscribe. It has no readers any more."""
        self._subscription.close()
        self.fanout.close()

    def _receive(self, message: bytes) -> None:
        event = self._shared.message_event(self._terms, message)
        if event is not None:
            major, minor = self._window.top
            self._window.append(Block((major, minor + 1), 1, event.text), now=self._shared.clock.time())
            self._shared.stats.deliveries += len(self.fanout)
            self.fanout.publish()


def _ready() -> None:
    """What was published before cannot be had."""
