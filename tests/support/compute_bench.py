"""Systems on the real kernel: a busybox root, a backend, and a bench to run programs on."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from knarr.compute.interface import Attachment, CreateRequest, ExecRequest, ExitStatus, LogSettings
from knarr.compute.native.backend import NativeBackend, NativeSystem
from knarr.compute.native.zygote_process import ZygoteProcess
from knarr.compute.oci.backend import OciBackend
from knarr.compute.spec import Capabilities, Linux, Mount, Namespace, Process, Root, RuntimeSpec
from knarr.kernel import mounts

T = TypeVar("T")
BUSYBOX = Path("/bin/busybox")
APPLETS = [
    *[
        "cat",
        "dd",
        "echo",
        "env",
        "false",
        "grep",
        "head",
        "hostname",
        "id",
        "ip",
        "kill",
        "ln",
        "ls",
        "mkdir",
        "mknod",
    ],
    *["mount", "ps", "readlink", "rm", "seq", "sh", "sleep", "stat", "stty", "tail", "touch", "true", "tty", "umount"],
    *["wc", "yes"],
]
CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETGID",
    "CAP_SETUID",
]


def make_root(directory: Path) -> Path:
    """A root filesystem with busybox's applets."""
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "root"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, directory / "bin")
    for applet in APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return directory


def runtime_spec(*args: str, **process: Any) -> RuntimeSpec:
    """What an engine asks for by default, in short."""
    sets = Capabilities(bounding=CAPABILITIES, effective=CAPABILITIES, permitted=CAPABILITIES)
    settings: dict[str, Any] = {"env": ["PATH=/bin"], "capabilities": sets} | process
    return RuntimeSpec(
        process=Process(args=list(args), **settings),
        root=Root("rootfs"),
        hostname="box",
        mounts=[
            Mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
            Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            Mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            Mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
            Mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            Mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
            Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", "nosuid", "noexec", "nodev"]),
        ],
        linux=Linux(
            namespaces=[Namespace(kind) for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup")],
            masked_paths=["/proc/kcore", "/proc/acpi", "/proc/keys", "/sys/firmware"],
            readonly_paths=["/proc/sys", "/proc/bus"],
        ),
    )


class Client:
    """The far end of an attachment."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)

    def attachment(self, **settings: Any) -> Attachment:
        """What the backend gets; its descriptor is given away."""
        return Attachment(fd=self.far.detach(), **({"framed": False} | settings))

    async def read_all(self) -> bytes:
        """Everything up to the end."""
        data = b""
        while piece := await self._loop.sock_recv(self.near, 65536):
            data += piece
        return data

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with a mark."""
        data = b""
        while mark not in data:
            piece = await self._loop.sock_recv(self.near, 65536)
            assert piece, f"the stream ended after {data!r}"
            data += piece
        return data

    async def send(self, data: bytes) -> None:
        """Input."""
        await self._loop.sock_sendall(self.near, data)

    def end_input(self) -> None:
        """Half-close."""
        self.near.shutdown(socket.SHUT_WR)


class Bench:
    """A backend, its root filesystem, and the systems made on it."""

    def __init__(self, directory: Path, runtime: str = "") -> None:
        """With the backend of `runtime`, a program's path, or with our own."""
        self.runtime = runtime
        self.directory = directory
        self.root = make_root(directory / "root")
        self.runner = asyncio.Runner()
        self.systems: list[NativeSystem] = []
        self._count = 0
        self.start_backend()

    def start_backend(self) -> None:
        """A new backend, as a new engine has it."""
        zygote = ZygoteProcess()
        self.native = self.backend = NativeBackend(zygote)
        if self.runtime:
            self.backend = OciBackend(Path(self.runtime).name, [self.runtime], zygote)
        self(self.native.start())

    def stop_backend(self) -> None:
        """As when the engine ends."""
        self(self.native.close())

    def __call__(self, awaitable: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await asyncio.wait_for(awaitable, 20)

        return self.runner.run(wrapped())

    def client(self) -> Client:
        """A new client."""
        return Client(self.runner.get_loop())

    def request(self, spec: RuntimeSpec, **settings: Any) -> CreateRequest:
        """A request for a system over a clone of the root."""
        self._count += 1
        id = f"{self.directory.name}-{os.getpid()}-{self._count}"  # others may run the same test on this host
        return CreateRequest(
            id=id,
            spec=spec,
            run_dir=self.directory / f"run-{self._count}",
            root_fd=mounts.open_tree(mounts.AT_FDCWD, str(self.root), clone=True),
            log=LogSettings(path=str(self.directory / f"{id}.log")),
            **settings,
        )

    def create(self, spec: RuntimeSpec, **settings: Any) -> NativeSystem:
        """A created system."""
        system = self(self.backend.create(self.request(spec, **settings)))
        self.systems.append(system)
        return system

    def start(self, spec: RuntimeSpec, **settings: Any) -> NativeSystem:
        """A running system."""
        system = self.create(spec, **settings)
        self(system.start())
        return system

    def run(self, spec: RuntimeSpec, **settings: Any) -> tuple[ExitStatus, str]:
        """Run to the end; the status and all output."""
        client = self.client()
        system = self.start(spec, attachments=[client.attachment()], **{"start": True} | settings)
        output = self.rest(system, client)
        return self(system.exited), output.decode(errors="replace")

    def rest(self, system: NativeSystem, client: Client) -> bytes:
        """All that a client still gets of a system that ends by itself."""

        async def end() -> None:
            await system.exited
            await system.delete()

        async def both() -> bytes:
            data, _ = await asyncio.gather(client.read_all(), end())
            return data

        return self(both())

    def output(self, script: str, **process: Any) -> str:
        """What a shell script prints in a default system."""
        return self.run(runtime_spec("sh", "-c", script, **process))[1]

    def exec(self, system: NativeSystem, *args: str, **process: Any) -> tuple[ExitStatus, str]:
        """Run a program in a running system."""
        client = self.client()
        spec = runtime_spec(*args, **process).process
        assert spec is not None
        request = ExecRequest(id=os.urandom(8).hex(), process=spec, attachment=client.attachment())
        execution = self(system.exec(request))
        output = self(client.read_all())
        return self(execution.exited), output.decode(errors="replace")

    def close(self) -> None:
        """Delete all that is left."""
        for system in self.systems:
            self(system.delete())
        self.stop_backend()
        self.runner.close()
