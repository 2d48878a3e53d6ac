"""Containers of knarr-runtime in namespaces that are not their own: a mount namespace, or several of others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compute_bench import runtime_spec
from runtime_bench import Runtime

from knarr.compute.spec import IdMapping, Mount, Namespace, RuntimeSpec


def _spec(namespace: Path | None = None) -> RuntimeSpec:
    spec = runtime_spec("sleep", "60")
    spec.linux.namespaces = [one for one in spec.linux.namespaces if one.type != "mount"]
    if namespace is not None:
        spec.linux.namespaces.append(Namespace("mount", str(namespace)))
    return spec


def _mounted(runtime: Runtime, process: str = "self") -> list[str]:
    """What is mounted at the root and below it, as a process sees it."""
    lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    root = str(runtime.bundle / "rootfs")
    return [point.removeprefix(root) for point in (line.split()[4] for line in lines) if point.startswith(root)]


@contextmanager
def _somebody(*own: str) -> Iterator[str]:
    """The process id of somebody with namespaces of their own."""
    with subprocess.Popen(["unshare", *own, "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield str(process.pid)
        process.kill()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with _somebody("--mount") as pid:
        yield pid


def test_it_is_in_ours_as_long_as_it_exists(runtime: Runtime) -> None:
    runtime.configure(_spec())
    runtime.quietly("create", runtime.id)
    pid = json.loads(runtime.ok("state", runtime.id))["pid"]
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    assert {"", "/proc", "/dev", "/dev/pts", "/sys"} <= {*_mounted(runtime)}
    runtime.ok("start", runtime.id)
    script = "ls /proc/self/exe /dev/null && echo x > /made && mount -t tmpfs inside /tmp"
    runtime.ok("exec", "--cap", "CAP_SYS_ADMIN", runtime.id, "sh", "-c", script)
    assert (runtime.bundle / "rootfs/made").read_text() == "x\n"
    assert "/tmp" in _mounted(runtime)
    runtime.ok("delete", "--force", runtime.id)
    assert _mounted(runtime) == []


def test_it_is_in_anothers(runtime: Runtime, elsewhere: str) -> None:
    runtime.configure(_spec(Path(f"/proc/{elsewhere}/ns/mnt")))
    runtime.quietly("run", "--detach", runtime.id)
    pid = json.loads(runtime.ok("state", runtime.id))["pid"]
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{elsewhere}/ns/mnt")
    assert "/proc" in _mounted(runtime, elsewhere)
    assert runtime.ok("exec", runtime.id, "ls", "/").split()[0] == "bin"
    runtime.ok("delete", "--force", runtime.id)
    assert _mounted(runtime, elsewhere) == _mounted(runtime) == []


def test_the_namespace_may_be_gone_first(runtime: Runtime, elsewhere: str) -> None:
    runtime.configure(_spec(Path(f"/proc/{elsewhere}/ns/mnt")))
    runtime.quietly("run", "--detach", runtime.id)
    os.kill(int(elsewhere), 9)
    runtime.ok("delete", "--force", runtime.id)


@pytest.mark.parametrize("late", [True, False])
def test_a_failed_creation_leaves_nothing(runtime: Runtime, late: bool) -> None:
    """Be it before or after the root is mounted."""
    spec = _spec()
    if not late:
        spec.mounts.append(Mount("/x", "no-such-fs", "x"))
    runtime.configure(spec)
    assert runtime("create", "--pid-file", "/nowhere/pid", runtime.id).returncode == 1
    assert _mounted(runtime) == []


def test_a_user_namespace_is_refused(runtime: Runtime) -> None:
    spec = _spec()
    spec.linux.namespaces.append(Namespace("user"))
    spec.linux.uid_mappings = spec.linux.gid_mappings = [IdMapping(0, 100000, 1000)]
    runtime.configure(spec)
    assert "a user namespace needs a mount namespace of its own" in runtime("create", runtime.id).stderr


def test_a_user_namespace_is_joined_and_a_network_that_is_not_its(runtime: Runtime) -> None:
    """The right to join the network is ours, and not that of the user namespace's superuser."""
    with _somebody("--user") as users, _somebody("--net") as network:
        for kind in ("uid", "gid"):
            Path(f"/proc/{users}/{kind}_map").write_text("0 0 65536")
        joined = {"user": f"/proc/{users}/ns/user", "network": f"/proc/{network}/ns/net"}
        spec = runtime_spec("sh", "-c", "readlink /proc/self/ns/user; readlink /proc/self/ns/net")
        spec.linux.namespaces = [Namespace(kind, joined.get(kind)) for kind in ("mount", "pid", "ipc", *joined)]
        spec.hostname, spec.mounts = None, spec.mounts[:1]  # to mount sysfs takes rights over the network
        runtime.configure(spec)
        expected = [os.readlink(path) for path in joined.values()]
        assert runtime.ok("run", runtime.id).split() == expected
