"""What this engine is as a builder: one worker, its platforms, and the capabilities that clients ask for by name."""

from __future__ import annotations

from collections.abc import Sequence

import knarr
from knarr.build.policies import Policy
from knarr.buildkit.proto import caps_pb2, ops_pb2, worker_pb2
from knarr.images.platforms import Platform

_PROTOCOL_VERSION = "v0.25.0"
"""The BuildKit whose protocol this is; clients compare it."""

FRONTEND = (
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "readdir",
    "statfile",
    "return",
    "returnmap",
    "importcaches",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.warnings",
)
SOLVER = (
    "source.image",
    "source.image.resolvemode",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "exporter.image.attestations",
    "exporter.image.annotations",
    "exporter.sourcedateepoch",
    "exporter.multiple",
    "gc.freespacefilter",
    "history.filter",
)


def capabilities(names: Sequence[str]) -> list[caps_pb2.APICap]:
    """The message for capabilities that are there."""
    return [caps_pb2.APICap(ID=name, Enabled=True) for name in names]


def version() -> worker_pb2.BuildkitVersion:
    """The builder's name and version."""
    return worker_pb2.BuildkitVersion(package="knarr", version=_PROTOCOL_VERSION, revision=knarr.__version__)


def record(
    id: str, driver: str, gateway: str, platforms: Sequence[Platform], policies: Sequence[Policy]
) -> worker_pb2.WorkerRecord:
    """The worker. `driver` is the storage driver's name, `gateway` the host's address on the default bridge, `policies`
    say what builds may keep.

    A worker that names its snapshotter can do what dockerd can with its containerd image store: export archives and
    caches, push, and build for several platforms.
    """
    labels = {
        "org.mobyproject.buildkit.worker.executor": "knarr",
        "org.mobyproject.buildkit.worker.network": "host",
        "org.mobyproject.buildkit.worker.snapshotter": driver,
        "org.mobyproject.buildkit.worker.moby.host-gateway-ip": gateway,
    }
    return worker_pb2.WorkerRecord(
        ID=id,
        Labels=labels,
        platforms=[platform_message(each) for each in platforms],
        GCPolicy=[_rule(policy) for policy in policies],
        BuildkitVersion=version(),
    )


def _rule(policy: Policy) -> dict[str, object]:
    return {
        "all": policy.all,
        "filters": [f"{name}={value}" for name, values in policy.filters.items() for value in values],
        "reservedSpace": policy.reserved,
        "maxUsedSpace": policy.most,
        "minFreeSpace": policy.free,
    }


def platform_message(platform: Platform) -> ops_pb2.Platform:
    """A platform as the protocol has it."""
    return ops_pb2.Platform(Architecture=platform.architecture, OS=platform.os, Variant=platform.variant)
