"""Bringing a blob into a repository: mounted from another one, in one request, or as a stream that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from knarr.images.cancellation import Cancellation
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.transport import Answer, Request

_AT_ONCE = 1 << 20  # blobs up to here go in one request
_RESUMPTIONS = 5
_OCTETS = {"Content-Type": "application/octet-stream"}


class Blob(Protocol):
    """What is uploaded."""

    digest: str
    size: int

    def chunks(self, offset: int) -> Iterator[bytes]:
        """Its bytes from `offset` on."""
        ...


class Sender:
    """Uploads with `send`, which raises Refused for answers that are errors."""

    def __init__(self, send: Callable[[Request], Answer], cancellation: Cancellation) -> None:
        self._send = send
        self._cancellation = cancellation

    def upload(self, url: str, blob: Blob, mount_from: str = "") -> str:
        """See Repository.upload_blob. `url` is where uploads begin. Raises Refused, Unreachable, Cancelled."""
        asked = {"mount": blob.digest, "from": mount_from} if mount_from else {}
        with self._send(Request(method="POST", url=_with_query(url, asked))) as answer:
            if mount_from and answer.status == 201:
                return mount_from
            location = _location(answer)
        if blob.size > _AT_ONCE:
            location = self._stream(location, blob)
            self._finish(location, blob.digest, b"")
        else:
            self._finish(location, blob.digest, b"".join(blob.chunks(0)))
        return ""

    def _finish(self, location: str, digest: str, content: bytes) -> None:
        request = Request(
            method="PUT",
            url=_with_query(location, {"digest": digest}),
            headers=_OCTETS,
            body=lambda: content,
            retried=False,
        )
        self._send(request).close()

    def _stream(self, location: str, blob: Blob) -> str:
        """Send all bytes; where the connection breaks, go on from what the registry has got."""
        offset = 0
        for left in reversed(range(_RESUMPTIONS)):
            try:
                return self._patch(location, blob, offset)
            except Unreachable:
                self._cancellation.check()
                if not left:
                    raise
            location, offset = self._status(location)
        raise AssertionError("the last attempt returns or raises")

    def _patch(self, location: str, blob: Blob, offset: int) -> str:
        headers = {**_OCTETS, "Content-Length": str(blob.size - offset)}
        if offset:
            headers["Content-Range"] = f"{offset}-{blob.size - 1}"
        request = Request(
            method="PATCH", url=location, headers=headers, body=lambda: blob.chunks(offset), retried=False
        )
        with self._send(request) as answer:
            return _location(answer)

    def _status(self, location: str) -> tuple[str, int]:
        """Where to go on, and with which byte."""
        with self._send(Request(method="GET", url=location)) as answer:
            last = answer.headers.get("Range", "").rpartition("-")[2]
            has = answer.headers.get("Range", "") not in ("", "0-0") and last.isdigit()
            return _location(answer) or location, int(last) + 1 if has else 0


def _location(answer: Answer) -> str:
    target = answer.headers.get("Location")
    if not target:
        raise Refused(f'"{answer.url}": the registry did not say where to upload to', status=answer.status)
    return urljoin(answer.url, target)


def _with_query(url: str, more: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *more.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))
