"""create and start: from a bundle to a running program, by two commands."""

from __future__ import annotations

import os
import select
import sys
import time

from knarr.compute.native import hooks, host, launch, planner, stage
from knarr.compute.native.gate import Gate
from knarr.compute.native.hooks import HookFailed, HookPlan, Told
from knarr.compute.native.launch import Given, Launched, LaunchError
from knarr.compute.native.plan import CgroupPlan, ExecDefaults, Plan, ProcessPlan
from knarr.compute.spec import DeviceRule, Hook, Process, RuntimeSpec
from knarr.errors import Conflict, InvalidParameter
from knarr.kernel import mounts, namespaces, processes
from knarr.light import ExitStack, MsgspecError, NamedTuple, decode_json, replace, suppress
from knarr.runtime import console, ending, listening
from knarr.runtime.containers import FAILURE_FIFO, START_FIFO, Container, Store, open_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_NAME = "config.json"
_DEVICES = [
    *(DeviceRule(True, kind, access="m") for kind in ("c", "b")),
    *(DeviceRule(True, "c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
    *(DeviceRule(True, "c", 5, minor, "rwm") for minor in (0, 2)),
    DeviceRule(True, "c", 136, None, "rwm"),
]
"""What runc allows every container on top of its rules: to make nodes, the default devices, terminals."""


_KEEP_GROUPS = "run.oci.keep_original_groups"
"""crun's annotation, of podman's `--group-add keep-groups`: a user's own groups, of which none can be named in a user
namespace."""


class Wish(NamedTuple):
    """How a container is to be created. Without `console_socket` a terminal's master is given back."""

    id: str
    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    preserve_fds: int = 0


def read_spec(bundle: str) -> RuntimeSpec:
    """A bundle's configuration. Raises InvalidParameter."""
    try:
        with open(f"{bundle}/{CONFIG_NAME}", "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise InvalidParameter(f"JSON specification file {CONFIG_NAME} not found") from None
    try:
        return decode_json(data, type=RuntimeSpec)
    except MsgspecError:
        from knarr.runtime import documents  # for a second look, or better words

        return documents.decode(data, RuntimeSpec, CONFIG_NAME)


def create(store: Store, wish: Wish, spec: RuntimeSpec) -> tuple[Container, Launched]:
    """A container whose program waits. Raises KnarrError, LaunchError, OSError; then nothing is left of it."""
    bundle = os.path.realpath(wish.bundle)
    directory = store.make(wish.id)
    with ExitStack() as undo:
        undo.callback(store.remove, wish.id)
        plan = _plan(wish, spec, directory, bundle)
        _look_at_cgroup(plan.cgroup)
        container = _container(wish.id, bundle, spec, plan)
        undo.callback(ending.leave_groups, container)
        launched = _launch(store, container, spec, plan, wish)
        undo.callback(launch.give_up, launched, plan.cgroup)
        container.pid, container.pid_started = launched.pid, processes.start_time(launched.pid) or 0
        if plan.mount_namespace is not None:
            from knarr.runtime import shared_mounts

            container.shared_root = shared_mounts.attach(launched.pid, plan.root_path, plan.mount_namespace)
            undo.callback(shared_mounts.detach, container.shared_root)
        if launched.terminal is not None and wish.console_socket:
            console.send(launched.terminal, wish.console_socket)
        store.save(container)
        if wish.pid_file:
            write_pid(wish.pid_file, launched.pid)
        undo.pop_all()
    return container, launched


def _look_at_cgroup(plan: CgroupPlan) -> None:
    """One that is there already may be somebody else's. Raises Conflict if it is frozen: nothing would begin in it."""
    cgroup = launch.open_cgroup(plan)
    if cgroup.frozen():
        raise Conflict("container's cgroup unexpectedly frozen")
    if pids := cgroup.pids():
        print(f"warning: container's cgroup is not empty: {len(pids)} process(es) found", file=sys.stderr)


def _plan(wish: Wish, spec: RuntimeSpec, directory: str, bundle: str) -> Plan:
    if spec.root is None:
        raise InvalidParameter("root is not set in the runtime spec")
    for mount in spec.mounts:
        if mount.source and not mount.source.startswith("/") and {"bind", "rbind"}.intersection(mount.options):
            mount.source = os.path.join(bundle, mount.source)
    if spec.linux.resources is not None and spec.linux.resources.devices:
        spec.linux.resources.devices += _DEVICES
    given = spec.process
    planned = given if given is not None and given.args else Process(args=["/"])  # start will refuse it
    rootfs = os.path.join(bundle, spec.root.path)
    request = planner.Bundle(wish.id, replace(spec, process=planned), directory, rootfs)
    plan = planner.plan_system(request, host.look())
    plan.process.args = given.args if given is not None else []
    plan.process.preserve_fds = wish.preserve_fds
    _pass_sockets(plan.process)
    if spec.annotations.get(_KEEP_GROUPS):
        plan.process.set_groups = False
    plan.told = hooks.Told(spec.oci_version, wish.id, "created", 0, bundle, spec.annotations)
    return plan


def _pass_sockets(process: ProcessPlan) -> None:
    """Pass on the sockets that are passed to us (sd_listen_fds(3)); they come before descriptors that are preserved."""
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isdecimal() or os.environ.get("LISTEN_PID") not in (None, str(os.getpid())):
        return
    process.preserve_fds += int(count)
    process.env += [f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    if names := os.environ.get("LISTEN_FDNAMES"):
        process.env.append(f"LISTEN_FDNAMES={names}")


def keep_open(count: int) -> None:
    """Let descriptors from 3 on outlive execve; one that is not open is none that is passed on."""
    for fd in range(3, 3 + count):
        with suppress(OSError):
            os.set_inheritable(fd, True)


def _container(id: str, bundle: str, spec: RuntimeSpec, plan: Plan) -> Container:
    after = spec.hooks
    cgroup = replace(plan.cgroup, writes=[], device_program=b"")
    return Container(
        id=id,
        bundle=bundle,
        rootfs=plan.root_path,
        created=time.time_ns(),
        cgroup=cgroup,
        process=spec.process if spec.process is not None and spec.process.args else None,
        owner=os.geteuid(),
        oci_version=spec.oci_version,
        annotations=spec.annotations,
        has_users=plan.has_users,
        owns_pids=bool(plan.new & namespaces.CLONE_NEWPID),
        defaults=ExecDefaults.of(plan.process),
        listener=(spec.linux.seccomp and spec.linux.seccomp.listener_path) or "",
        listener_metadata=(spec.linux.seccomp and spec.linux.seccomp.listener_metadata) or "",
        poststart=_planned(after.poststart) if after else [],
        poststop=_planned(after.poststop) if after else [],
    )


def _planned(given: list[Hook]) -> list[HookPlan]:
    return [planner.plan_hook(hook) for hook in given]


def _launch(store: Store, container: Container, spec: RuntimeSpec, plan: Plan, wish: Wish) -> Launched:
    directory = store.directory(wish.id)
    root = mounts.open_tree(mounts.AT_FDCWD, container.rootfs, clone=True, recursive=True)
    gate = Gate(_make_fifo(f"{directory}/{START_FIFO}"), _make_fifo(f"{directory}/{FAILURE_FIFO}"))
    keep_open(plan.process.preserve_fds)
    try:
        return launch.launch(
            plan,
            Given(
                root,
                streams=None if plan.process.terminal else (0, 1, 2),
                gate=gate,
                sibling=False,
                before_pivot=_before_pivot(store, container, spec),
                on_listener=listening.giver(container, lambda pid: _told(store, container, "creating", pid)),
            ),
        )
    finally:
        gate.close()


def _make_fifo(path: str) -> int:
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _before_pivot(store: Store, container: Container, spec: RuntimeSpec) -> Callable[[int], None] | None:
    """What is done outside of a container while it is being made, if there is anything."""
    devices, shares, given = spec.linux.net_devices, spec.linux.intel_rdt, spec.hooks
    planned = {}
    if given is not None and (given.prestart or given.create_runtime):
        planned = {"prestart": _planned(given.prestart), "createRuntime": _planned(given.create_runtime)}
    if shares is not None:
        from knarr.runtime import resctrl  # few ask for it

        resctrl.check(shares)
        place = resctrl.find()
    elif not devices and not planned:
        return None

    def run(pid: int) -> None:
        if devices:
            from knarr.runtime import net_devices

            net_devices.move(devices, pid)
        if shares is not None:
            container.resource_groups = resctrl.enter(place, shares, container.id, pid)
        try:
            for kind, those in planned.items():
                hooks.run_all(kind, those, _told(store, container, "created", pid), directory=container.bundle)
        except HookFailed as error:
            raise LaunchError(str(error)) from None

    return run


def _told(store: Store, container: Container, status: str, pid: int) -> Told:
    told = store.told(container, status)
    told.pid = pid
    return told


def write_pid(path: str, pid: int) -> None:
    """Write a --pid-file at once, so that nobody reads half of it."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def start(store: Store, container: Container) -> None:
    """Let the program of a created container run. Raises Conflict, LaunchError with what kept it from running."""
    status = store.status(container)
    if status != "created":
        raise Conflict(f"cannot start a container in the {status} state")
    if container.process is None:
        raise InvalidParameter("cannot start a container without a process: it is not set in the runtime spec")
    failure = _open_gate(store.directory(container.id))
    if failure is not None:
        _await_end(container)
        raise LaunchError(failure.text, failure.code)
    _run_poststart(store, container)


def _await_end(container: Container) -> None:
    """Of a process that is about to end: engines clean up at once after a failed start, and only what has ended."""
    try:
        pidfd = open_main(container)
    except Conflict:
        return
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll()
    finally:
        os.close(pidfd)


def _run_poststart(store: Store, container: Container) -> None:
    """A failure ends the container since version 1.2 of the specification; before, all were run, and it was told."""
    told = store.told(container, "running")
    if not container.poststart:
        return
    if _version(container.oci_version) < (1, 2):
        for failure in hooks.run_each("poststart", container.poststart, told, directory=container.bundle):
            print(f"warning: {failure}", file=sys.stderr)
        return
    try:
        hooks.run_all("poststart", container.poststart, told, directory=container.bundle)
    except HookFailed as error:
        ending.end(container)
        ending.delete(store, container)
        raise LaunchError(str(error)) from None


def _version(text: str) -> tuple[int, ...]:
    """(1, 0) for 1.0.2-dev."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())


def _open_gate(directory: str) -> stage.Failure | None:
    """Say START, and read what the process has to say until execve closes its end."""
    failures = os.open(f"{directory}/{FAILURE_FIFO}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        try:
            gate = os.open(f"{directory}/{START_FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # ENXIO: nobody waits
            raise Conflict("cannot start a container that has stopped") from None
        os.write(gate, stage.START)
        os.close(gate)
        message = _read_to_end(failures)
    finally:
        os.close(failures)
    for name in (START_FIFO, FAILURE_FIFO):
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{name}")
    return stage.decode_failure(message[1:]) if message.startswith(stage.FAILED) else None


def _read_to_end(fd: int) -> bytes:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    data = b""
    while True:
        poller.poll()
        piece = os.read(fd, 1 << 16)
        if not piece:
            return data
        data += piece
