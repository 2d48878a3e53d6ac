"""What engines above knarr-runtime take for granted, as runc or crun does it: found by crun's tests and by podman."""

from __future__ import annotations

import os
import resource
import socket

import pytest
from compute_bench import runtime_spec
from runtime_bench import Runtime

from knarr.compute.spec import Capabilities, Hook, Hooks, Rlimit, User


def test_the_home_is_the_users(runtime: Runtime) -> None:
    (runtime.bundle / "rootfs/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\njoe:x:1000:1000::/home/joe:/bin/sh\n")
    runtime.up("sleep", "60")
    homes = [runtime.ok("exec", "--user", user, runtime.id, "sh", "-c", "echo $HOME") for user in ("0", "1000", "7")]
    assert homes == ["/root\n", "/home/joe\n", "/\n"]


def test_a_home_that_is_given_stays(runtime: Runtime) -> None:
    runtime.up("sleep", "60")
    assert runtime.ok("exec", "--env", "HOME=/mine", runtime.id, "sh", "-c", "echo $HOME") == "/mine\n"


def test_a_user_database_that_is_no_file(runtime: Runtime) -> None:
    passwd = runtime.bundle / "rootfs/etc/passwd"
    passwd.unlink(missing_ok=True)
    os.mkfifo(passwd)
    runtime.up("sleep", "60")
    assert runtime.ok("exec", runtime.id, "sh", "-c", "echo $HOME") == "/\n"


def test_capabilities_that_nobody_knows_are_left_out(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "grep CapEff /proc/self/status")
    names = ["CAP_KILL", "CAP_OF_TOMORROW"]
    spec.process.capabilities = Capabilities(bounding=names, permitted=names, effective=names)  # type: ignore[union-attr]
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id).split() == ["CapEff:", "0000000000000020"]


@pytest.mark.parametrize("uid", [0, 1000])
def test_capabilities_may_be_only_inheritable(runtime: Runtime, uid: int) -> None:
    spec = runtime_spec("sh", "-c", "grep -E 'CapInh|CapPrm' /proc/self/status")
    names = ["CAP_KILL"]
    spec.process.capabilities = Capabilities(bounding=names, inheritable=names)  # type: ignore[union-attr]
    spec.process.user = User(uid=uid)  # type: ignore[union-attr]
    runtime.configure(spec)
    permitted = "0000000000000020" if uid == 0 else "0000000000000000"  # execve(2) gives the superuser what is bounding
    assert runtime.ok("run", runtime.id).split() == ["CapInh:", "0000000000000020", "CapPrm:", permitted]


def test_hooks_of_the_host_have_our_environment_or_their_own(runtime: Runtime) -> None:
    def hook(name: str, env: list[str]) -> Hook:
        script = f'echo "$WHO" > {runtime.directory / name}'
        return Hook(path="/bin/sh", args=["sh", "-c", script], env=env)

    spec = runtime_spec("true")
    spec.hooks = Hooks(create_runtime=[hook("ours", []), hook("own", ["WHO=hook"])])
    runtime.configure(spec)
    runtime.ok("run", runtime.id, env={"WHO": "engine"})
    assert [(runtime.directory / name).read_text() for name in ("ours", "own")] == ["engine\n", "hook\n"]


def test_the_hostname_is_no_setting(runtime: Runtime) -> None:
    spec = runtime_spec("true")
    spec.linux.sysctl = {"kernel.hostname": "other"}
    runtime.configure(spec)
    assert 'conflicts with the OCI "hostname" field' in runtime("run", runtime.id).stderr


def test_a_limit_that_cannot_be_had_is_told_in_the_kernels_words(runtime: Runtime) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    spec = runtime_spec("true")
    spec.process.rlimits = [Rlimit("RLIMIT_NOFILE", hard, hard)]  # type: ignore[union-attr]
    runtime.configure(spec)
    lower = ["prlimit", f"--nofile={hard // 2}:{hard // 2}", "setpriv", "--bounding-set=-sys_resource"]
    done = runtime("run", runtime.id, prefix=[*lower, "--inh-caps=-sys_resource"])
    assert "error setting rlimit type 7: operation not permitted" in done.stderr


def test_sockets_are_passed_on(runtime: Runtime) -> None:
    """As systemd passes them: sd_listen_fds(3)."""
    runtime.configure(
        runtime_spec("sh", "-c", 'echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"; readlink /proc/self/fd/3')
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "door"}
        command = ["bash", "-c", f'exec 3<&{theirs.fileno()} {theirs.fileno()}<&-; exec "$@"', "-"]
        output = runtime.ok("run", runtime.id, prefix=command, env=environment, pass_fds=[theirs.fileno()])
    assert output.startswith("1 1 door\nsocket:[")


def test_sockets_of_somebody_else_are_not(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("sh", "-c", 'echo "$LISTEN_FDS"'))
    assert runtime.ok("run", runtime.id, env={"LISTEN_FDS": "1", "LISTEN_PID": "1"}) == "\n"


def test_descriptors_to_preserve_need_not_be_open(runtime: Runtime) -> None:
    runtime.configure(runtime_spec("echo", "through"))
    assert runtime.ok("run", "--preserve-fds", "5", runtime.id) == "through\n"


def test_the_callers_groups_can_be_kept(runtime: Runtime) -> None:
    spec = runtime_spec("sh", "-c", "grep Groups /proc/self/status")
    spec.annotations = {"run.oci.keep_original_groups": "1"}
    runtime.configure(spec)
    assert runtime.ok("run", runtime.id, extra_groups=[12, 34]).split() == ["Groups:", "12", "34"]
