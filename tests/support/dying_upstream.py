"""Which process may a test kill or freeze while it streams? Prints its URL, then counts for every client."""

import socket
import sys
import threading

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_PACE = 0.01


def _count(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_HEAD)
    pause = threading.Event()
    number = 0
    while True:
        event = b"data: %d\n\n" % number
        connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        number += 1
        pause.wait(_PACE)


def main() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{server.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        threading.Thread(target=_count, args=(server.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
