"""Where an engine is, and how it is connected to: unix://PATH, tcp://HOST:PORT (TLS or plain), ssh://HOST."""

from __future__ import annotations

import _socket
import os

from knarr import places
from knarr.client.errors import ConnectionFailed
from knarr.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping
    from ssl import SSLContext

    from knarr.client.ssh import Ssh

_PLAIN_PORT, _TLS_PORT = 2375, 2376


class TLS:
    """Files of a TLS connection, "" where there is none. `verify` asks for the engine's certificate to be checked."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, *, verify: bool = True, ca: str = "", cert: str = "", key: str = "") -> None:
        self.verify = verify
        self.ca = ca
        self.cert = cert
        self.key = key

    @classmethod
    def in_directory(cls, directory: str, *, verify: bool = True) -> TLS:
        """The files ca.pem, cert.pem and key.pem of a directory, as far as they exist."""
        paths = {name: os.path.join(directory, f"{name}.pem") for name in ("ca", "cert", "key")}
        return cls(verify=verify, **{name: path for name, path in paths.items() if os.path.exists(path)})

    def context(self) -> SSLContext:
        """Raises InvalidParameter when a file cannot be used."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.verify
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        try:
            if self.ca:
                context.load_verify_locations(self.ca)
            elif self.verify:
                context.load_default_certs()
            if self.cert or self.key:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as error:
            raise InvalidParameter(f"cannot use the TLS certificates: {error.strerror or error}") from error
        return context


class Address:
    """One engine's address. `path` is a unix socket's; for TCP it is "", or a prefix of all targets."""

    __slots__ = ("host", "path", "port", "ssh", "text", "tls")

    def __init__(
        self,
        text: str,
        *,
        host: str = "",
        port: int = 0,
        path: str = "",
        tls: TLS | None = None,
        ssh: Ssh | None = None,
    ) -> None:
        self.text = text
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.ssh = ssh

    @property
    def unix(self) -> bool:
        return bool(self.path) and not self.host

    @property
    def host_header(self) -> str:
        if not self.host:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def prefix(self) -> str:
        return self.path if self.host else ""

    def connect(self, timeout: float | None = None) -> Socket:
        """A connected stream socket; the time limit (seconds) is for connecting. Raises ConnectionFailed."""
        try:
            if self.ssh is not None:
                return self.ssh.connect()
            return _connect_unix(self.path, timeout) if self.unix else self._connect_tcp(timeout)
        except OSError as error:
            raise unreachable(self, error) from error

    def _connect_tcp(self, timeout: float | None) -> Socket:
        import socket

        plain = socket.create_connection((self.host, self.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = plain if self.tls is None else self.tls.context().wrap_socket(plain, server_hostname=self.host)
        connection.settimeout(None)
        return connection


def _connect_unix(path: str, timeout: float | None) -> Socket:
    # The module below `socket`: importing that one, with its enums, takes longer than all of a command's own work.
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def unreachable(address: Address, error: OSError) -> ConnectionFailed:
    """The user's words for a connection that could not be made."""
    if address.ssh is not None:
        return ConnectionFailed(f"cannot start ssh for {address.text}: {error.strerror or error}")
    if isinstance(error, PermissionError):
        what = "permission denied while trying to connect to the Docker daemon socket at"
        return ConnectionFailed(f"{what} {address.text}: connect: permission denied{_who_may(address.path)}")
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return ConnectionFailed(f"Cannot connect to the Docker daemon at {address.text}. Is the docker daemon running?")
    return ConnectionFailed(f"error during connect to {address.text}: {error.strerror or error}")


def _who_may(path: str) -> str:
    """What to do when a socket is not for the user; "" when that cannot be told."""
    import grp

    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return ""
    return "\nUse sudo" + ("." if group == "root" else f", or become a member of the group {group} and log in again.")


def parse(text: str, tls: TLS | None = None) -> Address:
    """The address that a -H or DOCKER_HOST value means. Raises InvalidParameter."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.startswith("/"):
            return Address(f"unix://{text}", path=text)
        scheme, rest = "tcp", text
    if scheme == "unix" and rest:
        return Address(text, path=rest)
    if scheme == "ssh":
        from knarr.client import ssh

        return Address(text, ssh=ssh.parse(text))
    if scheme not in ("tcp", "http", "https"):
        raise InvalidParameter(f"unable to parse docker host `{text}`")
    if scheme == "https" and tls is None:
        tls = TLS()
    place, slash, path = rest.partition("/")
    host, port = _split_port(place, _TLS_PORT if tls else _PLAIN_PORT, text)
    return Address(f"tcp://{place}{slash}{path}", host=host, port=port, path=(slash + path).rstrip("/"), tls=tls)


def _split_port(place: str, default: int, text: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if place.endswith("]") or not colon:
        host, port = place, str(default)
    if not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f"unable to parse docker host `{text}`")
    return host.strip("[]") or "127.0.0.1", int(port)


def default(environ: Mapping[str, str]) -> str:
    """Where the engine of whoever asks is, beside its run root: a user's own if it runs, or if they may not use the
    machine's."""
    system, own = f"{places.SYSTEM_RUN}.sock", places.run(environ)
    if not own or (not os.path.exists(f"{own}.sock") and os.access(system, os.R_OK | os.W_OK)):
        return f"unix://{system}"
    return f"unix://{own}.sock"


def from_environment(environ: Mapping[str, str]) -> Address:
    """The engine that the environment names: KNARR_HOST, else DOCKER_HOST, else the default socket.

    DOCKER_TLS_VERIFY (not empty) asks for TLS with the files in DOCKER_CERT_PATH, or ~/.docker.
    Raises InvalidParameter.
    """
    text = environ.get("KNARR_HOST") or environ.get("DOCKER_HOST") or default(environ)
    return parse(text, tls_from_environment(environ))


def tls_from_environment(environ: Mapping[str, str]) -> TLS | None:
    """TLS as DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH ask for it, or None."""
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    return TLS.in_directory(environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker"), verify=verify)
