"""How does a test ask for several responses on one HTTP/2 connection, and see how each of them ends?"""

import socket
from collections import defaultdict
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset

from tests.support.blocking_peer import BlockingPeer


class Http2Peer(BlockingPeer):
    """One connection that speaks HTTP/2 from its first byte.

    bodies, ends: by the number of the stream. An end is `ended` or `reset`; there is none while a stream is open.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        super().__init__(socket.create_connection((address.hostname, address.port)))
        self._authority = address.netloc
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._connection.initiate_connection()
        self.bodies: defaultdict[int, bytes] = defaultdict(bytes)
        self.ends: dict[int, str] = {}

    def ask(self, path: str) -> int:
        """The number of the new stream."""
        stream = self._connection.get_next_available_stream_id()
        fields = {":method": "GET", ":path": path, ":scheme": "http", ":authority": self._authority}
        self._connection.send_headers(stream, list(fields.items()), end_stream=True)
        self.send(self._connection.data_to_send())
        return stream

    def read_to_end_of(self, stream: int) -> bytes:
        """The body of a stream that ends; of the others is read what comes meanwhile."""
        while stream not in self.ends:
            self._take_in(self.socket.recv(1 << 16))
        return self.bodies[stream]

    def _take_in(self, data: bytes) -> None:
        assert data, "the server has closed the connection"
        for event in self._connection.receive_data(data):
            match event:
                case DataReceived(stream_id=int(stream), data=bytes(piece), flow_controlled_length=int(size)):
                    self.bodies[stream] += piece
                    self._connection.acknowledge_received_data(size, stream)
                case StreamEnded(stream_id=int(stream)):
                    self.ends[stream] = "ended"
                case StreamReset(stream_id=int(stream)):
                    self.ends[stream] = "reset"
                case ConnectionTerminated():
                    raise AssertionError("the server gives the connection up")
        self.send(self._connection.data_to_send())
