"""knarr over TLS, with certificates on both sides."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon
from rootful import FILES

pytestmark = FILES

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as DOCKER_CERT_PATH wants it, with the server's certificate too."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)

    openssl(f"req -x509 {_KEY} -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2")
    for name, prefix, usage in (
        ("server", "server-", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
        ("client", "", "extendedKeyUsage=clientAuth\n"),
    ):
        (directory / f"{name}.ext").write_text(usage)
        openssl(f"req -new {_KEY} -keyout {prefix}key.pem -out {name}.csr -subj /CN={name}")
        signing = f"-CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile {name}.ext"
        openssl(f"x509 -req -in {name}.csr -out {prefix}cert.pem {signing}")
    return directory


@pytest.fixture
def host(new_daemon: Callable[..., Daemon], certificates: Path, busybox_archive: bytes) -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    flags = {"--tlscacert": "ca.pem", "--tlscert": "server-cert.pem", "--tlskey": "server-key.pem"}
    daemon = new_daemon("--tlsverify", *[w for flag, name in flags.items() for w in (flag, str(certificates / name))])
    daemon.hosts.append(address)
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    return address


def _knarr(*arguments: str, input: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "KNARR_"))}
    return subprocess.run(
        [str(knarr_program.KNARR), *arguments],
        input=input,
        capture_output=True,
        env={**environ, **environment},
        timeout=30,
        check=False,
    )


def test_named_by_the_environment(host: str, certificates: Path) -> None:
    settings = {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    data = os.urandom(500_000)
    done = _knarr("run", "--rm", "-i", "busybox", "sh", "-c", "cat; exit 5", input=data, **settings)
    assert (done.returncode, done.stdout == data, done.stderr) == (5, True, b"")


def test_named_by_flags_and_refused_without_a_certificate(host: str, certificates: Path) -> None:
    flags = ["-H", host, "--tlsverify", "--tlscacert", str(certificates / "ca.pem")]
    both = [*flags, "--tlscert", str(certificates / "cert.pem"), "--tlskey", str(certificates / "key.pem")]
    assert _knarr(*both, "images", "-q").returncode == 0
    assert _knarr(*flags, "images", "-q").returncode == 1


def test_an_engine_that_is_not_trusted(host: str) -> None:
    done = _knarr("-H", host, "--tlsverify", "ps", HOME="/nonexistent")
    assert done.returncode == 1
    assert b"certificate verify failed" in done.stderr
