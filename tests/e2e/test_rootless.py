"""An engine of an ordinary user: what is promised of it, and what it refuses, with the reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import subordinate_user
from harness import Daemon

IMAGE = "busybox:latest"


@pytest.fixture(scope="module", params=["subordinate ids", "one id"])
def daemon(request: pytest.FixtureRequest, busybox_archive: bytes) -> Iterator[Daemon]:
    daemon = Daemon(rootless=True, one_id=request.param == "one id")
    daemon.start()
    daemon.docker("import", "-", IMAGE, input=busybox_archive)
    yield daemon
    daemon.remove()


@pytest.fixture
def docker(daemon: Daemon) -> Callable[..., str]:
    return daemon.text


def test_root_in_a_container_is_the_user(daemon: Daemon, docker: Callable[..., str]) -> None:
    directory = daemon.directory / "theirs"
    directory.mkdir()
    os.chown(directory, subordinate_user.ID, subordinate_user.ID)
    assert docker("run", "--rm", "-v", f"{directory}:/there", IMAGE, "sh", "-c", "touch /there/file; id -u") == "0"
    assert (directory / "file").stat().st_uid == subordinate_user.ID


def test_the_machine_itself_as_an_image(docker: Callable[..., str]) -> None:
    script = "touch /root/file /tmp/file && env echo done"
    assert docker("run", "--rm", "host", "sh", "-c", script) == "done"


def test_containers_and_their_terminals_survive_the_engine(daemon: Daemon, docker: Callable[..., str]) -> None:
    docker("run", "--detach", "--name", "survivor", IMAGE, "sleep", "1000")
    address = docker("inspect", "survivor", "--format", "{{.NetworkSettings.IPAddress}}")
    for end in (daemon.stop, daemon.kill, lambda: kill_with_keeper(daemon)):
        end()
        daemon.start()
        assert docker("exec", "survivor", "hostname", "-i") == address
        docker("run", "--rm", IMAGE, "ping", "-c", "1", address)  # it is in the same network still
    docker("rm", "--force", "survivor")


def kill_with_keeper(daemon: Daemon) -> None:
    """As when memory runs out: what held the namespaces is gone, and containers are still in them."""
    (keeper,) = (pid for pid in daemon.pids() if b"knarr.rootless.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(keeper, signal.SIGKILL)
    daemon.kill()


def test_limits_without_control_groups_are_refused(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--memory", "64m", IMAGE, "true", check=False)
    assert done.returncode == 125
    assert b"this user has no control groups" in done.stderr


def test_info_tells_of_it(docker: Callable[..., str]) -> None:
    assert "name=rootless" in docker("info", "--format", "{{.SecurityOptions}}")
    assert docker("info", "--format", "{{.CgroupDriver}}") == "none"
