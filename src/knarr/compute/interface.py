"""The host compute shim's interface: what a backend does for the engine.

A *system* is one container as the kernel knows it: namespaces, cgroups, a root filesystem and a main process. A
backend makes one from an OCI runtime spec, and finds it again after the engine has been restarted. The life of a
system::

    create ──► created ──start──► running ──(main process ends)──► exited ──► delete
                  └── a failure before start, or delete: everything that create made is undone

Everything that the main process reads and writes, and everything written to its log, goes on without the engine.

All coroutines raise `knarr.errors.KnarrError` for what a user did wrong and `StartFailed` for a program that could not
be started.
"""

from __future__ import annotations

from knarr.compute.spec import IdMapping, Process, Resources, RuntimeSpec
from knarr.errors import KnarrError
from knarr.light import Protocol, Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:  # shims import this module and want neither
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from knarr.kernel.cgroup_usage import Usage
    from knarr.kernel.link_counters import LinkCounters


class StartFailed(KnarrError):
    """The program could not be started; `exit_code` is 127 (not found), 126 (cannot run) or 128, as Docker counts."""

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ExitStatus(Struct, frozen=True):
    """How a process ended. `code` is the exit status, or 128 + the signal's number; `at` in nanoseconds since 1970."""

    code: int
    at: int
    oom_killed: bool = False
    error: str = ""


class SyslogSettings(Struct, frozen=True, tag="syslog"):
    """A syslog server. `network` is udp, tcp, tcp+tls, unix, unixgram, or "" for the host's own.

    `address` is a path or a host, `format` "" (as syslog(3) writes), rfc3164, rfc5424 or rfc5424micro, `facility` a
    number of RFC 5424. The `tls_` ones are paths of PEM files.
    """

    network: str = ""
    address: str = ""
    port: int = 0
    format: str = ""
    facility: int = 3
    tag: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_skip_verify: bool = False


class JournalSettings(Struct, frozen=True, tag="journal"):
    """The journal that listens at the socket `path`; `fields` go into each entry."""

    path: str = "/run/systemd/journal/socket"
    fields: dict[str, str] = field(default_factory=dict)


class LogSettings(Struct, frozen=True):
    """Where output is kept: `driver` json-file or none; sizes in bytes, 0 is no limit; `attrs` go into each line.

    With a `buffer` of so many bytes output does not wait for the disk: what is too much for it is lost. A `sink` gets
    the output besides, and then the buffer is that one's.
    """

    driver: str = "json-file"
    path: str = ""
    max_size: int = 0
    max_file: int = 1
    compress: bool = False
    buffer: int = 0
    attrs: dict[str, str] = field(default_factory=dict)
    sink: SyslogSettings | JournalSettings | None = None


class Attachment(Struct, frozen=True):
    """A client on a system's streams: a connected socket, whose ownership goes to the system.

    `framed` wraps output in Docker's 8-byte stream headers (never with a terminal). `stdin_once` closes the process's
    stdin when this client's ends. `detach_keys` are the bytes that end the attachment, b"" for none.
    """

    fd: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    stdin_once: bool = False
    detach_keys: bytes = b""


class CreateRequest(Struct):
    """What a system is made from.

    `root_fd` is a detached mount of the root filesystem (ownership passes to the backend), `network_fd` and `user_fd`
    are open namespaces to join where the spec's network or user namespace has no path; `run_dir` is a directory of the
    backend's own for this system, made by `create`. `stdin_open` keeps the process's stdin open, otherwise it is at its
    end. `init` puts a reaping init process in front of the program. With `start` the program begins at once, where the
    backend can do that: `create` then raises what `System.start`, which is called all the same, would raise.
    """

    id: str
    spec: RuntimeSpec
    run_dir: Path
    root_fd: int
    network_fd: int | None = None
    user_fd: int | None = None
    log: LogSettings = field(default_factory=LogSettings)
    stdin_open: bool = False
    init: bool = False
    start: bool = False
    attachments: list[Attachment] = field(default_factory=list)


class ExecRequest(Struct):
    """An additional process in a running system. With neither attachment nor `stdin_open`, its stdin is at its end.

    With a `note` it is found again after a restart of the engine; an exec without one is not.
    """

    id: str
    process: Process
    attachment: Attachment | None = None
    note: bytes = b""


class Exec(Protocol):
    """A process started by `System.exec`."""

    pid: int
    exited: asyncio.Future[ExitStatus]

    async def resize(self, height: int, width: int) -> None:
        """Set the size of its terminal, in characters."""


class RecoveredExec(Struct):
    """An exec of an earlier engine, which may have ended (`exec.exited`); `told`: that engine knew of its end."""

    id: str
    note: bytes
    exec: Exec
    told: bool = False


class System(Protocol):
    """A created system. `pid` is the main process in the host's numbering."""

    id: str
    pid: int
    exited: asyncio.Future[ExitStatus]
    """Done when the main process has ended and its output is all in the log."""
    on_oom: asyncio.Event
    """Set at each out-of-memory kill among the system's processes; the engine clears it."""
    on_detached: Callable[[str], None]
    """Called when a client has gone by its detach keys: with the exec's id, "" for the main process."""
    recovered: list[RecoveredExec]
    """Execs with a note, of a system that was found again."""

    async def start(self) -> None:
        """Let the main process run its program. Raises StartFailed."""

    async def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Signal the main process, or all. NotFound once it has ended."""

    async def attach(self, attachment: Attachment) -> None:
        """Connect a client to the streams. Output from now on goes to it too."""

    async def resize(self, height: int, width: int) -> None:
        """Set the size of the terminal, in characters."""

    async def exec(self, request: ExecRequest) -> Exec:
        """Start one more process in the system. Raises StartFailed."""

    async def pause(self) -> None:
        """Freeze all processes."""

    async def resume(self) -> None:
        """Thaw them."""

    async def update(self, resources: Resources) -> None:
        """Change cgroup limits; fields that are None stay."""

    def pids(self) -> list[int]:
        """The host process ids of all processes in the system."""

    def usage(self) -> Usage:
        """What the system has used of the host up to now. Blocks for a moment."""

    def network_counters(self) -> dict[str, LinkCounters]:
        """What has gone through the interfaces that the system sees, by name, without the loopback."""

    async def delete(self) -> None:
        """Kill what is left and free everything, the run directory too. May be called at any time, more than once.

        Clients see the end of the streams only now: what they ask about the exit then must be known.
        """


class Backend(Protocol):
    """One way to run systems on this host."""

    name: str
    path: str
    """Its program, for people to read."""

    async def start(self) -> None:
        """Make the backend ready."""

    async def create(self, request: CreateRequest) -> System:
        """Make a system up to the point where only the program is missing, or beyond (see `CreateRequest`). On failure
        nothing is left."""

    async def make_user_namespace(self, mappings: list[IdMapping], *, network: bool = False) -> list[int]:
        """Descriptors, the caller's, of a new user namespace with these mappings of users and groups and, with
        `network`, of a network namespace that belongs to it. For `CreateRequest`, and for id-mapped mounts."""

    async def recover(self, id: str, run_dir: Path) -> System | ExitStatus | None:
        """Find a system again: the live one, how it ended meanwhile (its leftovers are freed), or None if unknown.

        An `ExitStatus` with code 137 and an error text stands for a system that lost its shim: it has been killed.
        """

    async def close(self) -> None:
        """Let go of everything; systems go on running."""
