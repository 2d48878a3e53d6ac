"""The known ways in which runtimes were escaped from or fooled, each tried on ours with a harmless bundle."""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import shutil
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from compute_bench import Bench, make_root, runtime_spec

from knarr.compute.interface import ExecRequest, StartFailed
from knarr.compute.spec import (
    Capabilities,
    Device,
    Hook,
    Hooks,
    IdMapping,
    Linux,
    Mount,
    Namespace,
    Rlimit,
    RuntimeSpec,
    Seccomp,
    SeccompSyscall,
    User,
)
from knarr.errors import InvalidParameter, KnarrError, Unsupported
from knarr.kernel import capabilities, syscalls

OTHER = User(uid=1000, gid=1000)


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# -- the interpreter (CVE-2019-5736) ----------------------------------------------------------------------------------


def test_the_way_into_a_container_starts_from_a_read_only_interpreter(bench: Bench) -> None:
    process = bench.native.zygote._process
    assert process is not None
    fd = os.open(f"/proc/{process.pid}/exe", os.O_PATH)
    try:
        assert os.fstatvfs(fd).f_flag & os.ST_RDONLY
    finally:
        os.close(fd)


def test_a_program_that_is_proc_self_exe_does_no_harm(bench: Bench) -> None:
    interpreter = os.path.realpath(sys.executable)
    before = _digest(interpreter)
    system = bench.create(runtime_spec("/proc/self/exe", "-c", "print('host python')"))
    try:
        bench(system.start())
    except StartFailed:
        pass
    else:
        assert bench(system.exited).code != 0
    assert _digest(interpreter) == before


def test_a_containers_root_cannot_look_into_our_init(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"), init=True)
    assert bench.exec(system, "readlink", "/proc/1/exe")[0].code != 0
    assert bench.exec(system, "readlink", "/proc/1/cwd")[0].code != 0


# -- descriptors and the working directory (CVE-2024-21626) -----------------------------------------------------------


def test_no_descriptor_but_the_streams_is_open(bench: Bench) -> None:
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        found = bench.output("ls /proc/$$/fd; true")
    finally:
        os.close(leak)
    assert set(found.split()) <= {"0", "1", "2", "10"}  # 10 is where this shell keeps its script


@pytest.mark.parametrize("number", [3, 5, 7, 8, 10, 12, 15, 20])
def test_a_working_directory_by_descriptor_is_refused(bench: Bench, number: int) -> None:
    path = f"/proc/self/fd/{number}"
    with pytest.raises(KnarrError):
        bench.start(runtime_spec("pwd", cwd=path))
    system = bench.start(runtime_spec("sleep", "60"))
    process = runtime_spec("pwd", cwd=path).process
    assert process is not None
    with pytest.raises(KnarrError):
        bench(system.exec(ExecRequest(id="x", process=process)))


def test_an_exec_has_no_descriptor_but_the_streams(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    _, found = bench.exec(system, "sh", "-c", "ls /proc/$$/fd; true")
    assert set(found.split()) <= {"0", "1", "2", "10"}


# -- links and races in the root filesystem (CVE-2021-30465, CVE-2023-27561, CVE-2024-45310, CVE-2026-41579) ----------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "file").write_text("untouched")
    return directory


def _untouched(outside: Path) -> bool:
    return sorted(os.listdir(outside)) == ["file"] and (outside / "file").read_text() == "untouched"


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_linked_system_directory_leads_nowhere(bench: Bench, outside: Path, name: str) -> None:
    (bench.root / name).rmdir()
    (bench.root / name).symlink_to(outside)
    try:
        bench.run(runtime_spec("true"))
    except KnarrError:
        pass
    assert _untouched(outside)


def test_procfs_is_not_mounted_through_a_link(bench: Bench) -> None:
    (bench.root / "proc").rmdir()
    (bench.root / "proc").symlink_to("tmp")
    with pytest.raises(KnarrError, match="mounting proc at /proc"):
        bench.create(runtime_spec("true"))


@pytest.mark.parametrize("target", ["{outside}", "../../../../../../../..{outside}"])
def test_a_mount_target_behind_a_link_stays_inside(bench: Bench, outside: Path, target: str) -> None:
    (bench.root / "link").symlink_to(target.format(outside=outside))
    spec = runtime_spec("sh", "-c", "echo new > /link/sub/new")
    spec.mounts.append(Mount("/link/sub", "tmpfs", "tmpfs", []))
    status, _ = bench.run(spec)
    assert status.code == 0
    assert _untouched(outside)


def test_a_linked_device_directory_gets_no_nodes_outside(bench: Bench, outside: Path) -> None:
    (bench.root / "dev").rmdir()
    (bench.root / "dev").symlink_to(outside)
    spec = runtime_spec("true")
    spec.mounts = [mount for mount in spec.mounts if not mount.destination.startswith("/dev")]
    bench.run(spec)
    assert _untouched(outside)
    assert stat.S_ISCHR((bench.root / str(outside)[1:] / "null").stat().st_mode)


def test_a_directory_swapped_for_a_link_in_between_changes_nothing_outside(bench: Bench, outside: Path) -> None:
    (bench.root / "a").mkdir()
    (bench.root / "b").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        libc = ctypes.CDLL(None)
        first, second = os.fsencode(bench.root / "a"), os.fsencode(bench.root / "b")
        while not stop.is_set():
            libc.renameat2(-100, first, -100, second, 2)  # RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(15):
            spec = runtime_spec("true")
            spec.mounts.append(Mount("/a/x/y", "tmpfs", "tmpfs", []))
            try:
                bench.run(spec)
            except KnarrError:
                pass
    finally:
        stop.set()
        thread.join()
    assert _untouched(outside)


# -- masks and the console (CVE-2025-31133, CVE-2025-52565) -----------------------------------------------------------


def test_masks_are_the_real_null_device_whatever_the_image_has(bench: Bench) -> None:
    (bench.root / "dev/null").write_text("not a device")
    spec = runtime_spec("sh", "-c", "cat /proc/keys | wc -c; stat -c %t:%T /proc/keys; ls /sys/firmware | wc -l")
    spec.mounts = [mount for mount in spec.mounts if not mount.destination.startswith("/dev")]
    assert bench.run(spec)[1].split() == ["0", "1:3", "0"]


def test_masked_and_readonly_paths_hold(bench: Bench) -> None:
    output = bench.output("touch /sys/firmware/x; echo 1 > /proc/sys/kernel/msgmax; umount /proc/keys; cat /proc/keys")
    assert output.count("Read-only file system") == 2


def test_the_console_is_the_terminal_whatever_the_image_has(bench: Bench, outside: Path) -> None:
    (bench.root / "dev/pts").mkdir()
    (bench.root / "dev/console").symlink_to(outside / "file")
    spec = runtime_spec("sh", "-c", "stat -L -c %t:%T /dev/console $(tty)", terminal=True)
    spec.mounts = [mount for mount in spec.mounts if mount.destination in ("/proc", "/dev/pts")]
    output = bench.run(spec)[1].split()
    assert output[0] == output[1]
    assert _untouched(outside)


def test_a_terminal_needs_a_real_devpts(bench: Bench) -> None:
    (bench.root / "dev/pts").mkdir()
    (bench.root / "dev/pts/ptmx").write_text("")
    spec = runtime_spec("true", terminal=True)
    spec.mounts = [mount for mount in spec.mounts if mount.destination == "/proc"]
    with pytest.raises(StartFailed, match="opening a terminal"):
        bench.create(spec)


# -- procfs and sysctls (CVE-2019-16884, CVE-2025-52881, CVE-2022-0811) -----------------------------------------------


@pytest.mark.parametrize("destination", ["/proc/self/attr", "/proc/sys", "/proc/sys/kernel", "/proc"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_mounts_over_procfs_are_refused(bench: Bench, destination: str, kind: str) -> None:
    spec = runtime_spec("true")
    options = ["bind"] if kind == "bind" else []
    spec.mounts.append(Mount(destination, kind, str(bench.root / "tmp"), options))
    with pytest.raises(StartFailed, match="inside /proc"):
        bench.create(spec)


def test_harmless_procfs_files_can_be_replaced(bench: Bench) -> None:
    (bench.root / "tmp/up").write_text("1 2\n")
    spec = runtime_spec("cat", "/proc/uptime")
    spec.mounts.append(Mount("/proc/uptime", "bind", str(bench.root / "tmp/up"), ["bind"]))
    assert bench.run(spec)[1] == "1 2\n"


def test_sysctls_land_in_the_container_only(bench: Bench) -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    spec = runtime_spec("cat", "/proc/sys/kernel/msgmax")
    spec.linux.sysctl = {"kernel.msgmax": "4321"}
    assert bench.run(spec)[1] == "4321\n"
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


@pytest.mark.parametrize("key", ["kernel.core_pattern", "a+b=c", "vm.swappiness", "net/../kernel/core_pattern", ""])
def test_sysctls_of_the_host_are_refused(bench: Bench, key: str) -> None:
    spec = runtime_spec("true")
    spec.linux.sysctl = {key: "1"}
    with pytest.raises(InvalidParameter, match="sysctl"):
        bench.create(spec)


def test_sysctls_need_the_namespace(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.linux.namespaces = [namespace for namespace in spec.linux.namespaces if namespace.type != "network"]
    spec.linux.sysctl = {"net.ipv4.ip_forward": "1"}
    with pytest.raises(InvalidParameter, match="not allowed in host network namespace"):
        bench.create(spec)


# -- privileges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("name", ["setuid", "setresuid", "capset", "getcwd", "write", "openat", "prctl", "recvfrom"])
def test_a_filter_does_not_stop_its_own_set_up(bench: Bench, name: str, no_new_privileges: bool) -> None:
    spec = runtime_spec("true", user=OTHER, no_new_privileges=no_new_privileges)
    calls = [SeccompSyscall([name], "SCMP_ACT_ERRNO")]
    if name in ("setresuid", "capset", "prctl") and not no_new_privileges:
        pytest.skip("without no_new_privs the filter must be there before privileges go: these cannot be blocked")
    spec.linux.seccomp = Seccomp("SCMP_ACT_ALLOW", syscalls=calls)
    assert bench(bench.start(spec).exited).code in (0, 127)  # a static program may itself need openat


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_no_new_privileges_and_filter_are_as_asked(bench: Bench, no_new_privileges: bool) -> None:
    spec = runtime_spec("grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status", no_new_privileges=no_new_privileges)
    spec.linux.seccomp = Seccomp("SCMP_ACT_ALLOW", syscalls=[SeccompSyscall(["reboot"], "SCMP_ACT_ERRNO")])
    assert bench.run(spec)[1].split() == ["NoNewPrivs:", str(int(no_new_privileges)), "Seccomp:", "2"]


def _status(bench: Bench, **process: object) -> dict[str, str]:
    lines = bench.output("cat /proc/self/status", **process).splitlines()
    return {line.split(":")[0]: line.split(":")[1].strip() for line in lines}


def test_capabilities_of_root(bench: Bench) -> None:
    status = _status(bench)
    assert status["CapBnd"] == status["CapPrm"] == status["CapEff"] != "0" * 16
    assert status["CapInh"] == status["CapAmb"] == "0" * 16


def test_capabilities_of_others_are_gone_at_execve(bench: Bench) -> None:
    status = _status(bench, user=OTHER)
    assert status["CapPrm"] == status["CapEff"] == status["CapInh"] == status["CapAmb"] == "0" * 16


def test_ambient_capabilities_stay(bench: Bench) -> None:
    sets = ["CAP_CHOWN"]
    asked = Capabilities(bounding=sets, effective=sets, permitted=sets, inheritable=sets, ambient=sets)
    assert _status(bench, user=OTHER, capabilities=asked)["CapEff"] == f"{1:016x}"


def test_capabilities_of_an_exec_are_its_own(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    _, output = bench.exec(system, "grep", "CapBnd", "/proc/self/status", capabilities=Capabilities())
    assert output.split()[1] == "0" * 16


def test_no_group_of_the_engine_is_left(bench: Bench) -> None:
    before = os.getgroups()
    os.setgroups([4242, 4243])
    try:
        assert bench.output("id -G") == "0\n"
    finally:
        os.setgroups(before)
    user = User(uid=1000, gid=1000, additional_gids=[7])
    assert bench.output("id -u; id -G", user=user).split() == ["1000", "1000", "7"]


def test_signals_mask_and_environment_start_clean(bench: Bench) -> None:
    os.environ["KNARR_TEST_LEAK"] = "1"
    try:
        output = bench.output("grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; env")
    finally:
        del os.environ["KNARR_TEST_LEAK"]
    assert output.split()[:5] == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "0022"]
    assert "LEAK" not in output
    assert "PYTHON" not in output


def test_what_the_engines_parent_ignored_is_not_ignored(bench: Bench) -> None:
    bench.stop_backend()
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        bench.start_backend()
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert bench.run(runtime_spec("grep", "SigIgn", "/proc/self/status"))[1].split()[1] == "0" * 16


def test_the_engine_has_no_hooks(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.hooks = Hooks(poststop=[Hook("/bin/x")])
    with pytest.raises(Unsupported, match="hooks"):
        bench(bench.backend.create(bench.request(spec)))


def test_without_a_terminal_there_is_no_terminal(bench: Bench) -> None:
    assert bench.output("for i in 0 1 2; do test -t $i && echo tty; done; cat /dev/tty 2>&1").endswith(
        "/dev/tty'\n"
    ) or ("No such device" in bench.output("cat /dev/tty 2>&1"))


def test_the_engines_session_keyring_is_out_of_reach(bench: Bench) -> None:
    add_key = 248 if os.uname().machine == "x86_64" else 217
    name = b"knarr-test-key"
    try:
        syscalls.syscall(add_key, b"user", name, b"secret", 6, ctypes.c_long(-3))
    except OSError:
        pytest.skip("this host has no key service")
    spec = runtime_spec("sleep", "60")
    spec.linux.masked_paths = []
    system = bench.start(spec)
    _, keys = bench.exec(system, "cat", "/proc/keys")
    assert f" {system.id}" in keys, "the session keyring is not the container's own"


def test_a_hard_limit_above_ours_is_a_clear_error(bench: Bench) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spec = runtime_spec("true", rlimits=[Rlimit("RLIMIT_NOFILE", hard + 1, hard + 1)])
    system = bench.create(spec)
    if capabilities.own_permitted() & capabilities.mask(["CAP_SYS_RESOURCE"]):
        pytest.skip("this host lets hard limits be raised")
    with pytest.raises(StartFailed, match="error setting rlimit"):
        bench(system.start())


# -- control groups ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../../x", "/knarr/../../x", ".."])
def test_a_cgroup_path_with_dots_is_refused(bench: Bench, path: str) -> None:
    spec = runtime_spec("true")
    spec.linux.cgroups_path = path
    with pytest.raises(InvalidParameter, match="cgroup path"):
        bench.create(spec)


def test_cgroups_are_read_only_and_own(bench: Bench) -> None:
    output = bench.output("mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x; cat /proc/self/cgroup")
    assert "Read-only file system" in output
    assert "knarr" not in output


def test_a_forking_container_is_gone_after_delete(bench: Bench) -> None:
    spec = runtime_spec("sh", "-c", "for i in $(seq 100); do (while :; do sleep 0.01; done) & done; wait")
    system = bench.start(spec)
    bench(system.delete())
    assert system.pids() == []


def test_forks_in_the_hosts_pid_namespace_are_gone_after_delete(bench: Bench) -> None:
    spec = runtime_spec("sh", "-c", "for i in $(seq 50); do (while :; do sleep 0.01; done) & done; wait")
    spec.linux.namespaces = [namespace for namespace in spec.linux.namespaces if namespace.type != "pid"]
    system = bench.start(spec)
    bench(system.delete())
    assert system.pids() == []


# -- what belongs to whom on disk -------------------------------------------------------------------------------------


def test_the_run_directory_and_socket_are_private(bench: Bench) -> None:
    system = bench.start(runtime_spec("sleep", "60"))
    assert stat.S_IMODE(system._run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((system._run_dir / "shim.sock").stat().st_mode) == 0o600
    assert "@knarr" not in Path("/proc/net/unix").read_text()


# -- the interpreter's own habits (kin of CVE-2019-14271) -------------------------------------------------------------


def test_nothing_of_the_image_is_imported_on_the_way_in(bench: Bench) -> None:
    marker = "open('/tmp/poisoned', 'w').close()\n"
    for directory in {*filter(None, sys.path), os.path.dirname(os.__file__)}:
        inside = bench.root / directory.lstrip("/")
        inside.mkdir(parents=True, exist_ok=True)
        for name in ("sitecustomize", "encodings", "os", "pwd", "grp", "resource", "traceback", "linecache"):
            (inside / f"{name}.py").write_text(marker)
    libraries = bench.root / "lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libnss_files.so.2", "libc.so.6"):
        (libraries / name).write_text("poison")
    system = bench.start(runtime_spec("sleep", "60", user=OTHER))
    assert bench.exec(system, "true")[0].code == 0
    with pytest.raises(StartFailed):
        bench.start(runtime_spec("no-such"))
    assert not (bench.root / "tmp/poisoned").exists()


def test_a_failed_step_prints_nothing_to_the_containers_streams(bench: Bench) -> None:
    client = bench.client()
    system = bench.create(runtime_spec("no-such"), attachments=[client.attachment()])
    with pytest.raises(StartFailed):
        bench(system.start())
    assert bench(client.read_all()) == b""


# -- user namespaces --------------------------------------------------------------------------------------------------


def test_a_user_namespace_maps_root_to_somebody_else(bench: Bench) -> None:
    shutil.rmtree(bench.root)
    make_root(bench.root)
    for path, _, files in os.walk(bench.root):
        for name in [".", *files]:
            os.chown(os.path.join(path, name), 200000, 200000, follow_symlinks=False)
    bench.root.chmod(0o755)
    spec = runtime_spec(
        "sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /tmp/made; echo y > /dev/null && echo null"
    )
    mapping = [IdMapping(0, 200000, 65536)]
    spec.linux = Linux(
        namespaces=[Namespace(kind) for kind in ("mount", "pid", "ipc", "uts", "network", "user", "cgroup")],
        uid_mappings=mapping,
        gid_mappings=mapping,
        masked_paths=spec.linux.masked_paths,
    )
    output = bench.run(spec)[1].split()
    assert output == ["0", "0", "200000", "65536", "null"]
    assert (bench.root / "tmp/made").stat().st_uid == 200000


KINDS = ("mount", "pid", "ipc", "uts", "network", "user", "cgroup")
MAPPING = [IdMapping(0, 200000, 65536)]


def remapped(bench: Bench, *args: str, **process: Any) -> tuple[RuntimeSpec, dict[str, int]]:
    """A spec for a user namespace made in advance, and the namespaces' descriptors for the request."""
    bench.root.chmod(0o755)
    spec = runtime_spec(*args, **process)
    spec.linux.namespaces = [Namespace(kind) for kind in KINDS]
    spec.linux.uid_mappings = spec.linux.gid_mappings = MAPPING
    user_fd, network_fd = bench(bench.backend.make_user_namespace(MAPPING, network=True))
    return spec, {"user_fd": user_fd, "network_fd": network_fd}


def test_a_user_namespace_made_in_advance_owns_all_others(bench: Bench) -> None:
    spec, given = remapped(bench, "sh", "-c", "id -u; cat /proc/self/uid_map; ls /sys/class/net; echo o > /dev/stdout")
    spec.mounts.append(Mount("/root", "tmpfs", "tmpfs", ["mode=700"]))
    assert bench.run(spec, **given)[1].split() == ["0", "0", "200000", "65536", "lo", "o"]


def test_an_exec_in_a_user_namespace_is_its_superuser(bench: Bench) -> None:
    spec, given = remapped(bench, "sleep", "60")
    system = bench.start(spec, **given)
    status, output = bench.exec(system, "sh", "-c", "id -u; tty; echo x > /dev/stdout", terminal=True)
    assert (status.code, output.split()) == (0, ["0", "/dev/pts/0", "x"])


def test_no_process_is_left_behind_by_joining_a_user_namespace(bench: Bench) -> None:
    spec, given = remapped(bench, "sleep", "60")
    system = bench.start(spec, **given)
    shim = int(Path(f"/proc/{system.pid}/stat").read_text().rpartition(") ")[2].split()[1])
    assert Path(f"/proc/{shim}/task/{shim}/children").read_text().split() == [str(system.pid)]


def test_a_device_belongs_to_the_superuser_of_the_user_namespace(bench: Bench) -> None:
    spec, given = remapped(bench, "sh", "-c", "stat -c '%u %a %t:%T' /dev/extra; echo x > /dev/extra && echo written")
    spec.linux.devices = [Device("c", "/dev/extra", 1, 3, 0o600)]
    assert bench.run(spec, **given)[1].split() == ["0", "600", "1:3", "written"]


# -- id-mapped mounts -------------------------------------------------------------------------------------------------


def test_a_bind_mount_with_mapped_ids(bench: Bench) -> None:
    source = bench.directory / "source"
    source.mkdir()
    os.chown(source, 4321, 4321)
    spec = runtime_spec("sh", "-c", "stat -c '%u %g' /here; touch /here/made")
    mapping = [IdMapping(4321, 0, 1)]
    spec.mounts.append(Mount("/here", "bind", str(source), ["bind"], mapping, mapping))
    assert bench.run(spec)[1].split() == ["0", "0"]
    assert (source / "made").stat().st_uid == 4321


def test_a_file_system_that_cannot_map_ids(bench: Bench) -> None:
    mapping = [IdMapping(0, 1000, 1)]
    spec = runtime_spec("true")
    spec.mounts.append(Mount("/here", "bind", "/sys/kernel", ["bind"], mapping, mapping))
    with pytest.raises(StartFailed, match="does not support id-mapped mounts"):
        bench.create(spec)


def test_a_namespace_of_another_kind_is_refused(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.linux.namespaces = [Namespace("mount"), Namespace("uts"), Namespace("ipc", "/proc/self/ns/net")]
    with pytest.raises(KnarrError, match="joining namespace"):
        bench.create(spec)


def test_a_namespace_named_twice_is_refused(bench: Bench) -> None:
    spec = runtime_spec("true")
    spec.linux.namespaces.append(Namespace("pid"))
    with pytest.raises(InvalidParameter, match="duplicated"):
        bench.create(spec)
