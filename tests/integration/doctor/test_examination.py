"""The real checks on this kernel, and where something is really missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from knarr_program import KNARR
from ordinary_user import USER, become

from knarr.kernel import mounts
from knarr.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare

Answer = tuple[int, dict[str, dict[str, Any]], str]


def ask(*flags: str, inside: Callable[[], None] = lambda: None, path: str = "/usr/sbin:/usr/bin:/sbin:/bin") -> Answer:
    """Exit status, findings by name, and standard error of a run that `inside` has prepared a place for."""
    environ = {"PATH": path, "HOME": "/nonexistent", "XDG_DATA_HOME": "/tmp"}
    command = [KNARR, "doctor", "--format", "json", *flags]
    done = subprocess.run(command, env=environ, preexec_fn=inside, capture_output=True, text=True, timeout=60)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {finding["Name"]: finding for finding in findings}, done.stderr


def become_user_without_namespaces() -> None:
    """In a user namespace in which there may be no further one."""
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("gid_map", f"{USER} 0 1"), ("uid_map", f"{USER} 0 1")):
        Path("/proc/self", name).write_text(text)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def test_root_is_told_that_this_host_will_do() -> None:
    status, found, errors = ask()
    assert (status, errors) == (0, "")
    assert {found[name]["State"] for name in ("pid namespaces", "overlayfs", "nftables", "veth", "clone3")} == {"ok"}


def test_a_user_can_have_a_rootless_engine() -> None:
    status, found, errors = ask("--rootless", inside=become)
    assert (status, errors) == (0, "")
    assert {found[name]["State"] for name in ("user namespaces", "overlayfs", "nftables", "bridge")} == {"ok"}
    assert found["subordinate ids"]["State"] == "missing"


def test_root_sees_what_a_user_sees() -> None:
    status, found, errors = ask("--user", "nobody", "--data-root", "/tmp/knarr")
    assert (status, errors) == (0, "")
    assert found["overlayfs"]["Detail"] == "with attributes in user.*"


def test_a_user_does_not_know_all_about_root() -> None:
    status, found, errors = ask("--user", "root", inside=become)
    assert (status, errors) == (0, "")
    assert found["capabilities"]["State"] == found["new groups"]["State"] == "cannot tell"
    assert found["nftables"]["State"] == "ok"


def test_without_user_namespaces_there_is_no_rootless_engine() -> None:
    status, found, errors = ask("--rootless", inside=become_user_without_namespaces)
    assert status == 1
    assert errors == "\nAn engine cannot run here without: user namespaces\n"
    assert found["user namespaces"]["Detail"] == "user.max_user_namespaces is 0"
    assert "sysctl" in found["user namespaces"]["Remedy"]
    assert found["pid namespaces"]["State"] == "cannot tell"


def test_without_pasta_there_is_no_way_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    _, found, _ = ask("--rootless", inside=become, path=str(tmp_path))
    assert (found["pasta"]["State"], found["pasta"]["Remedy"]) == ("missing", "install passt")


def test_a_covered_proc_is_noticed() -> None:
    def cover() -> None:
        """As the default of containers is: then the kernel lets nobody mount a /proc that shows more."""
        unshare(CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if " - proc " in line and (place := line.split()[4]) != "/proc":
                mounts.umount(place)
        mounts.mount("tmpfs", "/proc/irq", "tmpfs")
        become()

    status, found, errors = ask("--rootless", inside=cover)
    assert (status, found["/proc of its own"]["State"]) == (1, "missing")
    assert "/proc of its own" in errors


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    interfaces, groups = set(os.listdir("/sys/class/net")), list(Path("/sys/fs/cgroup").glob("*/knarr-doctor-*"))
    ask("--data-root", str(tmp_path / "root"))
    assert not list(tmp_path.iterdir())
    assert not [name for name in set(os.listdir("/sys/class/net")) - interfaces if name in ("knarr0", "knarr1")]
    assert list(Path("/sys/fs/cgroup").glob("*/knarr-doctor-*")) == groups


def test_a_user_may_not_be_another() -> None:
    done = subprocess.run(
        [KNARR, "doctor", "--user", "nobody"], preexec_fn=become, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "only root can try what user nobody can do: use sudo\n"


@pytest.mark.skipif(shutil.which("newuidmap") is None, reason="needs the package uidmap")
def test_subordinate_ids_are_tried() -> None:
    def give() -> None:
        """A range in files of one's own mount namespace."""
        unshare(CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount("tmpfs", "/mnt", "tmpfs")
        for name in ("subuid", "subgid"):
            Path("/mnt", name).write_text("nobody:524288:65536\n")
            if not os.path.exists(f"/etc/{name}"):
                return
            mounts.mount(f"/mnt/{name}", f"/etc/{name}", None, mounts.MS_BIND)
        mounts.umount("/mnt")

    _, found, _ = ask("--user", "nobody", "--data-root", "/tmp/knarr", inside=give)
    assert found["subordinate ids"]["Detail"] == "65536 user ids, 65536 group ids"
