"""knarr-runtime as engines call it: what the specification's life cycle, hooks and runc's users rely on."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compute_bench import runtime_spec
from runtime_bench import PROGRAM, Runtime
from seccomp_agent import Agent

from knarr.compute.spec import (
    Capabilities,
    DeviceRule,
    Hook,
    Hooks,
    IoPriority,
    Memory,
    Mount,
    Namespace,
    Personality,
    Resources,
    Scheduler,
    Seccomp,
    SeccompSyscall,
    TimeOffset,
)
from knarr.kernel import mounts, processes
from knarr.kernel.cgroups import Cgroup, detect
from knarr.runtime import sealing


def test_a_life_in_steps(runtime: Runtime) -> None:
    runtime.create("sleep", "60")
    state = json.loads(runtime.ok("state", runtime.id))
    assert (state["id"], state["status"], state["bundle"]) == (runtime.id, "created", str(runtime.bundle))
    runtime.ok("start", runtime.id)
    assert runtime.status() == "running"
    runtime.ok("kill", runtime.id, "KILL")
    _await_end(state["pid"])
    assert runtime.status() == "stopped"
    runtime.ok("delete", runtime.id)
    assert "container does not exist" in runtime("state", runtime.id).stderr


def _await_end(pid: int) -> None:
    """A process that is nobody's child here."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([pidfd], [], [], 10)
    os.close(pidfd)


def test_the_program_does_not_run_before_its_start(runtime: Runtime) -> None:
    runtime.create("touch", "/tmp/ran")
    assert not (runtime.bundle / "rootfs/tmp/ran").exists()
    pid = json.loads(runtime.ok("state", runtime.id))["pid"]
    runtime.ok("start", runtime.id)
    _await_end(pid)
    assert (runtime.bundle / "rootfs/tmp/ran").exists()


def test_run_gives_output_and_exit_code(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", "echo out; echo err >&2; exit 7"))
    done = runtime("run", runtime.id)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert runtime.ok("list", "-q") == ""


def test_run_reads_what_we_read(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("cat"))
    assert runtime.ok("run", runtime.id, stdin=None, input="through") == "through"


def test_what_is_not_allowed_has_no_effect(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    for words, error in (
        (("start", runtime.id), "cannot start a container in the running state"),
        (("create", runtime.id), "container with given ID already exists"),
        (("delete", runtime.id), "that is not stopped: running"),
        (("resume", runtime.id), "container not paused"),
        (("kill", runtime.id, "NONSENSE"), "unknown signal"),
        (("state", "../x"), "invalid container ID format: ../x"),
        (("state", ".."), "invalid container ID format: .."),
        (("state", "x" * 300), "invalid container ID format"),
        (("start", "nobody"), "container does not exist"),
    ):
        done = runtime(*words)
        assert (done.returncode, error in done.stderr) == (1, True), done.stderr
    assert runtime.status() == "running"


def test_a_program_that_is_not_there_is_told_by_create(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("no-such-program"))
    done = runtime("create", runtime.id)
    assert 'exec: "no-such-program": executable file not found in $PATH' in done.stderr
    assert list((runtime.directory / "root").iterdir()) == []


def test_a_program_that_is_none_is_told_by_start(runtime: Runtime) -> None:
    (runtime.bundle / "rootfs/bin/text").write_text("no format of the kernel's")
    (runtime.bundle / "rootfs/bin/text").chmod(0o755)
    runtime.create("text")
    assert "exec format error" in runtime("start", runtime.id).stderr
    assert runtime.status() == "stopped"


def test_no_process_can_be_created_but_not_started(runtime: Runtime) -> None:
    spec = runtime_spec("x")
    spec.process = None
    runtime.configure(spec)
    runtime.quietly("create", runtime.id)
    assert "without a process" in runtime("start", runtime.id).stderr


def test_null_is_nothing(runtime: Runtime) -> None:
    """As programs in Go read it, and write it."""
    runtime.configure(runtime_spec("true"))
    config = json.loads((runtime.bundle / "config.json").read_text())
    config["linux"] |= {"timeOffsets": None, "sysctl": None, "devices": None}
    config |= {"annotations": None, "hooks": {"prestart": None}}
    (runtime.bundle / "config.json").write_text(json.dumps(config))
    runtime.ok("run", runtime.id)


def test_a_failed_create_leaves_nothing(runtime: Runtime) -> None:
    spec = runtime_spec("true")
    spec.mounts.append(spec.mounts[0].__class__("/x", "no-such-fs", "x"))
    runtime.configure(spec)
    assert "no-such-fs" in runtime("create", runtime.id).stderr
    assert list((runtime.directory / "root").iterdir()) == []


def test_errors_are_logged_as_json(runtime: Runtime) -> None:
    log = runtime.directory / "log"
    assert runtime("--log", str(log), "--log-format", "json", "state", "nobody").returncode == 1
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert (entry["level"], "container does not exist" in entry["msg"]) == ("error", True)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_what_is_done_is_logged_for_who_looks_for_bugs(runtime: Runtime, kind: str) -> None:
    runtime.configure(runtime_spec("true"))
    log = runtime.directory / "log"
    assert runtime("--debug", "--log", str(log), "--log-format", kind, "run", runtime.id).stderr == ""
    lines = log.read_text().splitlines()
    if kind == "json":
        assert {json.loads(line)["level"] for line in lines} == {"debug"}
    assert all("debug" in line for line in lines)
    assert runtime.id in log.read_text()
    assert "level=debug msg=" in runtime("--debug", "run", runtime.id).stderr


def test_no_such_command(runtime: Runtime) -> None:
    done = runtime("foo", "-h")
    assert (done.returncode, done.stderr) == (3, "No help topic for 'foo'\n")
    assert "checkpoints of containers are not supported" in runtime("checkpoint", "--leave-running", "x").stderr


def test_hooks_in_their_order_and_places(runtime: Runtime) -> None:
    noted = runtime.directory / "noted"
    spec = runtime_spec("true")

    def hook(name: str, shell: str, path: str) -> list[Hook]:
        return [Hook(shell, ["sh", "-c", f"echo {name} $(grep -o 'status\":\"[a-z]*' | cut -c10-) >>{path}"])]

    outside = {name: hook(name, "/bin/sh", str(noted)) for name in ("prestart", "createRuntime", "createContainer")}
    spec.hooks = Hooks(
        prestart=outside["prestart"],
        create_runtime=outside["createRuntime"],
        create_container=outside["createContainer"],
        start_container=[Hook("/bin/sh", ["sh", "-c", "cat >/tmp/told"])],
        poststart=hook("poststart", "/bin/sh", str(noted)),
        poststop=hook("poststop", "/bin/sh", str(noted)),
    )
    runtime.configure(spec)
    runtime.ok("run", runtime.id)
    assert noted.read_text().split() == [
        *("prestart", "created", "createRuntime", "created", "createContainer", "created"),
        *("poststart", "running", "poststop", "stopped"),
    ]
    told = json.loads((runtime.bundle / "rootfs/tmp/told").read_text())
    assert (told["id"], told["pid"]) == (runtime.id, 1)


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_failing_hook_fails_the_command(runtime: Runtime, name: str) -> None:
    spec = runtime_spec("touch", "/tmp/ran")
    hooks = [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "echo a word >&2; exit 1"]}]
    spec.hooks = msgspec.convert({name: hooks}, Hooks)
    runtime.configure(spec)
    done = runtime("run", runtime.id)
    assert f"error running hook #1 of {name}: /bin/sh: exit status 1: a word\n" in done.stderr
    assert not (runtime.bundle / "rootfs/tmp/ran").exists()
    assert runtime.ok("list", "-q") == ""


def test_hooks_mount_in_the_root_before_it_is_the_root(runtime: Runtime) -> None:
    """Both by its path and over what the container has there, as those of graphics drivers do."""
    marks = {name: runtime.directory / name for name in ("runtime", "container")}
    for name, mark in marks.items():
        mark.write_text(f"{name}\n")
        (runtime.bundle / "rootfs" / name).touch()
    enter = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); exec nsenter -m -t $pid "
    mount = f"mount --bind {marks['runtime']} {runtime.bundle}/rootfs/runtime"
    spec = runtime_spec("cat", "/runtime", "/container")
    spec.hooks = Hooks(
        create_runtime=[Hook("/bin/sh", ["sh", "-c", enter + mount], ["PATH=/usr/bin:/bin"])],
        create_container=[Hook("/bin/mount", ["mount", "--bind", str(marks["container"]), "container"])],
    )
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == "runtime\ncontainer\n"


@pytest.mark.parametrize(("version", "alive"), [("1.0.2-dev", True), ("1.2.0", False)])
def test_a_failing_hook_after_the_start(runtime: Runtime, version: str, alive: bool) -> None:
    """It is a failure since version 1.2 of the specification; before it was a warning."""
    spec = runtime_spec("sleep", "60")
    spec.oci_version = version
    touch = Hook("/bin/touch", ["touch", str(runtime.directory / "touched")])
    spec.hooks = Hooks(
        poststart=[Hook("/bin/false", ["false"]), touch], poststop=[Hook("/bin/false", ["false"]), touch]
    )
    runtime.configure(spec)
    runtime.quietly("create", runtime.id)
    done = runtime("start", runtime.id)
    assert (done.returncode == 0, "error running hook #0 of poststart: /bin/false" in done.stderr) == (alive, True)
    assert bool(runtime.ok("list", "-q")) == alive
    assert (runtime.directory / "touched").exists()  # by poststart, or by poststop


def test_mounts_are_listed_in_their_order(runtime: Runtime, tmp_path: Path) -> None:
    """Since Linux 6.8 mountinfo is sorted by when mounts were made, not by when they were attached."""
    spec = runtime_spec("cat", "/proc/self/mountinfo")
    for place, options in (("/mnt/a", ["rbind"]), ("/mnt/b", []), ("/mnt/c", ["bind", "slave"])):
        spec.mounts.append(Mount(place, None if options else "tmpfs", str(tmp_path / "bundle/rootfs/tmp"), options))
    runtime.configure(spec)
    places = [line.split()[4] for line in runtime.ok("run", runtime.id).splitlines()]
    assert [place for place in places if place.startswith("/mnt/")] == ["/mnt/a", "/mnt/b", "/mnt/c"]


def test_a_container_that_sees_the_host_is_not_a_part_of_itself(runtime: Runtime) -> None:
    spec = runtime_spec("cat", "/proc/self/mountinfo")
    spec.mounts.append(Mount("/mnt", None, "/", ["rbind"]))
    runtime.configure(spec)
    places = [line.split()[4] for line in runtime.ok("run", runtime.id).splitlines()]
    assert "/mnt" in places and f"/mnt{runtime.bundle}/rootfs" not in places


def test_a_hook_that_takes_too_long(runtime: Runtime) -> None:
    spec = runtime_spec("true")
    spec.hooks = Hooks(create_runtime=[Hook("/bin/sleep", ["sleep", "60"], timeout=1)])
    runtime.configure(spec)
    assert "ran past its timeout of 1 s" in runtime("run", runtime.id).stderr


def test_a_hook_in_the_container_has_the_programs_environment(runtime: Runtime) -> None:
    """Unless it names one: not of the specification, but so with runc ever since."""
    spec = runtime_spec("cat", "/told", env=["PATH=/bin", "A=b"])
    script = "echo $A $HOME >> /told"
    hooks = [Hook("/bin/sh", ["sh", "-c", script]), Hook("/bin/sh", ["sh", "-c", script], ["HOME=/own"])]
    spec.hooks = Hooks(start_container=hooks)
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == "b /root\n/own\n"


def test_a_hook_that_is_killed(runtime: Runtime) -> None:
    spec = runtime_spec("true")
    spec.hooks = Hooks(start_container=[Hook("/bin/sh", ["sh", "-c", "kill -SYS $$"])])
    runtime.configure(spec)
    assert (
        "error running hook #0 of startContainer: /bin/sh: signal: bad system call" in runtime("run", runtime.id).stderr
    )


def test_exec(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    script = "echo $A $(pwd) $(id -u) $(hostname); exit 5"
    done = runtime("exec", "-e", "A=b", "--cwd", "/tmp", "-u", "7:8", runtime.id, "sh", "-c", script)
    assert (done.returncode, done.stdout) == (5, "b /tmp 7 box\n")
    done = runtime("exec", runtime.id, "no-such-program")
    assert (done.returncode, "executable file not found in $PATH" in done.stderr) == (255, True)


def test_exec_in_the_background(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    pid_file = runtime.directory / "pid"
    process = {"args": ["sleep", "50"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (runtime.directory / "process.json").write_text(json.dumps(process))
    command = ["exec", "--detach", "--pid-file", str(pid_file), "--process", str(runtime.directory / "process.json")]
    runtime.quietly(*command, runtime.id)
    assert int(pid_file.read_text()) in json.loads(runtime.ok("ps", "-f", "json", runtime.id))


@pytest.fixture
def deep(runtime: Runtime) -> Cgroup:
    """A group below that of a container that runs, in every hierarchy."""
    runtime.up("sleep", "60")
    cgroup = Cgroup(detect(), f"/knarr-test-{runtime.id}/deep")
    if cgroup.hierarchies.mode == "v2":  # in which a group with processes can hand on no controllers
        os.mkdir(f"{cgroup.hierarchies.unified}/knarr-test-{runtime.id}/deep")
    else:
        cgroup.create()
    return cgroup


def test_exec_below_the_control_group(runtime: Runtime, deep: Cgroup) -> None:
    shown = runtime.ok("exec", "--cgroup", "deep", runtime.id, "cat", "/proc/self/cgroup")
    assert {line.rpartition(":")[2] for line in shown.splitlines()} == {"/deep"}
    for name in deep.hierarchies.controllers:
        shown = runtime.ok("exec", "--cgroup", f"{name}:/deep", runtime.id, "grep", "/deep$", "/proc/self/cgroup")
        assert shown.split(":")[1] == name
    for wanted, words in (
        ("..", ".. is not a sub cgroup path"),
        ("nowhere", "/nowhere/cgroup.procs: no such file or directory"),
        ("no-such:deep", "unknown controller no-such"),
    ):
        done = runtime("exec", "--cgroup", wanted, runtime.id, "true")
        assert (done.returncode, words in done.stderr) == (255, True), done.stderr


def test_exec_where_the_control_group_has_no_room(runtime: Runtime, deep: Cgroup) -> None:
    """A container with a manager of services in it hands its controllers on to groups below its own."""
    parent = Path(f"{deep.hierarchies.unified}/knarr-test-{runtime.id}")
    if not (offered := deep.hierarchies.unified and (parent / "cgroup.controllers").read_text().split()):
        pytest.skip("no controllers here in cgroup v2")
    pid = json.loads(runtime.ok("state", runtime.id))["pid"]
    (parent / "deep/cgroup.procs").write_text(str(pid))
    (parent / "cgroup.subtree_control").write_text(f"+{offered[0]}")
    assert "0::/deep\n" in runtime.ok("exec", runtime.id, "cat", "/proc/self/cgroup")


def test_paused(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    runtime.ok("pause", runtime.id)
    assert runtime.status() == "paused"
    assert "cannot exec in a paused container" in runtime("exec", runtime.id, "true").stderr
    runtime.ok("resume", runtime.id)
    assert runtime.status() == "running"


def exe_flags(pid: int) -> int:
    """The mount flags (statvfs(3)) of what a process was executed from."""
    fd = os.open(f"/proc/{pid}/exe", os.O_PATH)
    try:
        return os.fstatvfs(fd).f_flag
    finally:
        os.close(fd)


def test_a_waiting_container_is_no_way_to_write_to_the_interpreter(runtime: Runtime) -> None:
    runtime.create("true")
    assert exe_flags(json.loads(runtime.ok("state", runtime.id))["pid"]) & os.ST_RDONLY


def test_the_view_of_the_interpreter(tmp_path: Path) -> None:
    view = f"{tmp_path}/view"
    sealing.make_view(view)
    sealing.make_view(view)  # instead of the first
    try:
        command = [f"{view}/bin/python", "-I", "-S", "-B", f"{view}/start.pyc", "--root", str(tmp_path), "list", "-q"]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b""
        assert os.statvfs(f"{view}/bin/python").f_flag & os.ST_RDONLY
        assert Path("/proc/self/mountinfo").read_text().count(f" {view}/bin/python ") == 1
    finally:
        mounts.umount(f"{view}/bin/python")


def test_without_a_view_the_interpreter_is_on_a_detached_mount(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("true"))
    program = "from knarr.runtime import sealing; sealing.VIEWS = '/proc/nowhere'; sealing.main()"
    command = [sys.executable, "-c", program, "--root", str(runtime.directory / "root"), "create", runtime.id]
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=runtime.bundle, stdin=null, stdout=null, stderr=null, check=True)
    assert exe_flags(json.loads(runtime.ok("state", runtime.id))["pid"]) & os.ST_RDONLY


def test_a_spec_of_runc_s(runtime: Runtime) -> None:
    """Its ambient capabilities are inheritable by nobody: they are left out."""
    spec = runtime_spec("grep", "CapAmb", "/proc/self/status")
    assert spec.process is not None and spec.process.capabilities is not None
    spec.process.capabilities = Capabilities(["CAP_KILL"], ["CAP_KILL"], [], ["CAP_KILL"], ["CAP_KILL"])
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == "CapAmb:\t0000000000000000\n"


@pytest.mark.parametrize(("user", "home"), [(0, "/root"), (7, "/")])
def test_the_users_home_is_told_where_nobody_has(runtime: Runtime, user: int, home: str) -> None:
    spec = runtime_spec("sh", "-c", "echo $HOME")
    spec.process.user.uid = user
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == f"{home}\n"


def test_a_home_that_is_empty_is_none(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", "echo $HOME", env=["PATH=/bin", "HOME="]))
    assert runtime.ok("run", runtime.id) == "/root\n"


def test_a_file_of_users_that_is_none(runtime: Runtime) -> None:
    passwd = runtime.bundle / "rootfs/etc/passwd"
    passwd.unlink()
    os.mkfifo(passwd)
    runtime.configure(runtime_spec("sh", "-c", "echo $HOME"))
    assert runtime.ok("run", runtime.id) == "/\n"


def test_scheduling(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "ionice -p 1; uname -m; cat /proc/1/stat")
    assert spec.process is not None
    spec.process.scheduler = Scheduler("SCHED_BATCH", nice=7)
    spec.process.io_priority = IoPriority("IOPRIO_CLASS_BE", 6)
    spec.linux.personality = Personality("LINUX32")
    runtime.configure(spec)
    priority, machine, status = runtime.ok("run", runtime.id).splitlines()
    assert priority == "best-effort: prio 6"
    assert machine in ("i686", "armv8l")
    assert (status.split()[18], status.split()[40]) == ("7", str(os.SCHED_BATCH))


def test_clocks_of_its_own(runtime: Runtime) -> None:
    spec = runtime_spec("cat", "/proc/uptime")
    spec.linux.namespaces.append(Namespace("time"))
    spec.linux.time_offsets = {"boottime": TimeOffset(1_000_000), "monotonic": TimeOffset(5)}
    runtime.configure(spec)
    ours = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert float(runtime.ok("run", runtime.id).split()[0]) >= ours + 1_000_000


def test_an_added_process_is_where_the_clocks_are_and_on_its_cpus(runtime: Runtime) -> None:
    spec = runtime_spec("sleep", "60")
    spec.linux.namespaces.append(Namespace("time"))
    spec.linux.time_offsets = {"boottime": TimeOffset(1_000_000)}
    runtime.configure(spec)
    runtime.quietly("run", "--detach", runtime.id)
    script = "cut -d. -f1 /proc/uptime; grep Cpus_allowed_list /proc/self/status"
    cpu = min(os.sched_getaffinity(0))
    process = {"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]}
    process |= {"execCPUAffinity": {"initial": str(cpu), "final": str(cpu)}}
    (runtime.directory / "process.json").write_text(json.dumps(process))
    uptime, cpus = runtime.ok("exec", "-p", str(runtime.directory / "process.json"), runtime.id).splitlines()
    assert int(uptime) > 1_000_000 and cpus.split() == ["Cpus_allowed_list:", str(cpu)]


def _notifying(name: str, listener: str = "") -> dict[str, Any]:
    rules = [{"names": [name], "action": "SCMP_ACT_NOTIFY"}]
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, "listenerPath": listener, "listenerMetadata": "mine"}


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_listener_answers_system_calls(runtime: Runtime, tmp_path: Path, no_new_privileges: bool) -> None:
    spec = runtime_spec("mkdir", "/tmp/made", no_new_privileges=no_new_privileges)
    spec.linux.seccomp = msgspec.convert(_notifying("mkdir", str(tmp_path / "agent")), Seccomp)
    runtime.configure(spec)
    agent = Agent(tmp_path / "agent")
    try:
        refused = runtime("run", runtime.id)
        spec.process.args = ["sleep", "60"]
        runtime.configure(spec)
        runtime.quietly("run", "--detach", runtime.id)
        added = runtime("exec", runtime.id, "mkdir", "/tmp/made")
    finally:
        agent.close()
    assert refused.returncode == added.returncode == 1
    assert "No medium found" in refused.stderr and "No medium found" in added.stderr
    first, second, third = agent.states
    assert (first["fds"], first["metadata"]) == (["seccompFd"], "mine")
    assert (first["state"]["id"], first["state"]["status"]) == (runtime.id, "creating")
    main = json.loads(runtime.ok("state", runtime.id))["pid"]
    assert (second["pid"], third["state"]["pid"]) == (main, main) and third["pid"] != main


def test_a_call_that_is_being_answered_is_not_interrupted(runtime: Runtime, tmp_path: Path) -> None:
    """SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: signals wait, the caller sleeps in state D (proc_pid_stat(5))."""

    def interrupt(pid: int) -> None:
        os.kill(pid, signal.SIGUSR1)
        until = time.monotonic() + 5
        while (state := _state(pid)) != "D" and time.monotonic() < until:
            pass
        states.append(state)

    states: list[str] = []
    spec = runtime_spec("sh", "-c", "trap 'echo caught' USR1; kill -0 $$")
    profile = _notifying("kill", str(tmp_path / "agent")) | {"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}
    spec.linux.seccomp = msgspec.convert(profile, Seccomp)
    runtime.configure(spec)
    agent = Agent(tmp_path / "agent", interrupt)
    try:
        done = runtime("run", runtime.id)
    finally:
        agent.close()
    assert ("No medium found" in done.stderr, done.stdout, states) == (True, "caught\n", ["D"])


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_listeners_flag_without_a_listener(runtime: Runtime) -> None:
    """As libseccomp has it: nobody waits."""
    spec = runtime_spec("echo", "ran")
    spec.linux.seccomp = Seccomp("SCMP_ACT_ALLOW", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == "ran\n"


@pytest.mark.parametrize(
    ("linux", "words"),
    [
        ({"intelRdt": {"closID": "x/y"}}, 'invalid intelRdt.ClosID "x/y"'),
        ({"intelRdt": {"closID": "no-such"}}, "intelRdt"),
        ({"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}}, "SCMP_ACT_NOTIFY cannot be used as default action"),
        ({"seccomp": _notifying("write")}, "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
        ({"seccomp": _notifying("mkdir")}, "SCMP_ACT_NOTIFY needs a listenerPath"),
        ({"seccomp": _notifying("mkdir", "/no/agent")}, "failed to connect with seccomp agent"),
        ({"timeOffsets": {"boottime": {"secs": 1}}}, "timeOffsets need a new time namespace"),
        ({"personality": {"domain": "SOLARIS"}}, "invalid personality domain: SOLARIS"),
        ({"memoryPolicy": {"mode": "MPOL_LUCK"}}, "invalid memoryPolicy.mode: MPOL_LUCK"),
        ({"resources": {"rdma": {"mlx5_1": {"hcaHandles": 3}}}}, "rdma.max"),
        ({"resources": {"blockIO": {"leafWeight": 10}}}, "leaf"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(runtime: Runtime, linux: dict[str, Any], words: str) -> None:
    runtime.configure(runtime_spec("true"))
    config = json.loads((runtime.bundle / "config.json").read_text())
    config["linux"] |= linux
    (runtime.bundle / "config.json").write_text(json.dumps(config))
    refused = runtime("run", runtime.id)
    assert refused.returncode == 1 and words in refused.stderr


def test_limits_and_figures(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    runtime.ok("update", "--resources", "-", runtime.id, stdin=None, input=json.dumps({"pids": {"limit": 77}}))
    assert json.loads(runtime.ok("events", "--stats", runtime.id))["data"]["pids"] == {"current": 1, "limit": 77}


def test_a_limit_below_what_is_used_can_be_refused(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    memory = {"limit": 4096, "checkBeforeUpdate": True}
    refused = runtime("update", "-r", "-", runtime.id, stdin=None, input=json.dumps({"memory": memory}))
    assert "rejecting memory limit 4096 as it is below the current usage" in refused.stderr


@pytest.mark.skipif(detect().unified is None, reason="this host has no cgroup v2")
def test_files_of_cgroup_v2(runtime: Runtime) -> None:
    spec = runtime_spec("sleep", "60")
    spec.linux.resources = Resources(unified={"cgroup.max.descendants": "3"})
    runtime.configure(spec)
    runtime.quietly("run", "--detach", runtime.id)
    group = Path(f"{detect().unified}/{spec.linux.cgroups_path}")
    assert (group / "cgroup.max.descendants").read_text() == "3\n"


def test_a_terminal_by_socket(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "tty; echo $TERM", terminal=True)
    runtime.configure(spec)
    assert "without setting console socket" in runtime("create", runtime.id).stderr
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{runtime.directory}/tty")
        listener.listen()
        runtime.ok("create", "--console-socket", f"{runtime.directory}/tty", runtime.id)
        connection, _ = listener.accept()
    with connection:
        _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
    runtime.ok("start", runtime.id)
    assert os.read(master, 100).startswith(b"/dev/pts/0")
    os.close(master)


def test_our_own_terminal_is_joined_with_the_containers(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", "read line; echo got $line; tty; exit 4", terminal=True))
    master, slave = pty.openpty()
    command = [str(PROGRAM), "--root", str(runtime.directory / "root"), "run", runtime.id]
    with subprocess.Popen(command, cwd=runtime.bundle, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, b"word\r")
        seen = b""
        while b"/dev/pts/0" not in seen:
            seen += os.read(master, 1000)
        assert b"got word" in seen
        assert process.wait(30) == 4
    os.close(master)


def test_a_terminal_that_writes_to_a_pipe_ends_lines_as_files_do(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", "tty; echo done", terminal=True))
    assert runtime.ok("run", runtime.id, stdin=None, input="") == "/dev/pts/0\ndone\n"


def test_where_the_caller_may_run_is_no_matter(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("grep", "Cpus_allowed_list", "/proc/self/status"))
    allowed = runtime.ok("run", runtime.id)
    pinned = runtime.ok("run", runtime.id, preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    assert pinned == allowed


def test_descriptors_are_kept_only_where_asked(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("ls", "/proc/self/fd"))
    reader, writer = os.pipe()
    try:
        os.dup2(reader, 3)
        os.set_inheritable(3, True)
        kept = runtime.ok("run", "--preserve-fds", "1", runtime.id, pass_fds=[3])
        closed = runtime.ok("run", runtime.id, pass_fds=[3])
    finally:
        for fd in (reader, writer):
            os.close(fd)
    assert (kept.split(), closed.split()) == (["0", "1", "2", "3", "4"], ["0", "1", "2", "3"])


def test_signals_reach_the_program(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", "trap 'exit 9' TERM; echo on; while :; do sleep 0.1; done"))
    command = [str(PROGRAM), "--root", str(runtime.directory / "root"), "run", runtime.id]
    with subprocess.Popen(command, cwd=runtime.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"on\n"
        process.terminate()
        assert process.wait(30) == 9


def test_the_interpreter_cannot_be_written_to_from_a_container(runtime: Runtime) -> None:
    runtime.create("true")
    pid = json.loads(runtime.ok("state", runtime.id))["pid"]
    own = os.stat(sys.executable)
    info = os.stat(f"/proc/{pid}/exe")
    assert (info.st_dev, info.st_ino) == (own.st_dev, own.st_ino)
    with pytest.raises(OSError, match=r"Read-only file system|Text file busy"):
        os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))
    assert processes.start_time(pid)


def test_a_new_configuration_runs(runtime: Runtime) -> None:
    runtime.ok("spec")
    assert "Remove it first" in runtime("spec").stderr
    config = json.loads((runtime.bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", "echo well"]}
    assert config["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    config["linux"]["cgroupsPath"] = f"/knarr-test-{runtime.id}"
    (runtime.bundle / "config.json").write_text(json.dumps(config))
    assert runtime.ok("run", runtime.id) == "well\n"


def test_features() -> None:
    features = json.loads(subprocess.check_output([str(PROGRAM), "features"]))
    assert features["ociVersionMin"] == "1.0.0"
    assert {"ro", "rbind", "rslave", "ridmap"} <= {*features["mountOptions"]}
    assert "SCMP_ACT_ERRNO" in features["linux"]["seccomp"]["actions"]


def test_events_until_its_end(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "read -r go < /go; (head -c 64m /dev/zero | tail > /dev/null); sleep 60")
    spec.linux.resources = Resources(memory=Memory(limit=32 << 20, swap=32 << 20))
    os.mkfifo(runtime.bundle / "rootfs/go")
    runtime.configure(spec)
    runtime.quietly("run", "-d", runtime.id)
    command = [str(PROGRAM), "--root", str(runtime.directory / "root"), "events", "--interval", "60s", runtime.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["type"], first["data"]["memory"]["usage"]["limit"]) == ("stats", 32 << 20)
        (runtime.bundle / "rootfs/go").write_text("go\n")
        assert json.loads(process.stdout.readline()) == {"type": "oom", "id": runtime.id}
        runtime.ok("kill", runtime.id, "KILL")
        assert process.wait(10) == 0


def test_what_it_cannot_do_is_refused(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("true"))
    assert "makes its cgroups itself" in runtime("--systemd-cgroup", "create", runtime.id).stderr


def test_devices_that_every_container_may_use(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "echo x >/dev/null && head -c1 /dev/zero | wc -c; mknod /tmp/k c 1 11; cat /tmp/k")
    spec.linux.resources = Resources(devices=[DeviceRule(False, access="rwm")])
    runtime.configure(spec)
    done = runtime("run", runtime.id)
    assert (done.stdout.strip(), "Operation not permitted" in done.stderr) == ("1", True)


@pytest.mark.skipif(Path("/sys/fs/selinux/enforce").exists(), reason="a label means something here")
def test_without_selinux_there_are_no_labels(runtime: Runtime) -> None:
    spec = runtime_spec("echo", "ran")
    spec.linux.mount_label = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id) == "ran\n"


def test_a_cgroup_that_is_there_already(runtime: Runtime) -> None:
    spec = runtime_spec("sleep", "60")
    spec.linux.cgroups_path = f"/knarr/{runtime.id}-shared"
    runtime.configure(spec)
    runtime.quietly("run", "--detach", runtime.id)
    spec.process.args = ["true"]
    runtime.configure(spec)
    try:
        runtime.quietly("pause", runtime.id)
        refused = runtime("run", f"{runtime.id}-2")
        assert refused.returncode == 1 and "container's cgroup unexpectedly frozen" in refused.stderr
        runtime.quietly("resume", runtime.id)
        assert (
            "container's cgroup is not empty: 1 process(es) found" in runtime("run", "--keep", f"{runtime.id}-2").stderr
        )
    finally:
        runtime.quietly("delete", "--force", f"{runtime.id}-2")


def test_signal_0_asks_only(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sleep", "60"))
    runtime.quietly("run", "--detach", runtime.id)
    runtime.ok("kill", runtime.id, "0")
    assert json.loads(runtime.ok("state", runtime.id))["status"] == "running"


def test_limits_may_have_units(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sleep", "60"))
    runtime.quietly("run", "--detach", runtime.id)
    runtime.ok("update", "--memory", "50M", runtime.id)
    assert json.loads(runtime.ok("events", "--stats", runtime.id))["data"]["memory"]["usage"]["limit"] == 50 << 20


def test_a_read_only_dev_is_filled_first(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "ls /dev/null /dev/pts/ptmx; touch /dev/x")
    next(mount for mount in spec.mounts if mount.destination == "/dev").options.append("ro")
    runtime.configure(spec)
    done = runtime("run", runtime.id)
    assert done.stdout.split() == ["/dev/null", "/dev/pts/ptmx"] and "Read-only file system" in done.stderr


def test_a_hook_at_the_start_has_the_programs_rights(runtime: Runtime) -> None:
    spec = runtime_spec("true", no_new_privileges=True)
    spec.linux.seccomp = Seccomp("SCMP_ACT_ALLOW", syscalls=[SeccompSyscall(["mkdir", "mkdirat"], "SCMP_ACT_ERRNO")])
    spec.hooks = Hooks(start_container=[Hook("/bin/mkdir", ["mkdir", "/tmp/made"])])
    runtime.configure(spec)
    refused = runtime("run", runtime.id)
    assert (
        refused.returncode == 1
        and "error running hook #0 of startContainer: /bin/mkdir: exit status 1" in refused.stderr
    )
