"""A real registry (docker-registry, on a unix socket), and before it a proxy that makes things go wrong."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PASSWORD_FILE = "joe:$2y$05$/7VLIbJ8GDYfvQS3WEotcuc2CIiK/iy/dt8OT8WNv1GpBK6rWnROO\n"
"""joe's password is s3cret."""


class Registry:
    """A docker-registry process; `auth` is that section of its configuration."""

    def __init__(self, directory: Path, auth: dict[str, Any] | None = None) -> None:
        self.socket = tempfile.mktemp(prefix="kreg", dir="/tmp")  # short: a socket path has 107 bytes
        self.storage = directory / "storage"
        configuration = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"net": "unix", "addr": self.socket},
            "log": {"level": "info"},
            **({"auth": auth} if auth else {}),
        }
        path = directory / "registry.json"  # JSON is YAML
        path.write_text(json.dumps(configuration))
        self._process = subprocess.Popen(["docker-registry", "serve", str(path)], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError(f"docker-registry has ended: {''.join(said)}")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        Path(self.socket).unlink(missing_ok=True)


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD path" matches `pattern`, so many `times`.

    `status` and `headers` answer in the registry's place. The others spoil its answer: it is cut off after so many
    bytes, or a byte of it is changed, or it stops after `hold` bytes until `go_on` is set. `drop_upload` hands so many
    bytes of a body on and then ends the client's connection.
    """

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    spoil: int | None = None
    hold: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    drop_upload: int | None = None


@dataclass(frozen=True)
class Seen:
    """A request that has come, and how many bytes of body were sent back."""

    method: str
    path: str
    headers: dict[str, str]
    host: str
    sent: list[int] = field(default_factory=lambda: [0])

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Proxy:
    """An HTTP server on loopback, port of its own, that passes everything on to a registry. `tls` is cert and key."""

    def __init__(
        self, registry_socket: str, *, tls: tuple[Path, Path] | None = None, client_ca: Path | None = None
    ) -> None:
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler, bytes], None]] = {}
        self.lock = threading.Lock()
        self.registry_socket = registry_socket
        proxy = self

        class Handler(_Handler):
            owner = proxy

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that leave, and TLS that fails, are what is tested

            def finish_request(self, request: Any, client_address: Any) -> None:
                if context is not None:
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

        context = _server_context(tls, client_ca) if tls else None
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def name(self) -> str:
        """As in an image's name."""
        return f"127.0.0.1:{self.port}"

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Let something go wrong."""
        fault = Fault(pattern, **what)
        self.faults.append(fault)
        return fault

    def requests(self, pattern: str) -> list[Seen]:
        """The requests so far that match."""
        return [seen for seen in self.seen if re.search(pattern, str(seen))]

    def close(self) -> None:
        for fault in self.faults:
            fault.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def do(self) -> None:
        self.close_connection = True
        seen = Seen(self.command, self.path, dict(self.headers), self.headers.get("Host", ""))
        with self.owner.lock:
            self.owner.seen.append(seen)
            fault = self._fault(str(seen))
        if fault and fault.drop_upload is not None:
            self._forward(self.rfile.read(fault.drop_upload), None, seen, quiet=True)
            return
        body = self._body()
        route = self.owner.routes.get(self.path.partition("?")[0])
        if fault and fault.status:
            self._answer(fault.status, fault.headers, fault.body)
        elif route:
            route(self, body)
        else:
            self._forward(body, fault, seen)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def _fault(self, line: str) -> Fault | None:
        for fault in self.owner.faults:
            if fault.times and re.search(fault.pattern, line):
                fault.times -= 1
                return fault
        return None

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes, fault: Fault | None, seen: Seen, *, quiet: bool = False) -> None:
        connection = _UnixConnection(self.owner.registry_socket)
        names = {name for name in self.headers if name.lower() != "transfer-encoding"}
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in names}
        headers["Content-Length"] = str(len(body))
        if isinstance(self.connection, ssl.SSLSocket):
            headers["X-Forwarded-Proto"] = "https"
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = b"" if self.command == "HEAD" else response.read()
        connection.close()
        if quiet:
            return
        if fault and fault.spoil is not None:
            content = content[: fault.spoil] + bytes([content[fault.spoil] ^ 1]) + content[fault.spoil + 1 :]
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "content-length"):
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.send_header("Connection", "close")
        self.end_headers()
        if fault and fault.cut is not None:
            content = content[: fault.cut]
        if fault and fault.hold is not None:
            self._write(content[: fault.hold], seen)
            fault.held.set()
            fault.go_on.wait(60)
            content = content[fault.hold :]
        self._write(content, seen)

    def _write(self, content: bytes, seen: Seen) -> None:
        self.wfile.write(content)
        self.wfile.flush()
        seen.sent[0] += len(content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        answer(self, status, body, headers)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _server_context(tls: tuple[Path, Path], client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A new certificate for 127.0.0.1 and localhost that is its own CA, and its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def running(directory: Path, *, auth: dict[str, Any] | None = None, **options: Any) -> Iterator[Proxy]:
    """A registry with a proxy in front of it."""
    directory.mkdir(exist_ok=True)
    registry = Registry(directory, auth)
    proxy = Proxy(registry.socket, **options)
    try:
        yield proxy
    finally:
        proxy.close()
        registry.close()


@contextmanager
def with_passwords(directory: Path, **options: Any) -> Iterator[Proxy]:
    """One that lets in joe only, with s3cret."""
    directory.mkdir(exist_ok=True)
    passwords = directory / "htpasswd"
    passwords.write_text(PASSWORD_FILE)
    with running(directory, auth={"htpasswd": {"realm": "here", "path": str(passwords)}}, **options) as proxy:
        yield proxy
