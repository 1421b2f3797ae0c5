"""What of a configuration cannot change while processes run, and what holds in its place?"""

from dataclasses import replace

from sseproxy.config.checked import Checked
from sseproxy.config.problems import ConfigErrors, ConfigProblem
from sseproxy.config.settings import Config
from sseproxy.core.frozen import frozen

_WORKERS = "server.workers"


@frozen
class Reloaded:
    """What holds from now on. kept: the keys that the file has changed, and that need a restart."""

    config: Config
    kept: tuple[str, ...]


def beside(running: Config, checked: Checked) -> Reloaded:
    """Return the configuration that was `checked`, without what processes that run as `running` says cannot change.

    Errors: `ConfigErrors` where what cannot change and what can do not go together.
    """
    wanted = checked.config()
    pairs = {
        "server.listen": (running.server.listen, wanted.server.listen),
        _WORKERS: (running.server.workers, wanted.server.workers),
        "admin": (running.admin, wanted.admin),
        "store": (running.store, wanted.store),
        "telemetry": (running.telemetry, wanted.telemetry),
    }
    for what in ("tickets", "journal") if running.server.workers > 1 else ():
        route = next((route for route in wanted.routes if getattr(route, what) is not None), None)
        if route is not None:
            owned = "tickets" if what == "tickets" else "runs"
            message = f"is {running.server.workers} until a restart, and each worker would know only its own {owned}"
            file, hint = checked.document.file, f"restart, or leave out the {what} of route {route.name}"
            raise ConfigErrors([ConfigProblem(file, 0, 0, _WORKERS, message, hint)])
    # A route that names no Redis goes on with the one that it had.
    url = running.store.url or wanted.store.url
    server = replace(wanted.server, listen=running.server.listen, workers=running.server.workers)
    config = replace(
        checked.config(store_url=url),
        server=server,
        admin=running.admin,
        store=running.store,
        telemetry=running.telemetry,
    )
    return Reloaded(config, tuple(key for key, (before, after) in pairs.items() if before != after))
