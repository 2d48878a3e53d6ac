"""Where knarrd listens, and whom it lets in."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Daemon, StartError
from rootful import FILES, GROUPS

NewDaemon = Callable[..., Daemon]

# what systemd does: descriptor 3 is the socket, and the environment says so
ACTIVATE = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_several_hosts_answer(new_daemon: NewDaemon) -> None:
    daemon = new_daemon()
    other, tcp = f"unix://{daemon.directory}/other", f"tcp://127.0.0.1:{free_port()}"
    daemon.hosts += [other, tcp]
    daemon.start()
    for host in (daemon.host, other, tcp):
        assert daemon.text("version", "--format", "{{.Server.Os}}", host=host) == "linux"


@GROUPS
def test_a_unix_socket_is_for_root_or_the_group(new_daemon: NewDaemon) -> None:
    daemon = new_daemon("--group", "")
    daemon.start()
    assert stat.S_IMODE(daemon.socket_path.stat().st_mode) == 0o600
    daemon.stop()
    assert not daemon.socket_path.exists()
    daemon.flags = ["--group", "nogroup"]
    daemon.start()
    assert stat.S_IMODE(daemon.socket_path.stat().st_mode) == 0o660
    assert daemon.socket_path.group() == "nogroup"


@pytest.mark.parametrize("flags", [[], ["--tls"]])
def test_tcp_without_client_certificates_is_refused_off_loopback(new_daemon: NewDaemon, flags: list[str]) -> None:
    daemon = new_daemon(*flags)
    daemon.hosts.append(f"tcp://0.0.0.0:{free_port()}")
    with pytest.raises(StartError, match="whoever reaches it would be root on this host"):
        daemon.start()


def test_a_socket_from_systemd(new_daemon: NewDaemon) -> None:
    daemon = new_daemon()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(daemon.socket_path))
        listener.listen()
        daemon.hosts = ["fd://"]
        daemon.launcher = [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *daemon.user]
        daemon.start(pass_fds=[listener.fileno()])
    assert daemon.text("version", "--format", "{{.Server.Os}}") == "linux"
    daemon.stop()
    assert daemon.socket_path.exists()  # it is systemd's
    daemon.socket_path.unlink()


def test_activation_without_sockets_is_refused(new_daemon: NewDaemon) -> None:
    daemon = new_daemon(hosts=["fd://"])
    with pytest.raises(StartError, match="no sockets found via socket activation"):
        daemon.start()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's certificate for 127.0.0.1 and a client's, as openssl makes them."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for ca in ("ca", "stranger"):
        openssl(f"req -x509 {key} -keyout {ca}-key.pem -out {ca}.pem -subj /CN={ca} -days 2")
    (directory / "server.ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    (directory / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name, role, ca in (("server", "server", "ca"), ("client", "client", "ca"), ("unknown", "client", "stranger")):
        openssl(f"req -new {key} -keyout {name}-key.pem -out {name}.csr -subj /CN={name}")
        issuer = f"-CA {ca}.pem -CAkey {ca}-key.pem -CAcreateserial"
        openssl(f"x509 -req -in {name}.csr {issuer} -out {name}.pem -extfile {role}.ext -days 2")
    return directory


def tls_flags(certificates: Path, name: str) -> list[str]:
    files = {"--tlscacert": "ca.pem", "--tlscert": f"{name}.pem", "--tlskey": f"{name}-key.pem"}
    return [word for flag, file in files.items() for word in (flag, str(certificates / file))]


@pytest.fixture
def tls_daemon(new_daemon: NewDaemon, certificates: Path) -> tuple[Daemon, str]:
    daemon = new_daemon("--tlsverify", *tls_flags(certificates, "server"))
    daemon.hosts.append(f"tcp://127.0.0.1:{free_port()}")
    daemon.start()
    return daemon, daemon.hosts[-1]


@FILES
def test_tls_lets_the_ca_s_clients_in(
    tls_daemon: tuple[Daemon, str], certificates: Path, busybox_archive: bytes
) -> None:
    daemon, host = tls_daemon
    client = ["--tlsverify", *tls_flags(certificates, "client")]
    daemon.docker(*client, "import", "-", "tls-bb", input=busybox_archive, host=host)
    assert (
        daemon.docker(*client, "run", "-i", "--rm", "tls-bb", "cat", input=b"over tls", host=host).stdout == b"over tls"
    )


@FILES
def test_tls_keeps_strangers_out(tls_daemon: tuple[Daemon, str], certificates: Path) -> None:
    daemon, host = tls_daemon
    for who in (["--tlsverify", *tls_flags(certificates, "unknown")], ["--tls"], []):
        assert daemon.docker(*who, "version", host=host, check=False).returncode == 1


def test_certificates_must_exist(new_daemon: NewDaemon) -> None:
    daemon = new_daemon("--tlsverify", "--tlscert", "/nowhere.pem")
    daemon.hosts.append(f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(StartError, match=r"could not load X509 key pair \(cert: /nowhere.pem"):
        daemon.start()
