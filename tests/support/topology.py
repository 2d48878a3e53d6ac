"""Networks made of namespaces, for tests: functions are run inside them by threads that have entered."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from knarr.kernel import rtnetlink
from knarr.kernel.namespaces import CLONE_NEWNET, setns, unshare
from knarr.kernel.netlink import NetlinkSocket

T = TypeVar("T")
TIMEOUT = 3.0


def in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own, which may change its namespaces."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Namespace:
    """A network namespace, by its descriptor, which it owns."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def new(cls) -> Namespace:
        """A new one, with loopback up."""

        def make() -> int:
            unshare(CLONE_NEWNET)
            with NetlinkSocket() as netlink:
                netlink.request(rtnetlink.set_link(1, up=True))
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

        return cls(in_thread(make))

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call `function` inside."""

        def body() -> T:
            setns(self.fd, CLONE_NEWNET)
            return function(*args, **kwargs)

        return in_thread(body)

    def netlink(self, *messages: Any) -> None:
        """Send requests inside."""
        with closing(self.call(NetlinkSocket)) as sock:
            sock.transact(messages)

    def links(self) -> dict[str, rtnetlink.Link]:
        """The interfaces, by name."""
        with closing(self.call(NetlinkSocket)) as sock:
            return {link.name: link for link in rtnetlink.links(sock)}

    def sysctl(self, path: str, value: str | None = None) -> str:
        """Read, or write and read, a file below /proc/sys/net."""

        def body() -> str:
            if value is not None:
                with open(f"/proc/sys/net/{path}", "w") as file:
                    file.write(value)
            with open(f"/proc/sys/net/{path}") as file:
                return file.read().strip()

        return self.call(body)

    def close(self) -> None:
        os.close(self.fd)


class Host(Namespace):
    """A namespace with an event loop inside: what runs in it, and the threads it starts, see it as their host."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        setns(self.fd, CLONE_NEWNET)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def inline(self, function: Callable[..., T], *args: Any) -> T:
        """Call something that belongs to the event loop."""

        async def body() -> T:
            return function(*args)

        return self.run(body())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        super().close()


def link_up(here: Namespace, name: str, address: str, there: Namespace, far_name: str, far_address: str) -> None:
    """A cable between two namespaces."""
    here.netlink(rtnetlink.new_veth(name, 0, far_name, there.fd, "02:00:00:00:00:01", 1500))
    for namespace, interface, ip in ((here, name, address), (there, far_name, far_address)):
        index = namespace.links()[interface].index
        namespace.netlink(rtnetlink.set_link(index, up=True), rtnetlink.add_address(index, ip_interface(ip)))


def route(namespace: Namespace, destination: str, interface: str, gateway: str) -> None:
    """A route to `destination` through `gateway`."""
    index = namespace.links()[interface].index
    namespace.netlink(rtnetlink.add_route(ip_network(destination), index, ip_address(gateway)))


@contextmanager
def serving(
    namespace: Namespace, port: int, kind: socket.SocketKind = socket.SOCK_STREAM, version: int = 4, text: str = ""
) -> Iterator[None]:
    """A server inside that tells everyone `text`, or the address from which they came."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    loopback = "127.0.0.1" if version == 4 else "::1"

    def listen() -> socket.socket:
        server = socket.socket(family, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        return server

    def answer() -> None:
        while True:
            if kind == socket.SOCK_DGRAM:
                _, peer = server.recvfrom(100)
                if peer[1] == port_of_stop:
                    return
                server.sendto((text or peer[0]).encode(), peer)
                continue
            try:
                client, peer = server.accept()
            except OSError:
                return
            with client:
                client.sendall((text or peer[0]).encode())

    server = namespace.call(listen)
    stopper = namespace.call(socket.socket, family, socket.SOCK_DGRAM)
    stopper.bind((loopback, 0))
    port_of_stop = stopper.getsockname()[1]
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        if kind == socket.SOCK_DGRAM:
            stopper.sendto(b"", (loopback, port))
        else:
            server.shutdown(socket.SHUT_RDWR)
        thread.join()
        stopper.close()
        server.close()


def ask(
    namespace: Namespace,
    address: str,
    port: int,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    timeout: float = TIMEOUT,
) -> str | None:
    """What a server of `serving` says to a client in `namespace`; None if there is no way to it."""

    def body() -> str | None:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as client:
            client.settimeout(timeout)
            try:
                client.connect((address, port))
                client.sendall(b"?")
                return client.recv(100).decode()
            except OSError:
                return None

    return namespace.call(body)


@contextmanager
def host_with_neighbour() -> Iterator[tuple[Host, Namespace]]:
    """A host 192.0.2.1 and, on its interface ext0, a neighbour 192.0.2.10; with IPv6 2001:db8::1 and 2001:db8::10."""
    with ExitStack() as stack:
        outside = Namespace.new()
        stack.callback(outside.close)
        host = Host(Namespace.new().fd)
        stack.callback(host.close)
        link_up(host, "ext0", "192.0.2.1/24", outside, "eth0", "192.0.2.10/24")
        for namespace, interface, ip in ((host, "ext0", "2001:db8::1/64"), (outside, "eth0", "2001:db8::10/64")):
            index = namespace.links()[interface].index
            namespace.netlink(rtnetlink.add_address(index, ip_interface(ip)))
        yield host, outside
