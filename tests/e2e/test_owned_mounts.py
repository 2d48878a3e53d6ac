"""Mounts whose files belong to who runs, or to somebody named: with the docker command and with knarr's."""

from __future__ import annotations

import os
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon
from rootful import OWNERS

pytestmark = OWNERS


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of somebody's."""
    os.chown(tmp_path, 1234, 1235)
    return tmp_path


def owner(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_uid, info.st_gid


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (["-v", "{}:/s:idmap"], "0 0"),
        (["-u", "77:78", "-v", "{}:/s:idmap"], "77 78"),
        (["-u", "5:6", "-v", "{}:/s:owner=5.6"], "5 6"),
    ],
)
def test_a_bind_mount_belongs_to_a_container(engine_host: Daemon, source: Path, flags: list[str], seen: str) -> None:
    flags = [flag.format(source) for flag in flags]
    done = engine_host.docker("run", "--rm", *flags, "busybox", "sh", "-c", "stat -c '%u %g' /s; touch /s/made")
    assert done.stdout.decode().strip() == seen
    assert owner(source / "made") == (1234, 1235)


@pytest.mark.parametrize("flags", [["-v", "{}:/s:owner=5:6"], ["--mount", "type=bind,src={},dst=/s,owner=5:6"]])
def test_knarr_names_an_owner(engine_host: Daemon, source: Path, flags: list[str]) -> None:
    flags = [flag.format(source) for flag in flags]
    done = knarr_program.run(engine_host.host, "run", "--rm", *flags, "busybox", "stat", "-c", "%u %g", "/s")
    assert done.stdout.decode().strip() == "5 6", done.stderr


def test_a_volume_belongs_to_who_runs(engine_host: Daemon) -> None:
    flags = ["run", "--rm", "-u", "1000", "-v", "owned:/s:idmap", "busybox"]
    engine_host.docker(*flags, "touch", "/s/made")
    assert owner(engine_host.data_root / "volumes/owned/_data/made") == (0, 0)
    engine_host.docker("volume", "rm", "owned")


def test_a_file_system_that_cannot(engine_host: Daemon) -> None:
    done = engine_host.docker("run", "--rm", "-v", "/sys/kernel:/s:owner=5", "busybox", "true", check=False)
    assert done.returncode == 125
    assert b"mounting /sys/kernel to rootfs at /s: ids cannot be mapped: its file system" in done.stderr
