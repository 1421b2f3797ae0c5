"""Who may connect to a unix socket that the process listens on?"""

import os
import stat
from pathlib import Path

import pytest

from sseproxy.config.addresses import Address
from sseproxy.process.listeners import ListenError, listen


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o666), (0o600, 0o600), (0o660, 0o660)])
def test_the_mode_of_a_socket(tmp_path: Path, mode: int | None, expected: int) -> None:
    path = tmp_path / "proxy.sock"
    listeners = listen([Address(path=str(path), mode=mode)], workers=1, scheme="http")
    try:
        assert stat.S_IMODE(path.stat().st_mode) == expected
    finally:
        listeners.close()
    assert not path.exists()


def test_the_group_of_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    group = next((group for group in os.getgroups() if group != os.getgid()), os.getgid())
    listeners = listen([Address(path=str(path), group=str(group))], workers=1, scheme="http")
    try:
        assert path.stat().st_gid == group
        assert path.stat().st_uid == os.getuid()
    finally:
        listeners.close()


def test_a_group_that_there_is_not_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with pytest.raises(ListenError, match=r"proxy\.sock: there is no such group"):
        listen([Address(path=str(path), group="no-such-group-here")], workers=1, scheme="http")
    assert not path.exists()
