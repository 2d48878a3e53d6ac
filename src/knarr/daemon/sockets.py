"""Where knarrd listens: unix sockets, tcp addresses and sockets that systemd made for us.

Who can speak to the engine is root on this host, so a tcp address that others can reach is bound only where clients
must show a certificate.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from knarr.daemon.config import DEFAULT_GROUP, DaemonConfig
from knarr.errors import Conflict, InvalidParameter

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn

_PLAIN_PORT, _TLS_PORT = 2375, 2376
_FIRST_PASSED_FD = 3
_PATH_MAX = 107


class Listener(NamedTuple):
    """A listening socket, what to call it in the log, and whether TLS is spoken on it."""

    socket: socket.socket
    address: str
    tls: bool

    def close(self) -> None:
        """Stop listening; a unix socket that we bound goes from the file system."""
        if self.address.startswith("unix://"):
            Path(self.address.removeprefix("unix://")).unlink(missing_ok=True)
        self.socket.close()


class Doors(NamedTuple):
    """All that an engine listens on: for the API, and at most one for metrics. They are the network's that the process
    was in when they were opened."""

    api: list[Listener]
    metrics: Listener | None

    def close(self) -> None:
        """Stop listening."""
        for listener in [*self.api, *([self.metrics] if self.metrics else [])]:
            listener.close()


def open_doors(config: DaemonConfig) -> Doors:
    """Everything of the configuration, or nothing. Raises as `listen` and `listen_for_metrics`."""
    with ExitStack() as undo:
        listeners = listen(config)
        for listener in listeners:
            undo.callback(listener.close)
        metrics = listen_for_metrics(config.metrics_addr) if config.metrics_addr else None
        undo.pop_all()
    return Doors(listeners, metrics)


def listen(config: DaemonConfig) -> list[Listener]:
    """Bind every address of the configuration, or none. Raises InvalidParameter, Conflict (someone answers there)."""
    with ExitStack() as undo:
        listeners: list[Listener] = []
        for address in config.addresses:
            for listener in _listen(address, config):
                undo.callback(listener.close)
                listeners.append(listener)
        undo.pop_all()
    return listeners


def listen_for_metrics(address: str) -> Listener:
    """Bind a HOST:PORT at which there are figures to read and nothing to ask for. Raises InvalidParameter, Conflict."""
    host, port = _split_port(address, address, None)
    family, _, _, _, name = _resolve(host, port)[0]
    bound = _tcp_socket(family, name)
    return Listener(bound, "tcp://" + _name(bound), tls=False)


def _listen(address: str, config: DaemonConfig) -> list[Listener]:
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise InvalidParameter(f"Invalid bind address format: {address}")
    if scheme == "unix" and rest:
        return [Listener(_bind_unix(Path(rest), config.group), address, tls=False)]
    if scheme == "tcp":
        return _bind_tcp(address, rest, config)
    if scheme == "fd":
        return _activated(rest, config)
    raise InvalidParameter(f"Invalid bind address format: {address}")


def _bind_unix(path: Path, group: str) -> socket.socket:
    if len(os.fsencode(path)) > _PATH_MAX:
        raise InvalidParameter(f"the path of a unix socket has at most {_PATH_MAX} bytes: {path}")
    if not path.is_absolute():
        raise InvalidParameter(f"the path of a unix socket must be absolute: {path}")
    group_id = _group_id(group)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        os.fchmod(listener.fileno(), 0o600)  # the mode that bind gives the file: nobody slips in before chown
        with _directory_lock(path.parent):
            _remove_stale(path)
            listener.bind(str(path))
        undo.callback(path.unlink, missing_ok=True)
        if group_id is not None:
            os.chown(path, -1, group_id)
            path.chmod(0o660)
        listener.listen(BACKLOG)
        undo.pop_all()
    return listener


@contextmanager
def _directory_lock(directory: Path) -> Iterator[None]:
    """Two daemons that start at once must not take each other's new socket for a stale one."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises Conflict for everything else that is in the way."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"can't create unix socket {path}: a file of another kind is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise Conflict(f"can't create unix socket {path}: another process answers there")
    path.unlink()


def _group_id(group: str) -> int | None:
    """The group that may use unix sockets; None for root alone. Only the default group may be missing."""
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        pass
    if group.isdecimal():
        return int(group)
    if group != DEFAULT_GROUP:
        raise InvalidParameter(f"group {group} not found")
    return None


def _bind_tcp(address: str, rest: str, config: DaemonConfig) -> list[Listener]:
    host, port = _split_port(address, rest, _TLS_PORT if config.uses_tls else _PLAIN_PORT)
    with ExitStack() as undo:
        listeners = []
        for family, _, _, _, name in _resolve(host, port):
            _refuse_open_door(address, str(name[0]), config)
            bound = undo.enter_context(_tcp_socket(family, name))
            listeners.append(Listener(bound, "tcp://" + _name(bound), config.uses_tls))
        undo.pop_all()
    return listeners


def _resolve(host: str, port: int) -> list[Any]:
    """What getaddrinfo(3) has for it, each once."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidParameter(f"listen tcp: {host}: {error.strerror}") from None
    return list(dict.fromkeys(found))


def _tcp_socket(family: int, name: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(name)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Conflict(f"listen tcp {name[0]}:{name[1]}: bind: {(error.strerror or str(error)).lower()}") from None
    return listener


def _split_port(address: str, rest: str, default: int | None) -> tuple[str, int]:
    host, separator, port = rest.rpartition(":")
    if not separator or port.endswith("]"):  # no port: "host" or "[::1]"
        host, port = rest, str(default)
    if not port.isdecimal() or int(port) > 0xFFFF or "/" in host:
        raise InvalidParameter(f"Invalid bind address format: {address}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _refuse_open_door(address: str, ip: str, config: DaemonConfig) -> None:
    if config.tlsverify or ipaddress.ip_address(ip.partition("%")[0]).is_loopback:
        return
    raise InvalidParameter(
        f"will not listen on {address}: whoever reaches it would be root on this host; "
        "use --tlsverify with --tlscacert, --tlscert and --tlskey, or a loopback address"
    )


def _activated(which: str, config: DaemonConfig) -> list[Listener]:
    """The sockets that systemd passed (sd_listen_fds(3)): all, or the one with a name or descriptor number."""
    passed = _passed_names()
    chosen = [fd for fd, name in passed.items() if which in ("", "*", name, str(fd))]
    if not chosen:
        raise InvalidParameter(
            "no sockets found via socket activation: make sure the service was started by systemd"
            if not passed
            else f"systemd passed no socket with the name {which}"
        )
    listeners = []
    for fd in chosen:
        passed_socket = socket.socket(fileno=fd)
        passed_socket.set_inheritable(False)
        is_tcp = passed_socket.family in (socket.AF_INET, socket.AF_INET6)
        if is_tcp:
            _refuse_open_door(f"fd://{fd}", str(passed_socket.getsockname()[0]), config)
        listeners.append(Listener(passed_socket, f"fd://{fd}", is_tcp and config.uses_tls))
    return listeners


def _passed_names() -> dict[int, str]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {_FIRST_PASSED_FD + index: names[index] if index < len(names) else "" for index in range(count)}


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
