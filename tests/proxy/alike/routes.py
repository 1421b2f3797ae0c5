"""By which routes do the doors go that are compared?"""

from collections.abc import Mapping, Sequence
from typing import Any

#: Names the port of the upstream to a server process.
UPSTREAM = "SSEPROXY_TEST_UPSTREAM"

#: Options of each route, in the words of the configuration file. ``/nowhere`` has none.
ROUTES: Sequence[Mapping[str, Any]] = (
    {"match": {"prefix": "/plain"}, "heartbeat": {"interval": "off"}},
    {"match": {"prefix": "/heartbeats"}, "heartbeat": {"interval": "20ms"}, "dialect": "generic"},
    {"match": {"prefix": "/declared"}, "heartbeat": {"interval": "20ms", "before_response": "150ms"}},
    {
        "match": {"prefix": "/rewritten"},
        "heartbeat": {"interval": "off"},
        "rewrite": {"strip_prefix": "/rewritten"},
        "headers": {
            "request": {"set": {"X-Team": "blue", "X-Repeated": "once"}, "remove": ["Cookie", "X-Empty"]},
            "response": {"set": {"X-Frame": "no"}, "remove": ["Server", "Set-Cookie"]},
        },
    },
    {
        "match": {"prefix": "/browser"},
        "heartbeat": {"interval": "off"},
        "auth": {"cookie": "token", "strip_cookie": True},
        "cors": {"origins": ["https://app.example"], "credentials": True, "expose": ["X-Odd_Name"]},
        "end": {"event": {"name": "end", "data": ""}, "stop_reconnect": True},
    },
    {"match": {"prefix": "/small"}, "heartbeat": {"interval": "off"}, "limits": {"request_body": 1000}},
    {
        "name": "tickets",
        "match": {"prefix": "/tickets"},
        "heartbeat": {"interval": "off"},
        "tickets": {"path": "/_tickets", "ttl": "60s"},
    },
    {
        "name": "run",
        "match": {"path": "/run"},
        "heartbeat": {"interval": "off"},
        "journal": {"kind": "answer", "key": "run", "ids": "always", "detach": "end"},
    },
)


def routes_of(port: int) -> list[dict[str, Any]]:
    """Return `ROUTES` with an upstream of this machine."""
    return [{**route, "upstream": f"http://127.0.0.1:{port}"} for route in ROUTES]
