"""Bodies read from their socket by a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from knarr.api.uploading import Upload
from knarr.errors import InvalidParameter


class Client:
    """A client's end, and the upload at the other."""

    def __init__(self) -> None:
        self.socket, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.behind: list[bytes] = []
        self._uploads: list[Upload] = []

    def upload(self, length: int | None = None, ahead: bytes = b"") -> Upload:
        self._uploads.append(Upload(self.server.dup(), length, ahead, self.behind.append))
        return self._uploads[-1]

    def close(self) -> None:
        for end in (self.socket, self.server, *self._uploads):
            end.close()


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


def read_all(upload: Upload, size: int = 1 << 20) -> bytes:
    return b"".join(iter(lambda: upload.read(size), b""))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_with_a_length(size: int, client: Client) -> None:
    client.socket.sendall(b"defgNEXT")
    assert read_all(client.upload(7, b"abc"), size) == b"abcdefg"
    assert client.behind == [b"NEXT"]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_chunks(cut: int, size: int, client: Client) -> None:
    data = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nNEXT"
    upload = client.upload(ahead=data[:cut])
    thread = threading.Thread(target=lambda: [client.socket.send(bytes([byte])) for byte in data[cut:-4]])
    thread.start()
    assert read_all(upload, size) == b"abcdefg0123456789"
    thread.join()
    assert client.behind == [b""]


@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"\r\n", b"1\r\nabc\r\n", b"f" * 20 + b"\r\n", b"1" * 9000])
def test_malformed_chunks(data: bytes, client: Client) -> None:
    upload = client.upload(ahead=data)
    for _ in range(2):
        with pytest.raises(InvalidParameter, match="cannot read the request's body"):
            read_all(upload)
    assert client.behind == []


@pytest.mark.parametrize("length", [None, 10])
def test_a_client_that_leaves(length: int | None, client: Client) -> None:
    client.socket.sendall(b"5\r\nabc")
    client.socket.close()
    with pytest.raises(InvalidParameter, match="the client has gone"):
        read_all(client.upload(length))


def test_discarding_up_to_a_limit(client: Client) -> None:
    assert client.upload(5, b"abcde").discard(5)
    assert client.behind == [b""]
    assert not client.upload(5, b"abcde").discard(4)


def test_closing_wakes_the_reader(client: Client) -> None:
    upload = client.upload(5)
    failures: list[str] = []

    def read() -> None:
        try:
            upload.read(1)
        except InvalidParameter as error:
            failures.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    upload.close()
    thread.join(10)
    assert len(failures) == 1
