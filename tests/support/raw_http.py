"""What does a client get on the wire: which head, which pieces of the body and when, and what kind of end?

No HTTP library in between that would repair, collect or hide anything.
"""

from sseproxy.demo.exchange import Answer, Ending, Piece, exchange, post

__all__ = ["Answer", "Ending", "Piece", "exchange", "get", "post"]


def get(path: str, **fields: str) -> bytes:
    """A GET request; underscores in the names of `fields` stand for hyphens."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
