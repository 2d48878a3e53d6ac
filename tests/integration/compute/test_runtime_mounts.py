"""What a runtime spec may say of mounts, on the real kernel: options, propagation, owners."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compute_bench import runtime_spec
from runtime_bench import Runtime

from knarr.compute.spec import IdMapping, Mount, Namespace
from knarr.kernel import mounts, user_namespaces


def run(runtime: Runtime, script: str, *added: Mount) -> list[str]:
    """The lines that a shell script prints in a container with these mounts too."""
    spec = runtime_spec("sh", "-c", script)
    spec.mounts += added
    runtime.configure(spec)
    return runtime.ok("run", runtime.id).splitlines()


@contextmanager
def mounted(path: Path, propagation: int = mounts.MS_PRIVATE) -> Iterator[None]:
    """A tmpfs at `path`, made if it is missing."""
    path.mkdir(exist_ok=True)
    mounts.mount("tmpfs", str(path), "tmpfs")
    try:
        mounts.mount(None, str(path), None, propagation)
        yield
    finally:
        mounts.umount(str(path))


# -- tmpfs --------------------------------------------------------------------------------------------------------


def test_a_tmpfs_has_the_mode_of_what_it_covers(runtime: Runtime) -> None:
    (runtime.bundle / "rootfs/root").chmod(0o710)
    plain, told = Mount("/root", "tmpfs", "tmpfs"), Mount("/tmp", "tmpfs", "tmpfs", ["mode=700"])
    assert run(runtime, "stat -c %a /root /tmp", plain, told) == ["710", "700"]


def test_a_tmpfs_begins_with_what_it_covers(runtime: Runtime) -> None:
    root = runtime.bundle / "rootfs/root"
    (root / "sub").mkdir()
    (root / "sub/file").write_text("text")
    os.chown(root / "sub/file", 3, 4)
    (root / "sub/file").chmod(0o4711)
    os.chown(root, 5, 6)
    script = (
        "stat -c '%u %g' /root; stat -c '%u %g %a' /root/sub/file; cat /root/sub/file; touch /root/x || echo; ls /root"
    )
    mount = Mount("/root", "tmpfs", "tmpfs", ["tmpcopyup", "ro", "gid=7"])
    assert run(runtime, script, mount) == ["5 7", "3 4 4711", "text", "sub"]
    assert not (root / "x").exists()


# -- attributes ---------------------------------------------------------------------------------------------------

WORDS = (
    *("async", "atime", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime", "loud", "mand"),
    *("noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime"),
    *("nosuid", "nosymfollow", "private", "ratime", "rdev", "rdiratime", "relatime", "rexec", "rnoatime"),
    *("rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate"),
    *("rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw"),
    *("shared", "silent", "slave", "strictatime", "suid", "symfollow", "sync", "tmpcopyup", "unbindable"),
)


def test_every_option_of_the_specification_is_taken(runtime: Runtime) -> None:
    """The words that say something of a new file system (config.md, "Linux mount options")."""
    each = [Mount(f"/tmp/{word}", "tmpfs", "tmpfs", [word]) for word in WORDS]
    assert run(runtime, "grep -c ' / /tmp/' /proc/self/mountinfo", *each) == [str(len(WORDS))]


def test_attributes_of_all_that_is_mounted_below(runtime: Runtime, tmp_path: Path) -> None:
    with mounted(tmp_path / "outer"), mounted(tmp_path / "outer/inner"):
        script = "for dir in /flat /flat/inner /deep /deep/inner; do touch $dir/x 2>/dev/null && echo $dir; done; true"
        source = str(tmp_path / "outer")
        flat, deep = Mount("/flat", "bind", source, ["rbind", "ro"]), Mount("/deep", "bind", source, ["rbind", "rro"])
        assert run(runtime, script, flat, deep) == ["/flat/inner"]


def test_a_mount_is_changed_by_a_later_one(runtime: Runtime) -> None:
    change = Mount("/dev/shm", "tmpfs", "shm", ["remount", "ro", "size=64k"])
    (line,) = run(runtime, "grep ' /dev/shm ' /proc/self/mountinfo", change)
    assert " ro," in line and "size=64k" in line


# -- propagation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "mark"), [("private", " - "), ("shared", " shared:"), ("unbindable", " unbindable ")])
def test_propagation_of_the_root(runtime: Runtime, kind: str, mark: str) -> None:
    spec = runtime_spec("grep", " / / \\|rootfs / ", "/proc/self/mountinfo")
    spec.linux.rootfs_propagation = kind
    runtime.configure(spec)
    (line,) = runtime.ok("run", runtime.id).splitlines()
    assert mark in line.replace("relatime - ", "relatime  - ")


@pytest.mark.parametrize(("kind", "seen"), [("", False), ("private", False), ("shared", False), ("slave", True)])
def test_what_is_mounted_on_the_host_shows_in_a_slave_only(runtime: Runtime, kind: str, seen: bool) -> None:
    root = runtime.bundle / "rootfs"
    mounts.mount(str(root), str(root), None, mounts.MS_BIND)
    try:
        mounts.mount(None, str(root), None, mounts.MS_SHARED)
        spec = runtime_spec("sleep", "60")
        spec.linux.rootfs_propagation = kind or None
        runtime.configure(spec)
        runtime.quietly("run", "--detach", runtime.id)
        with mounted(root / "tmp"):
            assert (runtime("exec", runtime.id, "grep", " /tmp ", "/proc/self/mountinfo").returncode == 0) is seen
    finally:
        runtime("delete", "--force", runtime.id)
        mounts.umount(str(root))


def test_what_is_mounted_in_a_container_stays_there(runtime: Runtime) -> None:
    """Also on a mount of the root's that the host shares."""
    shared = runtime.bundle / "rootfs/shared"
    with mounted(shared, mounts.MS_SHARED):
        (shared / "place").mkdir()
        run(runtime, "sleep 0", Mount("/shared/place", "tmpfs", "tmpfs"))
        assert str(shared / "place") not in Path("/proc/self/mountinfo").read_text()


# -- owners -------------------------------------------------------------------------------------------------------


def require_mappable(path: Path) -> None:
    users = user_namespaces.mapping("0 0 1\n", "0 0 1\n")
    if not mounts.can_map_ids(str(path), users, recursive=True):
        pytest.skip("this kernel does not map ids of a tmpfs (Linux 6.3)")


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_a_bind_with_other_owners(runtime: Runtime, tmp_path: Path, option: str) -> None:
    """Ids of the file system that are 1000 and on show as 0 and on, below it where that is asked for."""
    mapping = [IdMapping(1000, 0, 10)]
    with mounted(tmp_path / "outer"), mounted(tmp_path / "outer/inner"):
        require_mappable(tmp_path / "outer")
        os.chown(tmp_path / "outer", 1000, 1000)
        for name in ("file", "inner/file"):
            (tmp_path / "outer" / name).touch()
            os.chown(tmp_path / "outer" / name, 1003, 1004)
        mount = Mount("/data", "bind", str(tmp_path / "outer"), ["rbind", option], mapping, mapping)
        seen = run(runtime, "stat -c '%u %g' /data/file /data/inner/file; touch /data/made", mount)
        made = os.stat(tmp_path / "outer/made")
    assert seen == ["3 4", "3 4" if option == "ridmap" else "1003 1004"]
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (1000, 1000, 0o644)


def test_a_bind_with_the_owners_of_the_container(runtime: Runtime, tmp_path: Path) -> None:
    with mounted(tmp_path / "data"):
        require_mappable(tmp_path / "data")
        (tmp_path / "data/file").touch()
        os.chown(tmp_path / "data/file", 3, 4)
        spec = runtime_spec("stat", "-c", "%u %g", "/data/file")
        spec.linux.namespaces.append(Namespace("user"))
        spec.linux.uid_mappings = spec.linux.gid_mappings = [IdMapping(0, 300_000, 65536)]
        spec.mounts.append(Mount("/data", "bind", str(tmp_path / "data"), ["bind", "idmap"]))
        (runtime.bundle / "rootfs/data").mkdir()
        tmp_path.chmod(0o755)
        runtime.configure(spec)
        assert runtime.ok("run", runtime.id) == "3 4\n"
