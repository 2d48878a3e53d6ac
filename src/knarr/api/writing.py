"""An answer's bytes: status line, headers, chunks."""

from __future__ import annotations

import functools
import time
from email.utils import formatdate
from http import HTTPStatus

import knarr
from knarr.api import versions
from knarr.api.messages import Headers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

COMMON = [
    ("Api-Version", versions.to_text(versions.NEWEST)),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"knarr/{knarr.__version__} (linux)"),
]
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_COMMON_LINES = "".join(f"{name}: {value}\r\n" for name, value in COMMON)


def head(
    status: int, headers: Headers, *, length: int | None = None, chunked: bool = False, last: bool = False
) -> bytes:
    """Everything up to the body. Neither `length` nor `chunked`: no body, or one that ends with the connection.

    `last` announces that the connection is closed afterwards.
    """
    parts = [_STATUS_LINES[status], _COMMON_LINES, _date_line(int(time.time()))]
    parts += [f"{name}: {value}\r\n" for name, value in headers]
    if length is not None:
        parts.append(f"Content-Length: {length}\r\n")
    if chunked:
        parts.append("Transfer-Encoding: chunked\r\n")
    if last:
        parts.append("Connection: close\r\n")
    parts.append("\r\n")
    return "".join(parts).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` must not be empty, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.lru_cache(1)
def _date_line(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}\r\n"
