"""Which parameters does the query of a request target have? (WHATWG URL section 5.1, without ``+`` for a blank)"""

from urllib.parse import unquote_to_bytes


def parameters(query: str, name: str) -> list[bytes]:
    """The values of all parameters called `name`, percent-decoded. query: without its question mark."""
    wanted, found = name.encode(), []
    for pair in query.split("&"):
        said, _, value = pair.partition("=")
        if unquote_to_bytes(said) == wanted:
            found.append(unquote_to_bytes(value))
    return found
