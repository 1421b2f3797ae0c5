"""How is the response to one request written, whatever it turns out to be?"""

from dataclasses import dataclass

from sseproxy.core.eventsource.cors import CrossOrigin
from sseproxy.core.eventsource.tickets import opened_answer
from sseproxy.core.http.fields import Headers


@dataclass(frozen=True, slots=True)
class ResponseTreatment:
    """What is decided about a response before there is one. The default is that of a request that could not be read.

    is_11: the client speaks HTTP/1.1. is_head: it asks with HEAD. keep_alive: another request may follow.
    awaits_continue: the client sends its body only when it is asked for it (RFC 9110 section 10.1.1).
    cross_origin: what the head says to pages of other origins. opens_ticket: it answers the opening of a ticket.
    linger: seconds for which a stream that breaks stays open behind its last bytes. Node's fetch and aiohttp drop what
    their reader has not taken yet when the connection ends, the error event included.
    """

    is_11: bool = True
    is_head: bool = False
    keep_alive: bool = False
    awaits_continue: bool = False
    cross_origin: CrossOrigin | None = None
    opens_ticket: bool = False
    linger: float = 0.0

    def fields(self, headers: Headers) -> Headers:
        """Return the fields of the response's head, from those of the upstream or of sseproxy."""
        if self.cross_origin is not None:
            headers = self.cross_origin.response_fields(headers)
        return opened_answer(headers) if self.opens_ticket else headers
