"""Bringing a blob into a repository: mounted from another one, in one request, or as a stream that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from knarr.images.cancellation import Cancellation
from knarr.images.registry import foreign
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.transport import Answer, Request

_AT_ONCE = 1 << 20  # blobs up to here go in one request
_RESUMPTIONS = 5
_OCTETS = {"Content-Type": "application/octet-stream"}


class Blob(Protocol):
    """What is uploaded."""

    @property
    def digest(self) -> str:
        """ "sha256:…" of its bytes."""
        ...

    @property
    def size(self) -> int:
        """How many bytes."""
        ...

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
        location = self._begin(_with_query(url, asked))
        if not location:
            return mount_from
        if blob.size > _AT_ONCE:
            self._finish(self._stream(url, location, blob), blob.digest, b"")
        else:
            self._finish(location, blob.digest, b"".join(blob.chunks(0)))
        return ""

    def _begin(self, url: str) -> str:
        """Where to upload to, "" if the blob is there already: mounted."""
        with self._send(Request(method="POST", url=url)) as answer:
            return "" if answer.status == HTTPStatus.CREATED else _location(answer)

    def _finish(self, location: str, digest: str, content: bytes) -> None:
        request = Request(
            method="PUT",
            url=_with_query(location, {"digest": digest}),
            headers=_OCTETS,
            body=lambda: content,
            retried=False,
        )
        self._send(request).close()

    def _stream(self, url: str, location: str, blob: Blob) -> str:
        """Send all bytes; where the connection breaks, go on from what the registry has got, or begin again."""
        offset = 0
        for left in reversed(range(_RESUMPTIONS)):
            try:
                return self._patch(location, blob, offset)
            except Unreachable:
                self._cancellation.check()
                if not left:
                    raise
            try:
                location, offset = self._status(location)
            except Refused:  # docker's own registry cannot take up what has broken off
                location, offset = self._begin(url), 0
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
            received = answer.headers.get("Range", "")
            last = foreign.number(received.rpartition("-")[2]) if received != "0-0" else None
            return _location(answer), 0 if last is None else last + 1


def _location(answer: Answer) -> str:
    target = answer.headers.get("Location")
    if not target:
        raise Refused(f'"{answer.url}": the registry did not say where to upload to', status=answer.status)
    return foreign.joined(answer.url, target)


def _with_query(url: str, more: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *more.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))
