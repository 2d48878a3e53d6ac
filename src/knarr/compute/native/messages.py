"""What knarrd and a shim say to each other, as tagged msgpack.

knarrd asks, each request with a number; the shim answers each with `Done` under that number, and tells by itself of
`Exited` and `Oom`. A request's descriptors are those it names in its docstring, in that order.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from knarr.compute.interface import LogSettings
from knarr.compute.native.plan import CgroupPlan, Plan, ProcessPlan

SHIM = b"f"
BUNDLE_SHIM = b"b"
USER_NAMESPACE = b"u"
"""What the zygote is asked for, with a socket: a shim, or what makes a user namespace (see `user_spaces`)."""


class AttachSpec(Struct, frozen=True):
    """An attachment without its descriptor: see `knarr.compute.interface.Attachment`."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    stdin_once: bool = False
    detach_keys: bytes = b""


class Request(Struct, tag=True):
    """Base of what is asked."""

    number: int = 0


class Create(Request, kw_only=True):
    """Build the system, and with `start` let its program begin, which is answered as `Start` is. Descriptors: the
    root, the network namespace if `has_network`, the user namespace if `has_users`, one for each attachment."""

    plan: Plan
    log: LogSettings
    stdin_open: bool = False
    has_network: bool = False
    has_users: bool = False
    start: bool = False
    attachments: list[AttachSpec] = field(default_factory=list)


class BundleCreate(Request, kw_only=True):
    """Have an OCI runtime build the system: `command` and its arguments, `config` is config.json without the path of
    the network namespace. Descriptors as in `Create`."""

    id: str
    run_dir: str
    command: list[str]
    config: bytes
    cgroup: CgroupPlan
    owns_pids: bool
    log: LogSettings
    terminal: bool = False
    stdin_open: bool = False
    has_network: bool = False
    attachments: list[AttachSpec] = field(default_factory=list)


class Start(Request):
    """Let the main process become its program."""


class Signal(Request, kw_only=True):
    """Signal the main process."""

    signal: int


class Attach(Request, kw_only=True):
    """Connect a client to the main process's streams. Descriptor: the client's socket."""

    spec: AttachSpec


class Resize(Request, kw_only=True):
    """Set a terminal's size: the main process's, or an exec's by its id."""

    exec_id: str = ""
    rows: int
    columns: int


class Exec(Request, kw_only=True):
    """Start one more process. Descriptor: the client's socket if there is an attachment.

    What is noted of it is told to a later knarrd, with what has become of it.
    """

    exec_id: str
    process: ProcessPlan
    attachment: AttachSpec | None = None
    note: bytes = b""


class BundleExec(Request, kw_only=True):
    """Have the OCI runtime start one more process; `process` is the specification's as JSON. Descriptor: as `Exec`."""

    exec_id: str
    process: bytes
    terminal: bool
    rows: int = 0
    columns: int = 0
    attachment: AttachSpec | None = None
    note: bytes = b""


class Release(Request, kw_only=True):
    """The exit of the main process, or of an exec by its id, is known here: clients may see the end of its output.

    A client that asks for the exit status at that moment must get it.
    """

    exec_id: str = ""


class Reply(Struct, tag=True):
    """Base of what is answered and told."""


class Done(Reply, kw_only=True):
    """The end of a request: all well, or `error` with Docker's exit code. `pid` where a process was made.

    `invalid`: the kernel did not take a value that the user gave.
    """

    number: int
    error: str = ""
    code: int = 0
    invalid: bool = False
    missing: bool = False
    pid: int = 0


class KnownExec(msgspec.Struct):
    """An exec of which something was noted. `code` is None while it runs; `told`: its end is known to a knarrd."""

    exec_id: str
    pid: int
    note: bytes
    code: int | None = None
    at: int = 0
    told: bool = False


class Hello(Reply, kw_only=True):
    """The first words on a new connection to a shim's socket."""

    pid: int
    started: bool
    execs: list[KnownExec] = []


class Exited(Reply, kw_only=True):
    """A process has ended: the main one, or an exec by its id. `at` in nanoseconds since 1970."""

    exec_id: str = ""
    code: int
    at: int
    oom_killed: bool = False


class Detached(Reply, kw_only=True):
    """A client of the main process, or of an exec by its id, has gone by its detach keys."""

    exec_id: str = ""


class Oom(Reply):
    """A process of the system was killed for want of memory."""


AnyRequest = Create | BundleCreate | Start | Signal | Attach | Resize | Exec | BundleExec | Release
AnyReply = Done | Hello | Exited | Detached | Oom

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(AnyRequest).decode
decode_reply = msgspec.msgpack.Decoder(AnyReply).decode
