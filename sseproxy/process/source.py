"""What holds for the processes, and what would hold if file, variables and certificates were read again?"""

import logging
from collections.abc import Callable, Sequence

from sseproxy.config.checked import Checked
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.restart import beside
from sseproxy.config.settings import Config, LogSettings
from sseproxy.core.frozen import frozen
from sseproxy.logs import LOGGER, configure
from sseproxy.process.certificates import Certificate

_log = logging.getLogger(LOGGER)

# A reload
#
#   SIGHUP ─► Source.read ─► Snapshot ─► ServerProcess.apply ─► Source.accept
#             file, flags,   what holds  new requests           the log says what needs a restart
#             variables,
#             certificates
#
# Invariants
#   1. `read` finds all that can be wrong, with the words of `check`, and changes nothing.
#   2. A snapshot holds all that a process needs, certificates too. So no two workers can see two files, and a worker
#      that starts later gets what holds, not what a file says by then.
#
# Hazards
#   - A certificate that is being renewed: the new file and the old key do not belong together. Nothing changes then,
#     and the program that renews it sends a signal when both are there.
#   - A file that is replaced by a symbolic link to another, as Kubernetes does: it is opened by its name each time.


@frozen
class Snapshot:
    """What holds: the configuration, and the certificate that clients see, as it was read. It can be pickled."""

    config: Config
    certificate: Certificate | None

    @classmethod
    def of(cls, config: Config) -> "Snapshot":
        """Read the certificate of `config`, too. Raises `OSError`."""
        files = config.server.tls
        return cls(config, None if files is None else Certificate.read(files))


class Source:
    """Where the configuration comes from. current: what holds now.

    read: reads file, variables and flags again, as `config.loader.check` does.
    """

    def __init__(self, current: Snapshot, read: Callable[[], Checked]) -> None:
        self.current = current
        self._read = read
        self._kept: Sequence[str] = ()

    def read(self) -> Snapshot | None:
        """Return what is to hold from now on; ``None`` if anything is wrong, which the log says then."""
        try:
            found = beside(self.current.config, self._read())
            snapshot = Snapshot.of(found.config)
        except ConfigErrors as errors:
            for problem in errors.problems:
                _log.error("reload: %s", problem)
        except OSError as error:
            _log.error("reload: the certificate of server.tls cannot be used: %s", error)
        except Exception:  # noqa: BLE001 - a defect in reading must not end the streams
            _log.exception("reload: unexpected error")
        else:
            self._kept = found.kept
            return snapshot
        _log.error("reload: nothing has changed")
        return None

    def accept(self, snapshot: Snapshot) -> None:
        """Take note that `snapshot` holds now, for the log too. `report` must follow once all processes serve by it."""
        known = {(warning.path, warning.message) for warning in self.current.config.warnings}
        self.current = snapshot
        set_up_log(snapshot.config.log)
        for warning in snapshot.config.warnings:
            if (warning.path, warning.message) not in known:
                _log.warning("%s", warning)

    def report(self) -> None:
        """Log what holds now, and what does not before a restart."""
        for key in self._kept:
            _log.warning("reload: %s has changed, which needs a restart; all else holds now", key)
        _log.info("reloaded: %s", self.status)

    @property
    def status(self) -> str:
        """What holds, in a few words."""
        count = len(self.current.config.routes)
        return f"serving {count} route{'s'[: count != 1]}"


def set_up_log(settings: LogSettings) -> None:
    """Let the log of this process be as `settings` says."""
    configure(level=settings.level, form=settings.format, access=settings.access)
