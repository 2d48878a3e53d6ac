"""Connections to registries: pools of them, TLS, and an end to their waiting when the work is cancelled."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from knarr.errors import InvalidParameter
from knarr.images.cancellation import Cancellation
from knarr.images.registry.endpoint import Endpoint

CONNECT_SECONDS = 15.0
STALL_SECONDS = 60.0
_POOLED = 8


def new_pool(endpoint: Endpoint, proxy: str, *, secure: bool) -> urllib3.PoolManager:
    """Connections to hosts as an endpoint's settings have them, through a proxy unless that is "".

    Raises InvalidParameter for certificates that cannot be read.
    """
    options: dict[str, Any] = {
        "maxsize": _POOLED,
        "timeout": urllib3.Timeout(connect=endpoint.dial_seconds or CONNECT_SECONDS, read=STALL_SECONDS),
    }
    if secure:
        options["ssl_context"] = _tls_context(endpoint)
    pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not endpoint.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the administrator has decided so
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for path in endpoint.authorities:
            context.load_verify_locations(path)
        if endpoint.client is not None:
            context.load_cert_chain(*endpoint.client)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (*endpoint.authorities, *(endpoint.client or ())) if path)
        raise InvalidParameter(f"cannot read the certificates for {endpoint.url} ({files}): {error}") from error
    return context


_local = threading.local()


@contextmanager
def interruptible(cancellation: Cancellation) -> Iterator[None]:
    """Let the requests that this thread makes be broken off while they wait for their answer."""
    _local.cancellation = cancellation
    try:
        yield
    finally:
        _local.cancellation = None


class _Interrupted:
    """Part of a connection: its waiting for the peer ends when the thread's work is cancelled."""

    def request(self, *arguments: Any, **options: Any) -> None:
        with self._watched():
            super().request(*arguments, **options)  # type: ignore[misc]

    def getresponse(self) -> Any:
        with self._watched():
            return super().getresponse()  # type: ignore[misc]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        cancellation: Cancellation | None = getattr(_local, "cancellation", None)
        if cancellation is None:
            yield
            return
        with cancellation.breaking(self._break):
            yield

    def _break(self) -> None:
        sock = getattr(self, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected any more


class _PlainConnection(_Interrupted, HTTPConnection):
    pass


class _SecureConnection(_Interrupted, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
