"""Which HTTP servers do the routes of a process lead to, over all configurations that it has had?"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

from sseproxy.core.routes import Route, Upstream
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.pools import PoolGroup
from sseproxy.timers import Clock

#: Servers as routes name them, each with a digest of its certificate files when its pool was made, and the pool.
_Known = Mapping[Upstream, tuple[bytes, HttpOrigin]]


class HttpServers:
    """The upstreams of all routes, and the services that they ask. Must be made while the event loop runs.

    What two configurations name alike, with the same certificates, is one `HttpOrigin`: it keeps its connections. All
    of them make room for each other's connections. What is not named any more is the caller's to retire.
    """

    def __init__(self, clock: Clock) -> None:
        self._new = partial(HttpOrigin, clock=clock, group=PoolGroup())
        self._upstreams: _Known = {}
        self._authorizers: _Known = {}

    def upstreams(self, routes: Sequence[Route]) -> dict[Upstream, HttpOrigin]:
        """Return what serves each upstream of `routes`. Raises `OSError` for a certificate that cannot be read."""
        self._upstreams = self._of((each.upstream for each in routes if each.upstream is not None), self._upstreams)
        return {upstream: origin for upstream, (_, origin) in self._upstreams.items()}

    def authorizers(self, routes: Sequence[Route]) -> dict[Upstream, HttpOrigin]:
        """Return what is asked for each service that `authorize` names; as `upstreams`."""
        named = (each.authorize.upstream for each in routes if each.authorize is not None)
        self._authorizers = self._of(named, self._authorizers)
        return {upstream: origin for upstream, (_, origin) in self._authorizers.items()}

    def _of(self, named: Iterable[Upstream], before: _Known) -> _Known:
        found = {}
        for upstream in dict.fromkeys(named):
            digest, known = digest_of_files(upstream), before.get(upstream)
            is_same = known is not None and known[0] == digest
            found[upstream] = known if known is not None and is_same else (digest, self._new(upstream))
        return found


def digest_of_files(upstream: Upstream) -> bytes:
    """Return a digest of what is in the files that the TLS of an upstream names."""
    digest = blake2b()
    for path in (upstream.tls.ca, upstream.tls.certificate, upstream.tls.key):
        data = b""
        if path is not None:
            with contextlib.suppress(OSError):  # it is reported when the pool is made
                data = Path(path).read_bytes()
        digest.update(b"%d:%b" % (len(data), data))
    return digest.digest()
