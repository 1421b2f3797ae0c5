"""How is the response to one request written, whatever it turns out to be?"""

from dataclasses import replace

from sseproxy.core.eventsource.cors import CrossOrigin
from sseproxy.core.eventsource.policies import CorsPolicy
from sseproxy.core.eventsource.ticket_ids import opened_answer
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers


@frozen
class ResponseTreatment:
    """What is decided about a response before there is one. The default is that of a request that could not be read.

    is_11: the client speaks HTTP/1.1. is_head: it asks with HEAD. keep_alive: another request may follow.
    is_last: the process is about to end, so the response says, where it can, that no other one follows.
    awaits_continue: the client sends its body only when it is asked for it (RFC 9110 section 10.1.1).
    cross_origin: what the head says to pages of other origins. opens_ticket: it answers the opening of a ticket.
    linger: seconds for which a stream that breaks stays open behind its last bytes. Node's fetch and aiohttp drop what
    their reader has not taken yet when the connection ends, the error event included.
    """

    is_11: bool = True
    is_head: bool = False
    keep_alive: bool = False
    is_last: bool = False
    awaits_continue: bool = False
    cross_origin: CrossOrigin | None = None
    opens_ticket: bool = False
    linger: float = 0.0

    def of_opened_ticket(self, policy: CorsPolicy | None, headers: Headers) -> "ResponseTreatment":
        """Return the treatment of a response that the opening of a ticket brings about.

        policy: of the ticket's route, which was not known before. headers: of the request that opens it.
        """
        if policy is None or self.cross_origin is None:
            return replace(self, opens_ticket=True, cross_origin=None)
        return replace(self, opens_ticket=True, cross_origin=CrossOrigin.of(policy, headers))

    def fields(self, headers: Headers) -> Headers:
        """Return the fields of the response's head, from those of the upstream or of sseproxy."""
        if self.cross_origin is not None:
            headers = self.cross_origin.response_fields(headers)
        return opened_answer(headers) if self.opens_ticket else headers
