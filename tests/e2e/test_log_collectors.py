"""The log drivers syslog and journald: output goes there, and can be read with `docker logs` all the same."""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from harness import Daemon
from rootful import LOOPBACK

COMMAND = ("busybox", "sh", "-c", "echo one; echo two >&2")


def run(daemon: Daemon, driver: str, *options: str) -> str:
    """The id of a container that has ended, with such a log."""
    flags = [word for option in options for word in ("--log-opt", option)]
    id = daemon.text("run", "-d", "--log-driver", driver, *flags, *COMMAND)
    daemon.docker("wait", id)
    return id


def await_shim(daemon: Daemon, id: str) -> None:
    """Wait until a shim has given up what it has left to send."""
    for pid in daemon.pids():
        if id.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            pidfd = os.pidfd_open(pid)
            assert select.select([pidfd], [], [], 20)[0]
            os.close(pidfd)


@pytest.fixture
def server() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(20)
    return listening


@LOOPBACK
def test_syslog_over_tcp(engine_host: Daemon, server: socket.socket) -> None:
    with server:
        port = server.getsockname()[1]
        id = run(engine_host, "syslog", f"syslog-address=tcp://127.0.0.1:{port}", "tag={{.ImageName}}")
        connection, _ = server.accept()
        with connection, connection.makefile("r") as lines:
            assert sorted(line.partition(" busybox[")[2].partition("]: ")[2] for line in lines) == ["one\n", "two\n"]
    assert engine_host.text("logs", id) == "one"
    assert engine_host.text("inspect", "-f", "{{.LogPath}}", id) == ""
    engine_host.docker("rm", id)


@LOOPBACK
def test_syslog_over_tls(engine_host: Daemon, server: socket.socket, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    address = f"syslog-address=tcp+tls://127.0.0.1:{server.getsockname()[1]}"
    with context.wrap_socket(server, server_side=True) as secure:
        id = run(engine_host, "syslog", address, "syslog-format=rfc5424", f"syslog-tls-ca-cert={certificate}")
        connection, _ = secure.accept()
        with connection, connection.makefile("rb") as stream:
            text = stream.read()
    count, _, rest = text.partition(b" ")
    assert rest[: int(count)].endswith(b" - one\n")
    assert b" - two\n" in text
    engine_host.docker("rm", id)


def test_a_collector_that_is_not_there_delays_nobody(engine_host: Daemon) -> None:
    before = time.monotonic()
    id = run(engine_host, "syslog", "syslog-address=tcp://127.0.0.1:1")
    assert time.monotonic() - before < 10  # the attempts to reach it alone would take longer
    assert engine_host.text("logs", id) == "one"
    engine_host.docker("rm", id)
    await_shim(engine_host, id)


def test_without_a_cache_there_is_nothing_to_read(engine_host: Daemon) -> None:
    id = run(engine_host, "syslog", "syslog-address=udp://127.0.0.1:9", "cache-disabled=true")
    done = engine_host.docker("logs", id, check=False)
    assert b"configured logging driver does not support reading" in done.stderr
    engine_host.docker("rm", id)


def test_a_bad_option_is_refused_at_the_creation(engine_host: Daemon) -> None:
    done = engine_host.docker(
        "create", "--log-driver", "syslog", "--log-opt", "syslog-address=foo", "busybox", check=False
    )
    assert done.stderr.strip().endswith(b"syslog-address should be in form proto://address, got foo")
