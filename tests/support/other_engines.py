"""Other container engines with knarr-runtime below them: containerd, dockerd and podman, each with roots of its own.

Their daemons live in a network namespace of their own and are ended by their process id. Containers are in a control
group of the test's.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from compute_bench import make_root
from runtime_bench import PROGRAM

from knarr.kernel.cgroups import Cgroup, detect

_SECONDS = 30


def require(*programs: str) -> None:
    """Skip the test where one of the programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(
                f"{program} is not installed (scripts/setup does not where it is large, or another one is there)"
            )


class Engine:
    """What they have in common: a directory, a root file system, and a control group for containers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rootfs = make_root(directory / "rootfs")
        self.cgroup = f"/knarr-test-{uuid.uuid4().hex[:12]}"

    def command(self) -> list[str]:
        """What its client's words come after."""
        raise NotImplementedError

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        settings: dict[str, Any] = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        command = [*self.command(), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, **(settings | options))

    def ok(self, *words: str, **options: Any) -> str:
        """What a command prints that must succeed."""
        done = self(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """Leave nothing."""
        cgroup = Cgroup(detect(), self.cgroup)
        if cgroup.exists():
            _await_ends(cgroup)
            cgroup.remove()
        for rest in Path("/sys/fs/cgroup").glob(
            f"*{self.cgroup}"
        ):  # podman uses hierarchies that nobody has mounted, too
            subprocess.run(["find", rest, "-depth", "-delete"], stderr=subprocess.DEVNULL)


def _await_ends(cgroup: Cgroup) -> None:
    """Of members such as conmon, which cleans up on its own; they need not be in all hierarchies."""
    for joined in cgroup.join_files():
        for file in Path(joined).parent.rglob("cgroup.procs"):
            for pid in file.read_text().split():
                try:
                    pidfd = os.pidfd_open(int(pid))
                except ProcessLookupError:
                    continue
                select.select([pidfd], [], [], _SECONDS)
                os.close(pidfd)


class Service(Engine):
    """A daemon that says when it is ready (sd_notify(3))."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        """Returns when it is ready."""
        address = self.directory / "notify"
        launcher = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "-"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (self.directory / "log").open("wb") as log:
            ready.bind(str(address))
            self._process = subprocess.Popen([*launcher, *command], env=environment, stdout=log, stderr=log)
            pidfd = os.pidfd_open(self._process.pid)
            try:
                readable, _, _ = select.select([ready, pidfd], [], [], _SECONDS)
            finally:
                os.close(pidfd)
        if ready not in readable:
            self.close()
            pytest.fail(f"{command[0]} does not start:\n{(self.directory / 'log').read_text()}")

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_SECONDS)
        super().close()


class Containerd(Service):
    """containerd and ctr(8); containers are run from a directory, without an image."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.address = str(directory / "c.sock")
        config = directory / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.address}"\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{directory}/opt"\n'
        )
        self.start("containerd", "--config", str(config))

    def command(self) -> list[str]:
        return ["ctr", "--address", self.address]

    def running(self, id: str, *words: str, flags: Sequence[str] = ()) -> list[str]:
        """ctr run, with flags of its own."""
        own = ["--runc-binary", str(PROGRAM), "--env", "PATH=/bin", "--cgroup", f"{self.cgroup}/{id}"]
        return [*self.command(), "run", *own, *flags, "--rootfs", str(self.rootfs), id, *words]

    def run(self, id: str, *words: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        command = self.running(id, *words, flags=flags)
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS)


class Dockerd(Service):
    """dockerd over a containerd, whose default runtime is knarr-runtime."""

    def __init__(self, directory: Path, containerd: Containerd) -> None:
        super().__init__(directory)
        self.host = f"unix://{directory}/d.sock"
        self._data = directory / "data"
        places = ["--data-root", str(self._data), "--exec-root", f"{directory}/x", "--pidfile", f"{directory}/pid"]
        alone = ["--bridge", "none", "--iptables=false", "--cgroup-parent", self.cgroup]
        runtime = ["--add-runtime", f"knarr={PROGRAM}", "--default-runtime", "knarr"]
        config = directory / "daemon.json"
        config.write_text("{}")
        given = ["--host", self.host, "--config-file", str(config), "--containerd", containerd.address]
        self.start("dockerd", *places, *alone, *runtime, *given)

    def command(self) -> list[str]:
        return ["docker", "--host", self.host]

    def close(self) -> None:
        super().close()
        if self._data.is_mount():  # it does not always do so itself
            subprocess.run(["umount", self._data], check=True)

    def make_image(self, name: str) -> None:
        """An image of the root file system."""
        archive = self.directory / "image"
        subprocess.run(["tar", "--create", "--file", archive, "--directory", self.rootfs, "."], check=True)
        self.ok("import", str(archive), name)


class Podman(Engine):
    """podman, which has no daemon; containers are run from a directory, without an image."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._config = directory / "containers.conf"
        self._config.write_text('[containers]\ndefault_ulimits = ["nofile=256:512", "nproc=512:1024"]\n')

    def command(self) -> list[str]:
        places = [
            "--root",
            f"{self.directory}/data",
            "--runroot",
            f"{self.directory}/run",
            "--tmpdir",
            f"{self.directory}/t",
        ]
        given = ["--storage-driver", "vfs", "--events-backend", "file", "--cgroup-manager", "cgroupfs"]
        return ["env", f"CONTAINERS_CONF={self._config}", "podman", *places, *given, "--runtime", str(PROGRAM)]

    def run(self, *words: str, flags: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        """podman run, with flags of its own."""
        own = ["--network", "none", "--cgroup-parent", self.cgroup]
        return self("run", *own, *flags, "--rootfs", str(self.rootfs), *words, **options)

    def close(self) -> None:
        self("rm", "--all", "--force", "--time", "0")
        super().close()
