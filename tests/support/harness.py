"""A knarrd of the tests' own: started through its entry point, ready when it says so, gone without a trace."""

from __future__ import annotations

import errno
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import subordinate_user

from knarr.network import names

KNARRD = Path(sys.executable).with_name("knarrd")
READY_SECONDS = 30
ROOTLESS = bool(os.environ.get("KNARR_TEST_ROOTLESS"))
"""Whether daemons are an ordinary user's unless a test says otherwise."""

# zygote and shims stay in the cgroup that knarrd was started in: this is how they are found
_JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class StartError(Exception):
    """knarrd ended before it was ready; the text is what it wrote."""


class Daemon:
    """One knarrd with roots, socket and cgroup of its own. It may be started again after it has ended.

    With `rootless` it is an ordinary user's (see `subordinate_user`), with `one_id` one's who has no subordinate ids.
    """

    def __init__(self, *flags: str, hosts: Sequence[str] = (), rootless: bool = ROOTLESS, one_id: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kn", dir="/tmp"))  # short: a socket path has 107 bytes
        self.socket_path = self.directory / "s"
        self.host = f"unix://{self.socket_path}"
        self.hosts = list(hosts) or [self.host]
        self.bridge = names.bridge_name(self.run_root)
        self.cgroup = f"/knarr-test-{uuid.uuid4().hex[:12]}"
        self.flags = list(flags)
        self.launcher: list[str] = []
        self.rootless = rootless
        if rootless:
            os.chown(self.directory, subordinate_user.ID, subordinate_user.ID)
            self.launcher = [sys.executable, subordinate_user.__file__, *(["--one-id"] if one_id else [])]
            self.launcher.append(str(self.directory / "home"))
        self.user = list(self.launcher)
        self.process: subprocess.Popen[bytes] | None = None

    # -- life

    def command(self) -> list[str]:
        command = ["sh", "-c", _JOIN, str(self._own_cgroup()), *self.launcher]
        command += [str(KNARRD), "--data-root", str(self.data_root), "--run-root", str(self.run_root)]
        if not self.rootless:
            command += ["--cgroup-parent", self.cgroup]
        for host in self.hosts:
            command += ["--host", host]
        return command + self.flags

    @property
    def data_root(self) -> Path:
        return self.directory / "data"

    @property
    def run_root(self) -> Path:
        return self.directory / "run"

    @property
    def log(self) -> str:
        """All that it has written to its standard error, over all its starts."""
        try:
            return (self.directory / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def start(self, *, environment: dict[str, str] | None = None, **options: Any) -> None:
        """Start it and return when it is ready. Raises StartError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (self.directory / "log").open("ab") as log:
            address = self.directory / "notify"
            address.unlink(missing_ok=True)
            ready.bind(str(address))
            address.chmod(0o666)
            env = {**os.environ, "NOTIFY_SOCKET": str(address), **(environment or {})}
            env.pop("PYTHONDONTWRITEBYTECODE", None)  # to compile everything at each start takes a second
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stderr=log, env=env, **options)
            self._await_ready(self.process, ready)

    def reload(self) -> None:
        """Let it read daemon.json again; returns when it has."""
        assert self.process is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            address = self.directory / "notify"
            address.unlink()
            ready.bind(str(address))
            address.chmod(0o666)
            self.process.send_signal(signal.SIGHUP)
            self._await_ready(self.process, ready)

    def _await_ready(self, process: subprocess.Popen[bytes], ready: socket.socket) -> None:
        pidfd = os.pidfd_open(process.pid)
        try:
            while True:
                readable, _, _ = select.select([ready, pidfd], [], [], READY_SECONDS)
                if ready in readable:
                    if b"READY=1" in ready.recv(4096).split(b"\n"):
                        return
                    continue
                if not readable:
                    process.kill()
                process.wait()
                self.process = None
                raise StartError(f"exit code {process.returncode}\n{self.log}")
        finally:
            os.close(pidfd)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; its exit status. Containers go on unless it was told otherwise."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(READY_SECONDS)
        self.process = None
        return status

    def kill(self) -> None:
        """kill -9."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    # -- speaking to it

    def docker(
        self, *arguments: str, input: bytes | None = None, check: bool = True, host: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the docker command on it. A failure raises AssertionError with what it wrote, unless `check` is off."""
        done = subprocess.run(
            ["docker", "--host", host or self.host, *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            env={**os.environ, "DOCKER_CONFIG": str(self.directory / "docker"), **options.pop("environment", {})},
            timeout=60,
            check=False,
            **options,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}")
        return done

    def text(self, *arguments: str, **options: Any) -> str:
        """What the docker command prints, stripped."""
        return self.docker(*arguments, **options).stdout.decode().strip()

    @contextmanager
    def follow(self, container: str) -> Iterator[IO[bytes]]:
        """A container's output, as it comes."""
        command = ["docker", "--host", self.host, "logs", "--follow", container]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.kill()

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request of the Engine API, `body` as it is if bytes, else as JSON: status and decoded body."""
        connection = _UnixConnection(str(self.socket_path))
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(content) if is_json and content else content
        finally:
            connection.close()

    # -- the end

    def remove(self) -> None:
        """Remove all containers, stop, remove what the daemon keeps for its next start; then look for leaks.

        Raises AssertionError if something is left.
        """
        if (self.data_root / "state.db").exists():
            self._remove_containers()
        if self.rootless:
            self._await_keeper()
        left = self.leaks()
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        _run_quietly("ip", "link", "delete", self.bridge)
        _run_quietly("nft", "delete", "table", "inet", names.table_name(self.run_root))
        shutil.rmtree(self.directory, ignore_errors=bool(left))
        for directory in [*cgroup_directories(self.cgroup), self._own_cgroup()]:
            _remove_cgroup(directory)
        assert not left, f"left behind: {left}"

    def _remove_containers(self) -> None:
        if self.process is None:
            self.hosts, self.flags, self.launcher = [self.host], [], self.user
            self.start()
        _, containers = self.request("GET", "/containers/json?all=1")
        for container in containers:
            self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        self.stop()

    def _has_shims(self) -> bool:
        return any((self.run_root / "containers").glob("*/shim.sock"))

    def _await_keeper(self) -> None:
        """It ends when knarrd has: a moment later."""
        for pid in self.pids():
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            select.select([pidfd], [], [], READY_SECONDS)
            os.close(pidfd)

    def leaks(self) -> dict[str, list[str]]:
        """What of ours is still there, by kind."""
        found = {
            "processes": self.processes(),
            "mounts": [line for line in _lines("/proc/self/mountinfo") if f" {self.directory}/" in line],
            "links": [path.name for path in Path("/sys/class/net").glob(f"{self.bridge}*")],
            "cgroups": [
                str(path) for path in cgroup_directories(self.cgroup) for path in path.iterdir() if path.is_dir()
            ],
            "run directories": [str(path) for path in (self.run_root / "containers").glob("*")],
        }
        return {kind: things for kind, things in found.items() if things}

    def processes(self) -> list[str]:
        """The command lines of this daemon's processes: knarrd, the zygote, shims."""
        if self.rootless and self.process is None and not self._has_shims():
            self._await_keeper()
        found = []
        for pid in self.pids():
            try:
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
            except OSError:
                continue  # just gone
        return found

    def container_pids(self) -> set[int]:
        """The processes in containers; those of the engine too where containers have no groups of their own."""
        if self.rootless:
            return set(self.pids())
        lists = [path for top in cgroup_directories(self.cgroup) for path in top.glob("*/cgroup.procs")]
        return {int(pid) for path in lists for pid in path.read_text().split()}

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self._own_cgroup() / "cgroup.procs").read_text().split()]

    def _own_cgroup(self) -> Path:
        directory = _process_hierarchy() / f"{self.cgroup[1:]}.engine"
        directory.mkdir(exist_ok=True)
        return directory


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _run_quietly(*command: str) -> None:
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def cgroup_directories(path: str) -> list[Path]:
    """Where a cgroup is, in every hierarchy that has it."""
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]
    return [root / path.lstrip("/") for root in roots if (root / path.lstrip("/")).is_dir()]


def _process_hierarchy() -> Path:
    """A hierarchy in which a cgroup needs no settings: version 2's, else that of pids."""
    for name in ("", "unified", "pids"):
        if Path("/sys/fs/cgroup", name, "cgroup.procs").exists():
            return Path("/sys/fs/cgroup", name)
    raise FileNotFoundError("no cgroup hierarchy is mounted")


def _remove_cgroup(directory: Path) -> None:
    for child in directory.iterdir():
        if child.is_dir():
            _remove_cgroup(child)
    try:
        directory.rmdir()
    except OSError as error:  # something still runs in it, which the list of leaks tells
        if error.errno != errno.EBUSY:
            raise


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
