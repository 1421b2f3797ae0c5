"""The reverse proxy: one shell around the pure core, from the client's connection to the upstream's.

`ReverseProxy` is the proxy as an ASGI app. It is loaded when it is asked for: those who import other modules of this
room do not wait for it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sseproxy.proxy.library.reverse_proxy import ReverseProxy

__all__ = ["ReverseProxy"]

if not TYPE_CHECKING:  # type checkers would take any name for one that is here

    def __getattr__(name: str) -> object:
        if name == "ReverseProxy":
            from sseproxy.proxy.library.reverse_proxy import ReverseProxy  # noqa: PLC0415

            return ReverseProxy
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
