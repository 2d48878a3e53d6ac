"""HTTP to registries: connections that are kept, TLS, proxies, retries and redirections. Authentication is not here."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec
import urllib3
from msgspec import Struct

import knarr
from knarr.images.cancellation import Cancellation
from knarr.images.registry import connections, failures, foreign, proxies
from knarr.images.registry.endpoint import Endpoint
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.settings import RegistrySettings

USER_AGENT = f"knarr/{knarr.__version__}"
_MAX_REDIRECTIONS = 10
_REDIRECTIONS = {301, 302, 303, 307, 308}
_PASSING = {429, 500, 502, 503, 504}  # may be over in a moment
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 60.0
_MAX_ERROR = 64 << 10

Body = bytes | BinaryIO | Iterable[bytes] | None


class Request(Struct, frozen=True, kw_only=True):
    """One request. `body` makes the body, anew for each attempt; None where there is none.

    With `retried` it may be sent again when an answer is late or does not come.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: Callable[[], Body] | None = None
    retried: bool = True


class Answer:
    """An answer whose body is still to be read. A context manager: what was not read is given up with it."""

    def __init__(self, url: str, response: urllib3.HTTPResponse, stack: ExitStack) -> None:
        self.url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._stack = stack

    def read(self, size: int, /) -> bytes:
        """What has come, at most `size` bytes; b"" at the end. Raises Unreachable when the connection breaks."""
        try:
            return self._response.read1(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise failures.from_exception("get", self.url, error) from error

    def content(self, limit: int) -> bytes:
        """All of a small body. Raises Unreachable, Refused if it is longer than `limit`."""
        pieces, size = [], 0
        while piece := self.read(limit + 1 - size):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Refused(f'Get "{self.url}": answer is longer than {limit} bytes', status=self.status)
        return b"".join(pieces)

    def failure(self, method: str) -> Refused:
        """The error that it is. Raises Unreachable."""
        return failures.from_answer(method, self.url, self.status, self._response.read(_MAX_ERROR) or b"")

    def challenges(self) -> list[str]:
        """The values of its WWW-Authenticate headers."""
        return list(self._response.headers.getlist("WWW-Authenticate"))

    def close(self) -> None:
        """Give the connection back where all of the body has come, else end it."""
        self._stack.close()
        if self._response.closed or self._response.length_remaining == 0:
            self._response.drain_conn()  # tells http.client, too, that the answer is over
            self._response.release_conn()
        else:
            self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Sends requests, from any thread. `close` ends the connections that are kept."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._pools: dict[tuple[object, ...], urllib3.PoolManager] = {}

    def close(self) -> None:
        """End the connections that are not in use."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def send(self, endpoint: Endpoint, request: Request, cancellation: Cancellation) -> Answer:
        """The answer, whatever its status, after waiting and trying again where that may help.

        GETs and HEADs follow redirections; Authorization and the endpoint's headers stay with its own host. Raises
        Unreachable, Cancelled.
        """
        headers = {"User-Agent": USER_AGENT, **dict(endpoint.headers), **request.headers}
        foreign.checked(request.url)
        request = msgspec.structs.replace(request, headers=headers)
        for _ in range(_MAX_REDIRECTIONS):
            answer = self._send_patiently(endpoint, request, cancellation)
            target = answer.headers.get("Location")
            if request.method not in ("GET", "HEAD") or answer.status not in _REDIRECTIONS or not target:
                return answer
            answer.close()
            endpoint, request = _redirected(endpoint, request, foreign.joined(request.url, target))
        raise Unreachable(f'{request.method.title()} "{request.url}": stopped after {_MAX_REDIRECTIONS} redirects')

    def _send_patiently(self, endpoint: Endpoint, request: Request, cancellation: Cancellation) -> Answer:
        delay = _FIRST_DELAY
        for left in reversed(range(self.settings.attempts)):
            try:
                answer = self._send(endpoint, request, cancellation)
            except _Broken as broken:
                if not left or not request.retried:
                    raise broken.failure from broken
                wait = delay
            else:
                if not left or not request.retried or answer.status not in _PASSING:
                    return answer
                wait = _retry_after(answer.headers.get("Retry-After", ""), delay)
                answer.close()
            cancellation.wait(wait)
            delay *= 2
        raise AssertionError("a last attempt returns or raises")

    def _send(self, endpoint: Endpoint, request: Request, cancellation: Cancellation) -> Answer:
        cancellation.check()
        pool = self._pool(endpoint, request.url)
        stack = ExitStack()
        try:
            with connections.interruptible(cancellation):
                response = pool.request(
                    request.method,
                    request.url,
                    body=request.body() if request.body else None,
                    headers=request.headers,
                    preload_content=False,
                    redirect=False,
                    retries=False,
                )
            assert isinstance(response, urllib3.HTTPResponse)
            stack.enter_context(cancellation.breaking(lambda: _shut_down(response)))
            return Answer(request.url, response, stack)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # the last for headers that cannot be
            cancellation.check()
            failure = failures.from_exception(request.method, request.url, error)
            if isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError)):
                raise _Broken(failure) from error
            raise failure from error

    def _pool(self, endpoint: Endpoint, url: str) -> urllib3.PoolManager:
        proxy = proxies.proxy_for(self.settings.proxies, url)
        secure = url.startswith("https:")
        key = (endpoint.verify, endpoint.authorities, endpoint.client, endpoint.dial_seconds, proxy, secure)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = connections.new_pool(endpoint, proxy, secure=secure)
            return self._pools[key]


class _Broken(Exception):
    """A connection that was made and then ended: worth another attempt."""

    def __init__(self, failure: Unreachable) -> None:
        self.failure = failure


def _redirected(endpoint: Endpoint, request: Request, url: str) -> tuple[Endpoint, Request]:
    headers = dict(request.headers)
    if _origin(url) != _origin(request.url):
        headers = {name: value for name, value in headers.items() if name in ("Accept", "Range", "User-Agent")}
        endpoint = msgspec.structs.replace(endpoint, client=None, headers=())
    return endpoint, msgspec.structs.replace(request, url=url, headers=headers)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _retry_after(text: str, otherwise: float) -> float:
    """The seconds that a server asks for (RFC 9110, 10.2.3): a number, or a date."""
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            seconds = otherwise
    return min(max(seconds, 0.0), _LONGEST_DELAY)


def _shut_down(response: urllib3.BaseHTTPResponse) -> None:
    try:
        response.shutdown()
    except (OSError, ValueError, RuntimeError):
        pass  # it has been read to its end
