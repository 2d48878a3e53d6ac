"""Requests to an engine and what becomes of the answers, apart from how the bytes travel.

A `Call[T]` describes one request whose answer is a T. Given a `Wire` it becomes a conversation: a generator that
yields what it needs of the transport and is sent the bytes of it:

    bytes       send these                       → b""
    None        receive                          → what came, b"" at the end
    iterator    the next piece of an upload      → the piece, b"" at the end

Both clients drive the same conversations (synchronous.py, asynchronous.py), so nothing here is written twice.
"""

from __future__ import annotations

import json

from knarr import __version__
from knarr.client.decoders import Frames, JSONLines, OneStream, Plain
from knarr.client.errors import from_response
from knarr.client.http import Head, HeadReader, body_reader, request_head, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Any, TypeAlias, TypeVar

    from knarr.client.decoders import Decoder
    from knarr.client.http import BodyReader

    T = TypeVar("T")
    Step: TypeAlias = bytes | Iterator[bytes] | None
    Conversation: TypeAlias = Generator[Step, bytes, T]
    Call: TypeAlias = Callable[["Wire"], Conversation[T]]
    Feed: TypeAlias = Call["Opened[T]"]  # an answer that comes bit by bit
    Opened: TypeAlias = tuple[BodyReader, Decoder[T], bytes]  # … once its headers are there, with the first bytes of it
    Upload: TypeAlias = Iterator[bytes]
    Query: TypeAlias = Mapping[str, object]

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
LATEST_VERSION = "1.50"
OLDEST_VERSION = "1.24"


class Wire:
    """One connection, as far as a conversation sees it. `reusable` is set by an answer that was read to its end."""

    __slots__ = ("base", "host", "reusable", "version")

    def __init__(self, host: str, base: str = "", version: str = LATEST_VERSION) -> None:
        self.host = host
        self.base = base
        self.version = version
        self.reusable = False

    def path(self, path: str, versioned: bool) -> str:
        return f"{self.base}/v{self.version}{path}" if versioned else self.base + path


class Response:
    """A complete answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body) if self.body.strip() else None


class Takeover:
    """A connection that has become a stream: `early` are the bytes that came with the answer's head."""

    __slots__ = ("early", "media_type")

    def __init__(self, early: bytes, media_type: str) -> None:
        self.early = early
        self.media_type = media_type


def nothing(response: Response) -> None:
    """For answers without content."""


def document(response: Response) -> Any:
    """The JSON document that is the answer."""
    return response.json()


def call(
    method: str,
    path: str,
    decode: Callable[[Response], T],
    *,
    query: Query | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    versioned: bool = True,
) -> Call[T]:
    """A request whose answer is read whole. `body` is JSON, or an iterator of bytes that is sent in chunks."""

    def conversation(wire: Wire) -> Conversation[T]:
        head, reader, rest = yield from _exchange(wire, method, path, query, body, headers, versioned)
        content = yield from _read_all(reader, rest)
        wire.reusable = head.headers.get("connection", "").lower() != "close" and reader.finished
        return decode(Response(head.status, head.headers, content))

    return conversation


def feed(
    method: str,
    path: str,
    decoder: Callable[[Head], Decoder[T]],
    *,
    query: Query | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Feed[T]:
    """A request whose answer comes bit by bit; the conversation ends when its headers are there."""

    def conversation(wire: Wire) -> Conversation[Opened[T]]:
        head, reader, rest = yield from _exchange(wire, method, path, query, body, headers, True)
        return reader, decoder(head), rest

    return conversation


def takeover(method: str, path: str, *, query: Query | None = None, body: object = None) -> Call[Takeover]:
    """A request after which the connection is a two-way stream (101, or 200 from an engine that does not upgrade)."""

    def conversation(wire: Wire) -> Conversation[Takeover]:
        wanted = {"Connection": "Upgrade", "Upgrade": "tcp"}
        head, _, rest = yield from _exchange(wire, method, path, query, body, wanted, True)
        return Takeover(rest, head.headers.get("content-type", ""))

    return conversation


def json_lines(head: Head) -> JSONLines:
    return JSONLines()


def plain(head: Head) -> Plain:
    return Plain()


def standard_streams(tty: bool) -> Callable[[Head], Decoder[tuple[int, bytes]]]:
    """How logs are told apart; engines before 1.42 do not say in a header whether they frame them."""
    return lambda head: OneStream() if tty else Frames()


def _exchange(
    wire: Wire,
    method: str,
    path: str,
    query: Query | None,
    body: object,
    headers: Mapping[str, str] | None,
    versioned: bool,
) -> Conversation[tuple[Head, BodyReader, bytes]]:
    """Send a request and read the head of its answer. Raises EngineError for one of 400 and more."""
    head_lines = {"Host": wire.host, "User-Agent": f"knarr/{__version__}", **(headers or {})}
    where = target(wire.path(path, versioned), query or {})
    try:
        yield from _send(method, where, head_lines, body)
    except ConnectionError:
        pass  # the engine has stopped listening: its answer tells why, or that there is none
    reader, found = HeadReader(), None
    while found is None:
        found = reader.feed((yield None))
    head, rest = found
    content = body_reader(method, head)
    if head.status >= 400:
        text = yield from _read_all(content, rest)
        raise from_response(head.status, text)
    return head, content, rest


def _send(method: str, where: str, headers: dict[str, str], body: object) -> Conversation[None]:
    if body is not None and hasattr(body, "__next__"):
        headers["Transfer-Encoding"] = "chunked"
        headers.setdefault("Content-Type", "application/x-tar")
        yield request_head(method, where, headers)
        yield from _send_chunks(body)
        return
    content = b"" if body is None else json.dumps(body).encode()
    if content:
        headers.setdefault("Content-Type", "application/json")
    if content or method == "POST":
        headers["Content-Length"] = str(len(content))
    yield request_head(method, where, headers) + content


def _send_chunks(pieces: Any) -> Conversation[None]:
    while piece := (yield pieces):
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def next_piece(upload: Upload) -> bytes:
    """The next piece that is not empty, b"" at the end: an empty one would be taken for it."""
    for piece in upload:
        if piece:
            return piece
    return b""


def _read_all(reader: BodyReader, data: bytes) -> Conversation[bytes]:
    content = [reader.feed(data)] if data else []
    while not reader.finished:
        content.append(reader.feed((yield None)))
    return b"".join(content)
