"""HTTP/1.1 (RFC 9112), both sides of it: requests, responses, framing, connections."""
