"""How does one Redis channel reach all clients that listen to it?"""

from sseproxy.core.journal.window import CHANNEL, Block, Window
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.place import Place
from sseproxy.origins.redis.shared import Shared, Terms
from sseproxy.stores.redis.subscriber import Subscriber


class ChannelFeed:
    """One channel: its subscription, its window, its readers."""

    # Fire and forget, as Redis has it: a message reaches all connected readers, once and in order. The window holds
    # what slow readers still have to get. Marks count messages and never leave the process.
    #
    # A reader begins when the subscription stands: from then on it gets what is published. While a subscription that
    # stood is renewed, readers that have begun stay.

    def __init__(self, name: bytes, terms: Terms, shared: Shared, subscriber: Subscriber) -> None:
        self.name = name
        self.readers = 0
        self._terms, self._shared = terms, shared
        self._window = Window()
        self._waiting: set[Place] = set()
        self.fanout = Fanout(self._window, shared.loop, CHANNEL, shared.catching_up, budget=shared.budget)
        self._subscription = subscriber.subscribe(name, self._receive, self._ready)

    def join(self, place: Place) -> None:
        """Let a reader begin with the next message, as soon as there can be one. The caller must call `leave` later."""
        self.readers += 1
        if self._subscription.is_ready:
            place.begin(self._window.top)
        else:
            self._waiting.add(place)

    def leave(self, place: Place) -> None:
        """A reader has gone."""
        self.readers -= 1
        self._waiting.discard(place)

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

    def _ready(self) -> None:
        """Let all begin who wait. What was published before cannot be had."""
        waiting, self._waiting = self._waiting, set()
        for place in waiting:
            place.begin(self._window.top)
