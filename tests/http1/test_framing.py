"""Are heads and bodies written as HTTP/1.1 wants them, and fields as they came?"""

from sseproxy.http1.framing import CHUNK, CHUNK_END, CHUNK_SIZE, LAST_CHUNK, chunked, response_head


def test_heads_are_written_byte_for_byte() -> None:
    fields = [(b"hOST", b"a"), (b"X", b"\xe9")]
    assert response_head(299, b"Fine \xe9", fields) == b"HTTP/1.1 299 Fine \xe9\r\nhOST: a\r\nX: \xe9\r\n\r\n"


def test_chunks() -> None:
    data = b"x" * 17
    assert CHUNK % (len(data), data) == CHUNK_SIZE % len(data) + data + CHUNK_END == b"11\r\n" + data + b"\r\n"
    assert chunked(data) == CHUNK % (len(data), data) + LAST_CHUNK
    assert chunked(b"") == LAST_CHUNK == b"0\r\n\r\n"
