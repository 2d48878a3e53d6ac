"""TLS taken off: behind a relay that decrypts, every connection is a plain socket that can be given away.

asyncio's own TLS ends a connection as soon as one direction does, while an attached client goes on reading after it
has closed its input: it sends a close_notify, and no end of the TCP stream, until it wants neither direction.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from knarr.api.relay import End

_log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS = 10
_RECORDS = 256 << 10  # decrypted at once

Serve = Callable[[socket.socket], Awaitable[None]]


class EncryptedEnd(End):
    """A client's end: handshake first, then a relay to one end of a socket pair, whose other end goes to `serve`."""

    def __init__(self, context: ssl.SSLContext, serve: Serve) -> None:
        super().__init__()
        self._serve = serve
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False
        self._joined = False
        self._finished_sending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self._established:
            self._shake_hands()
        elif self._joined:
            self._decrypt()

    def eof_received(self) -> bool:
        return False  # a client that only finishes sending says so with a close_notify

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._joined:
            self.other.close()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush()

    def finish(self) -> None:
        """Send a close_notify, after which the client may still send."""
        if not self._finished_sending and not self.transport.is_closing():
            self._finished_sending = True
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it wants the client's close_notify, which may come later
            self._flush()

    def close(self) -> None:
        self.finish()
        self.transport.close()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            _log.info("TLS handshake failed: %s", error)
            self._flush()  # the alert that tells the client why
            self.transport.close()
            return
        self._flush()
        self._established = True
        self._timer.cancel()
        self.transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        self.other = End()
        self.other.other = self
        try:
            ours, theirs = socket.socketpair()
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self.other, ours)
            await self._serve(theirs)
        except OSError as error:
            _log.error("cannot serve a TLS connection: %s", error)
            self.transport.abort()
            return
        self._joined = True
        if self.transport.is_closing():
            self.other.close()
            return
        self._decrypt()
        self.transport.resume_reading()

    def _decrypt(self) -> None:
        try:
            while data := self._tls.read(_RECORDS):
                self.other.send(data)
            self.end_of_data()
        except ssl.SSLWantReadError:
            self._flush()  # key updates and the like
        except ssl.SSLZeroReturnError:
            self.end_of_data()
        except ssl.SSLError as error:
            _log.info("TLS failed: %s", error)
            self.transport.abort()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self.transport.is_closing():
            self.transport.write(data)
