"""The network of an ordinary user's engine: on a host made of namespaces, with a neighbour that is the world."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from harness import Daemon
from topology import Host, Namespace, ask, host_with_neighbour, route, serving

IMAGE = "busybox:latest"
HOST, WORLD = "192.0.2.1", "192.0.2.10"
HOST6, WORLD6 = "2001:db8::1", "2001:db8::10"
UDP = socket.SOCK_DGRAM

pytestmark = pytest.mark.skipif(shutil.which("pasta") is None, reason="needs pasta, of the package passt")


class Place:
    """A host with a rootless engine on it, and the world."""

    def __init__(self, host: Host, world: Namespace, daemon: Daemon) -> None:
        self.host, self.world, self.daemon = host, world, daemon

    def text(self, *arguments: str) -> str:
        return self.daemon.text(*arguments)

    def refusal(self, *arguments: str) -> str:
        done = self.daemon.docker(*arguments, check=False)
        assert done.returncode
        return done.stderr.decode()

    @contextmanager
    def serve(self, name: str, *flags: str, says: str = "") -> Iterator[None]:
        """A container whose port 80, TCP and UDP, says something, or who asked."""
        self.text("run", "--detach", "--name", name, *flags, IMAGE, "sleep", "1000")
        pid = self.text("inspect", "--format", "{{.State.Pid}}", name)
        with ExitStack() as stack:
            inside = stack.enter_context(closing(Namespace(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))))
            for kind in (socket.SOCK_STREAM, UDP):
                stack.enter_context(serving(inside, 80, kind, text=says))
            yield


@pytest.fixture(scope="module")
def place(busybox_archive: bytes) -> Iterator[Place]:
    with ExitStack() as stack:
        host, world = stack.enter_context(host_with_neighbour())
        route(host, "0.0.0.0/0", "ext0", WORLD)
        route(host, "::/0", "ext0", WORLD6)
        daemon = Daemon(rootless=True)
        daemon.launcher[:0] = daemon.user[:0] = ["nsenter", f"--net=/proc/self/fd/{host.fd}"]
        stack.callback(daemon.remove)
        daemon.start(pass_fds=[host.fd])
        daemon.docker("import", "-", IMAGE, input=busybox_archive)
        yield Place(host, world, daemon)


@pytest.fixture(autouse=True)
def _clean(place: Place) -> Iterator[None]:
    yield
    if containers := place.text("ps", "--all", "--quiet").split():
        place.text("rm", "--force", *containers)


def hear(place: Place, address: str, port: int, *flags: str, seconds: int = 10) -> str:
    """What a container hears at an address outside. It leaves its own side open: pasta of 2023 does not tell the end
    of a connection to who has closed half of it."""
    script = f"mkfifo /silence; exec 3<>/silence; timeout {seconds} nc {address} {port} <&3 || true"
    return place.text("run", "--rm", *flags, IMAGE, "sh", "-c", script)


def test_the_world_is_reached_from_the_hosts_address(place: Place) -> None:
    with serving(place.world, 8000):
        assert hear(place, WORLD, 8000) == HOST


def test_the_world_is_reached_with_ipv6(place: Place) -> None:
    place.text("network", "create", "--ipv6", "six")
    with serving(place.world, 8000, version=6):
        assert hear(place, WORLD6, 8000, "--network", "six") == HOST6
    place.text("network", "rm", "six")


def test_the_host_is_reached_but_not_its_loopback(place: Place) -> None:
    flags = ("--add-host", "host.docker.internal:host-gateway")
    with serving(place.host, 8001):
        assert hear(place, "host.docker.internal", 8001, *flags) == HOST

    def listen_on_loopback() -> socket.socket:
        return socket.create_server(("127.0.0.1", 8002))

    with place.host.call(listen_on_loopback):
        assert hear(place, "host.docker.internal", 8002, *flags, seconds=1) == ""
        assert hear(place, "127.0.0.1", 8002, "--network", "host") == ""


def test_published_ports(place: Place) -> None:
    with place.serve("web", "-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.1:8081:80", says="hello"):
        for kind in (socket.SOCK_STREAM, UDP):
            assert ask(place.world, HOST, 8080, kind) == "hello"
            assert ask(place.world, HOST6, 8080, kind) == "hello"
            assert ask(place.host, "127.0.0.1", 8080, kind) == "hello"
        assert ask(place.host, "127.0.0.1", 8081) == "hello"
        assert ask(place.world, HOST, 8081) is None


def test_a_container_sees_where_connections_come_from(place: Place) -> None:
    with place.serve("web", "-p", "8080:80", "-p", "8080:80/udp"):
        for kind in (socket.SOCK_STREAM, UDP):
            assert ask(place.world, HOST, 8080, kind) == WORLD
            assert ask(place.host, "127.0.0.1", 8080, kind) == "172.17.0.1"


def test_ranges_and_free_ports(place: Place) -> None:
    place.text("run", "-d", "--name", "many", "-p", "8090-8092:90-92", "-p", "95", IMAGE, "sleep", "1000")
    assert place.text("port", "many", "91").splitlines()[0] == "0.0.0.0:8091"
    free = int(place.text("port", "many", "95").splitlines()[0].rpartition(":")[2])
    assert free >= 1024


def test_a_port_is_free_once_its_container_has_stopped(place: Place) -> None:
    with place.serve("one", "-p", "8080:80"):
        refusal = place.refusal("run", "--rm", "-p", "8080:80", IMAGE, "true")
        assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in refusal
    place.text("stop", "--timeout", "0", "one")
    place.host.call(lambda: socket.create_server(("0.0.0.0", 8080)).close())
    with place.serve("two", "-p", "8080:80", says="again"):
        assert ask(place.world, HOST, 8080) == "again"


def test_a_port_of_another_program(place: Place) -> None:
    with place.host.call(lambda: socket.create_server(("0.0.0.0", 8083))):
        assert "address already in use" in place.refusal("run", "--rm", "-p", "8083:80", IMAGE, "true")


def test_privileged_ports_are_refused_with_the_reason(place: Place) -> None:
    refusal = place.refusal("run", "--rm", "-p", "80:80", IMAGE, "true")
    assert "failed to bind host port for 0.0.0.0:80" in refusal
    assert "net.ipv4.ip_unprivileged_port_start" in refusal
    place.host.sysctl("ipv4/ip_unprivileged_port_start", "80")
    with place.serve("web", "-p", "80:80", says="hello"):
        assert ask(place.world, HOST, 80) == "hello"


def test_containers_find_each_other_by_name(place: Place) -> None:
    place.text("network", "create", "app")
    with place.serve("db", "--network", "app", says="hello"):
        assert hear(place, "db", 80, "--network", "app") == "hello"
    place.text("rm", "--force", "db")
    place.text("network", "rm", "app")


@pytest.mark.parametrize("end", [Daemon.kill, Daemon.stop])
def test_connections_ports_and_the_way_out_survive_the_engine(place: Place, end: Callable[[Daemon], None]) -> None:
    place.text("run", "--detach", "--name", "echo", "-p", "8084:84", IMAGE, "nc", "-ll", "-p", "84", "-e", "cat")
    with place.serve("web", "-p", "8080:80", says="hello"), serving(place.world, 8000):
        with place.world.call(_connect_patiently, 8084) as connection:
            assert _echo(connection, b"before") == b"before"
            end(place.daemon)
            assert _echo(connection, b"without") == b"without"
            assert ask(place.world, HOST, 8080) == "hello"
            place.daemon.start(pass_fds=[place.host.fd])
            assert _echo(connection, b"after") == b"after"
        assert ask(place.world, HOST, 8080) == "hello"
        assert hear(place, WORLD, 8000) == HOST
        place.text("rm", "--force", "web")
        place.host.call(lambda: socket.create_server(("0.0.0.0", 8080)).close())


def test_the_way_out_ends_with_the_keeper_and_comes_back_with_the_engine(place: Place) -> None:
    place.text("run", "--detach", "--name", "stays", IMAGE, "sleep", "1000")
    pasta = int((place.daemon.run_root / "pasta.pid").read_text())
    keeper = int(Path(f"/proc/{pasta}/stat").read_text().rpartition(") ")[2].split()[1])
    ended = os.pidfd_open(pasta)
    os.kill(keeper, signal.SIGKILL)
    assert select.select([ended], [], [], 10)[0]
    os.close(ended)
    place.daemon.stop()
    place.daemon.start(pass_fds=[place.host.fd])
    with serving(place.world, 8000):
        assert hear(place, WORLD, 8000) == HOST
    assert place.text("inspect", "--format", "{{.State.Running}}", "stays") == "true"


def _connect_patiently(port: int) -> socket.socket:
    """Until the container listens: its relay ends connections before that."""
    for _ in range(1000):
        connection = socket.create_connection((HOST, port), timeout=10)
        if _echo(connection, b"?") == b"?":
            return connection
        connection.close()
    raise TimeoutError("the container does not listen")


def _echo(connection: socket.socket, words: bytes) -> bytes:
    try:
        connection.sendall(words)
        return connection.recv(100)
    except ConnectionError:
        return b""
