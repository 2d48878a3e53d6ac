"""knarr update"""

from __future__ import annotations

import sys

from knarr.cli.command import Command, Invocation, complain
from knarr.cli.creation import ports, values
from knarr.cli.creation.flags import FLAGS
from knarr.cli.creation.mounts import parse_mount
from knarr.cli.errors import CommandError
from knarr.cli.flags import words
from knarr.client import containers
from knarr.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.flags import Options

_MEMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
_FLAGS = (
    *(flag for flag in FLAGS if flag.name in _MEMBERS or flag.name == "restart"),
    words("publish-add", "Publish a further port, [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
    words("publish-rm", "Publish a port no more, [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
    words("mount-add", "Add a mount, type=…,source=…,target=…", metavar="mount", parse=parse_mount),
    words("mount-rm", "Take out the mount at a path in the container"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    changes = _changes(options)
    warnings: list[str] = []
    failed = False
    for name in invocation.arguments:
        try:
            warnings += engine.call(containers.update(name, changes)).get("Warnings") or []
        except EngineError as error:
            complain(error)
            failed = True
        else:
            print(name, flush=True)
    for warning in warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    if failed:
        raise CommandError(status=1)
    return 0


def _changes(options: Options) -> dict[str, Any]:
    """What the flags ask for. Raises CommandError when they ask for nothing."""
    changes: dict[str, Any] = {member: options.get(name) for name, member in _MEMBERS.items() if options.given(name)}
    if options.given("restart"):
        try:
            changes["RestartPolicy"] = values.restart_policy(options.text("restart"))
        except ValueError as error:
            raise CommandError(str(error)) from None
    try:
        changes |= _revisions(options)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not changes:
        raise CommandError("you must provide one or more flags when using this command")
    return changes


def _revisions(options: Options) -> dict[str, Any]:
    """Ports and mounts, which only knarr's engine changes. Raises ValueError."""
    members = {
        "AddPorts": ports.parse_published(options.words("publish-add")),
        "RemovePorts": _unwanted(options.words("publish-rm")),
        "AddMounts": options.words("mount-add"),
        "RemoveMounts": options.words("mount-rm"),
    }
    return {member: value for member, value in members.items() if value}


def _unwanted(specs: list[str]) -> dict[str, list[dict[str, str]]]:
    """Without a port of the host all of a container's port is meant."""
    unwanted = ports.parse_published(specs)
    return {port: [binding for binding in bindings if binding["HostPort"]] for port, bindings in unwanted.items()}


COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[
        ("More memory for a running container", "update --memory 1g --memory-swap -1 web"),
        ("Start it again whenever it ends", "update --restart unless-stopped web"),
        ("Publish another port", "update --publish-add 8443:443 --publish-rm 8080:80 web"),
        ("Add a directory", "update --mount-add type=bind,source=/srv/data,target=/data web"),
    ],
)
