"""What handlers get and give: a request, and one of three kinds of answers. Nothing here does I/O."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

from knarr.api import decoding
from knarr.errors import InvalidParameter

if TYPE_CHECKING:
    from knarr.api.body import Body
    from knarr.engine.engine import Engine

Headers = list[tuple[str, str]]
Version = tuple[int, ...]

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

_FALSE = frozenset({"", "0", "no", "false", "none"})


class Request:
    """A request whose headers have arrived. `names` are the path's variable parts, `version` is the one asked for."""

    __slots__ = ("_query", "body", "engine", "headers", "method", "names", "path", "query_text", "version")

    def __init__(
        self, engine: Engine, method: str, path: str, query_text: str, headers: dict[str, str], body: Body
    ) -> None:
        self.engine = engine
        self.method = method
        self.path = path
        self.query_text = query_text
        self.headers = headers
        self.body = body
        self.names: dict[str, str] = {}
        self.version: Version = ()
        self._query: dict[str, list[str]] | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name; a name without a value has an empty one."""
        if self._query is None:
            self._query = parse_qs(self.query_text, keep_blank_values=True) if self.query_text else {}
        return self._query

    def text(self, name: str, default: str = "") -> str:
        """The first value of `name` in the query."""
        values = self.query.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """All values of `name` in the query."""
        return self.query.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean as dockerd reads it: anything but nothing, 0, no, false and none is true."""
        values = self.query.get(name)
        return values[0].strip().lower() not in _FALSE if values else default

    def number(self, name: str) -> int | None:
        """An integer of the query, None where it is absent or empty. Raises InvalidParameter."""
        text = self.text(name)
        if not text:
            return None
        return decoding.integer(text)

    def header(self, name: str) -> str:
        """The header with this lower-case name, "" if there is none."""
        return self.headers.get(name, "")

    async def json(self, kind: type[decoding.T], *, required: bool = False) -> decoding.T:
        """The body as a `kind`; an empty body gives all defaults, or InvalidParameter if one is `required`."""
        content_type = self.header("content-type")
        if self.body.empty:
            if required:
                raise InvalidParameter("invalid JSON: got EOF while reading request body")
            if content_type:
                decoding.check_content_type(content_type)
            return msgspec.convert({}, kind)
        decoding.check_content_type(content_type)
        data = await self.body.read()
        if not data and not required:
            return msgspec.convert({}, kind)
        return decoding.decode(data, kind)


class Response(Struct):
    """A complete answer. HEAD requests get its headers with the body's length."""

    status: int = HTTPStatus.OK
    body: bytes = b""
    headers: Headers = field(default_factory=list)


class Stream(Struct):
    """An answer of unknown length, whose headers go out at once. It ends early when the client goes away.

    `chunks` is closed in any case. An error that it raises cuts the connection off, so that no client takes what it
    got for everything; generators of progress report their errors in the stream instead.
    """

    chunks: AsyncGenerator[bytes, None]
    content_type: str = "application/json"
    status: int = HTTPStatus.OK
    headers: Headers = field(default_factory=list)


class Hijack(Struct):
    """The connection becomes a plain byte stream after this answer.

    `take` gets a connected stream socket and owns it from its first moment on. `upgrade` names the protocol to a client
    that asked for one; with `websocket` it speaks RFC 6455 and the socket's other end is ours.
    """

    take: Callable[[int], Awaitable[None]]
    content_type: str = RAW_STREAM
    websocket: bool = False
    upgrade: str = "tcp"


Answer = Response | Stream | Hijack
Handler = Callable[[Request], Awaitable[Answer]]


def json_answer(value: Any, status: int = HTTPStatus.OK) -> Response:
    """`value` as JSON, with the line end that Go's encoder writes."""
    return Response(status, msgspec.json.encode(value) + b"\n", [("Content-Type", "application/json")])


async def json_lines(values: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """Each value as a line of JSON, for a Stream."""
    async with contextlib.aclosing(values):
        async for value in values:
            yield msgspec.json.encode(value) + b"\n"


def no_content() -> Response:
    """204."""
    return Response(HTTPStatus.NO_CONTENT)
