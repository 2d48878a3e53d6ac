"""A name server outside, for tests: knows what it is told, over UDP and TCP, in a namespace."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dnslib import DNSRecord
from topology import Namespace

Zone = Callable[[DNSRecord], DNSRecord]


class _Datagrams(socketserver.UDPServer):
    allow_reuse_address = True


class _Streams(socketserver.TCPServer):
    allow_reuse_address = True


@contextmanager
def name_server(place: Namespace, address: str, zone: Zone) -> Iterator[None]:
    """Answer at port 53 of `address` with what `zone` makes of each query; datagrams of 512 bytes, then truncated."""

    class ByDatagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            reply = zone(DNSRecord.parse(data))
            packed = reply.pack()
            sock.sendto(packed if len(packed) <= 512 else reply.truncate().pack(), self.client_address)

    class ByStream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            size = int.from_bytes(self.rfile.read(2), "big")
            packed = zone(DNSRecord.parse(self.rfile.read(size))).pack()
            self.wfile.write(len(packed).to_bytes(2, "big") + packed)

    with ExitStack() as stack:
        for make, handler in ((_Datagrams, ByDatagram), (_Streams, ByStream)):
            server: Any = stack.enter_context(place.call(make, (address, 53), handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield
