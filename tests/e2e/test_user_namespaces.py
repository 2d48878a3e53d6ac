"""Containers whose root is nobody on the host: --userns auto, and as the engine's default."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon
from rootful import OWNERS

pytestmark = OWNERS


def knarr(daemon: Daemon, *words: str) -> str:
    done = knarr_program.run(daemon.host, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of somebody's, to be mounted."""
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 5, 6)
    return tmp_path


@pytest.fixture
def up(engine_host: Daemon, shared: Path) -> Iterator[str]:
    """A running container with a volume, a bind mount and a tmpfs."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    flags = ["-d", "--name", name, "--userns", "auto", "-v", f"{name}:/v", "-v", f"{shared}:/s", "--tmpfs", "/t"]
    knarr(engine_host, "run", *flags, "busybox", "sleep", "1000")
    yield name
    engine_host.docker("rm", "-f", name)
    engine_host.docker("volume", "rm", name)


def main_ids(daemon: Daemon, name: str) -> tuple[int, int]:
    """The first id of a container's range, and the user as whom its main process runs, both of the host."""
    pid = daemon.text("inspect", "-f", "{{.State.Pid}}", name)
    return int(Path(f"/proc/{pid}/uid_map").read_text().split()[1]), os.stat(f"/proc/{pid}").st_uid


def owners(archive: bytes) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member.uid for member in tar}


def test_root_is_somebody_else_on_the_host(engine_host: Daemon, up: str) -> None:
    first, uid = main_ids(engine_host, up)
    assert first == uid >= 1 << 30
    assert engine_host.text("exec", up, "id", "-u") == "0"


def test_each_container_has_a_range_of_its_own(engine_host: Daemon, up: str) -> None:
    other = knarr(engine_host, "run", "-d", "--userns", "auto:size=1000", "busybox", "sleep", "1000")
    try:
        assert abs(main_ids(engine_host, up)[0] - main_ids(engine_host, other)[0]) >= 1000
    finally:
        engine_host.docker("rm", "-f", other)


def test_files_have_the_containers_ids_on_the_disk(engine_host: Daemon, up: str, shared: Path) -> None:
    assert engine_host.text("exec", up, "stat", "-c", "%u %g", "/s/file") == "5 6"
    script = "for d in /v /s /tmp; do touch $d/made; chown 7:8 $d/made; done"
    engine_host.docker("exec", up, "sh", "-c", script)
    for directory in (engine_host.data_root / f"volumes/{up}/_data", shared):
        assert (directory / "made").stat().st_uid == 7
    assert owners(engine_host.docker("export", up).stdout)["tmp/made"] == 7


@pytest.mark.parametrize("place", ["/", "/v", "/s", "/t"])
def test_cp_there_and_back(engine_host: Daemon, up: str, tmp_path: Path, place: str) -> None:
    (tmp_path / "new").touch()
    os.chown(tmp_path / "new", 9, 10)
    engine_host.docker("cp", "-a", str(tmp_path / "new"), f"{up}:{place}/new")
    assert engine_host.text("exec", up, "stat", "-c", "%u %g", f"{place}/new") == "9 10"
    if place != "/t":  # which only the container sees
        assert owners(engine_host.docker("cp", f"{up}:{place}/new", "-").stdout) == {"new": 9}


def test_a_restarted_engine_goes_on(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> None:
    daemon = new_daemon("--userns-remap", "auto")
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    daemon.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    daemon.restart()
    daemon.docker("run", "-d", "--name", "two", "busybox", "sleep", "1000")
    assert main_ids(daemon, "one")[0] != main_ids(daemon, "two")[0]
    assert daemon.text("exec", "one", "sh", "-c", "id -u; touch /x; echo x > /dev/stdout").split() == ["0", "x"]
    assert "name=userns" in daemon.text("info", "-f", "{{.SecurityOptions}}")
    assert daemon.text("run", "--rm", "--userns=host", "busybox", "cat", "/proc/self/uid_map").split()[1] == "0"
    refused = daemon.docker("run", "--rm", "--privileged", "busybox", "true", check=False)
    assert b"privileged mode is incompatible with user namespaces" in refused.stderr


def test_it_starts_again_and_is_committed(engine_host: Daemon, up: str) -> None:
    engine_host.docker("exec", up, "sh", "-c", "touch /made; chown 3:4 /made; rm /etc/passwd")
    engine_host.docker("restart", "-t", "0", up)
    assert engine_host.text("exec", up, "stat", "-c", "%u", "/made") == "3"
    image = engine_host.text("commit", up)
    assert engine_host.text("run", "--rm", image, "sh", "-c", "stat -c %u /made; ls /etc").split()[0] == "3"
    assert "D /etc/passwd" in engine_host.text("diff", up)
    engine_host.docker("rmi", "-f", image)


def test_it_is_superuser_of_its_own_namespaces(engine_host: Daemon) -> None:
    script = "mkdir /m && mount -t tmpfs x /m && hostname own && hostname; ip link add d type dummy; ls /sys/class/net"
    flags = ["--rm", "--userns", "auto", "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--network", "none"]
    assert knarr(engine_host, "run", *flags, "busybox", "sh", "-c", script).split()[0] == "own"


def test_who_joins_a_container_is_in_its_user_namespace(engine_host: Daemon, up: str) -> None:
    flags = ["--rm", "--userns", "auto", "--network", f"container:{up}", "--pid", f"container:{up}"]
    found = knarr(
        engine_host, "run", *flags, "busybox", "sh", "-c", "for p in self 1; do readlink /proc/$p/ns/user; done"
    )
    assert len(set(found.split())) == 1


def test_a_user_beyond_the_range(engine_host: Daemon, up: str) -> None:
    refused = engine_host.docker("exec", "-u", "99999", up, "true", check=False)
    assert b"too few for 99999" in refused.stdout + refused.stderr
    done = knarr_program.run(engine_host.host, "run", "--rm", "--userns", "auto", "-u", "99999", "busybox", "true")
    assert done.returncode == 125
    assert b"user namespace has 65536 ids, too few for 99999" in done.stderr
