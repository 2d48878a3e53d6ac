"""HTTP/1.1 as a client sees it, without sockets: requests to bytes, bytes to answers (RFC 9112).

Small on purpose: a command's start would pay for more (http.client brings the email package with it).
"""

from __future__ import annotations

from knarr.client.errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class BodyReader(Protocol):
        """Takes the bytes after an answer's head and gives its content. b"" tells that the peer closed."""

        finished: bool

        def feed(self, data: bytes) -> bytes: ...


_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
_LONGEST_HEAD = 1 << 20
_LONGEST_CHUNK_LINE = 1 << 12


def quote(text: str, safe: str = "") -> str:
    """`text` percent-encoded for a target (RFC 3986): all but the unreserved characters and those in `safe`."""
    keep = _UNRESERVED.union(safe.encode())
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in data)


def target(path: str, query: Mapping[str, object]) -> str:
    """Path and query of a request. A value of None or False leaves its name out, True is 1, a list repeats the name."""
    pairs = []
    for name, value in query.items():
        if value is None or value is False:
            continue
        for item in value if isinstance(value, list) else [value]:
            pairs.append(f"{quote(name)}={quote('1' if item is True else str(item))}")
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request with its empty line. Raises ValueError for a line break where none may be."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a request's head has a line break in a value")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Head:
    """Status and headers of an answer; header names are in lower case."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers


class HeadReader:
    """Collects an answer's head. Informational answers (1xx) but 101 are passed over."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the bytes after it once it is complete. Raises ConnectionFailed."""
        if not data:
            raise ConnectionFailed("the connection was closed before an answer came")
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = _parse_head(self._data[:end].decode("latin-1"))
            rest = bytes(self._data[end + 4 :])
            if head.status >= 200 or head.status == 101:
                return head, rest
            self._data = bytearray(rest)
        if len(self._data) > _LONGEST_HEAD:
            raise ConnectionFailed("the answer's head is too long")
        return None


def _parse_head(text: str) -> Head:
    first, *lines = text.split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ConnectionFailed(f"the answer is not HTTP: {first[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(status), headers)


def body_reader(method: str, head: Head) -> BodyReader:
    """How the end of an answer's content is found (RFC 9112, 6.3). Raises ConnectionFailed."""
    if method == "HEAD" or head.status in (204, 304):
        return Counted(0)
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        return Chunked()
    length = head.headers.get("content-length")
    if length is None:
        return Unbounded()
    if not length.isdigit():
        raise ConnectionFailed(f"the answer's length is not a number: {length!r}")
    return Counted(int(length))


class Counted:
    """Content of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.finished = length == 0

    def feed(self, data: bytes) -> bytes:
        if not data and not self.finished:
            raise ConnectionFailed("the connection broke inside an answer")
        taken = data[: self._left]
        self._left -= len(taken)
        self.finished = self._left == 0
        return taken


class Unbounded:
    """Content that ends with the connection."""

    def __init__(self) -> None:
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        self.finished = self.finished or not data
        return data


class Chunked:
    """Content in chunks, each after a line with its length (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._left = 0  # bytes of the current chunk still to come, with the line break after it
        self._last = False
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        if not data and not self.finished:
            raise ConnectionFailed("the connection broke inside an answer")
        self._data += data
        content: list[bytes] = []
        while not self.finished and (self._take(content) if self._left else self._start()):
            pass
        return b"".join(content)

    def _take(self, content: list[bytes]) -> bool:
        """Take what is there of the current chunk. False when more must come first."""
        if self._left > 2:
            part = bytes(self._data[: self._left - 2])
            content.append(part)
            del self._data[: len(part)]
            self._left -= len(part)
        if self._left > 2 or len(self._data) < 2:
            return False
        del self._data[:2]
        self._left = 0
        return True

    def _start(self) -> bool:
        """Read a length line, or a line of the trailer. False when it is not complete."""
        end = self._data.find(b"\r\n")
        if end < 0:
            if len(self._data) > _LONGEST_CHUNK_LINE:
                raise ConnectionFailed("a chunk's length line is too long")
            return False
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        if self._last:
            self.finished = not line
            return True
        digits = line.split(b";")[0].strip()
        if not digits or not _HEXADECIMAL.issuperset(digits):
            raise ConnectionFailed(f"a chunk's length is not a number: {line[:40]!r}")
        length = int(digits, 16)
        self._last = length == 0
        self._left = length + 2 if length else 0
        return True
