"""How does a process listen on a port that no other process can take before it starts?"""

import socket

_BACKLOG = 128


def listener(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """A listening socket on the IP address `host`, the loopback interface if left out; port 0 lets the kernel choose.

    The caller hands it to the process that accepts and closes its own copy. Raises `OSError` when the port cannot be
    had.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except (OSError, OverflowError) as error:
        sock.close()
        why = error.strerror if isinstance(error, OSError) else error
        raise OSError(f"cannot listen on {authority(host, port)}: {why}") from error
    return sock


def authority(host: str, port: int) -> str:
    """Both as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_of(sock: socket.socket) -> int:
    """The port that `sock` listens on."""
    port: int = sock.getsockname()[1]
    return port
