"""What is said of a socket that is closed already? A client that leaves may close one at any moment."""

import socket

from sseproxy.http1.sockets import acknowledged, has_unread, unacknowledged


def test_a_closed_socket_has_nothing() -> None:
    sock = socket.socket()
    sock.close()
    assert not has_unread(sock)
    assert unacknowledged(sock) == 0
    assert acknowledged(sock) is None
