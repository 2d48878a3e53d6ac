"""features: what this runtime can do, in the specification's words (features.md, features-linux.md)."""

from __future__ import annotations

import json

from knarr.compute.native import filters, mount_options
from knarr.kernel import capabilities, namespaces, scheduling

_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def text() -> str:
    """The document. It tells of the program, on whatever host it is."""
    return json.dumps(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": "1.3.0",
            "hooks": list(_HOOKS),
            "mountOptions": mount_options.known(),
            "linux": {
                "namespaces": list(namespaces.TYPES),
                "capabilities": list(capabilities.NAMES),
                "cgroup": {
                    "v1": True,
                    "v2": True,
                    "systemd": False,
                    "systemdUser": False,
                    "rdma": True,
                },
                "seccomp": {
                    "enabled": True,
                    "actions": sorted(filters.ACTIONS),
                    "operators": sorted(filters.OPERATORS),
                    "archs": sorted(filters.ARCHITECTURES),
                    "knownFlags": sorted(filters.FLAGS),
                    "supportedFlags": sorted(filters.FLAGS),
                },
                "apparmor": {"enabled": True},
                "selinux": {"enabled": True},
                "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
                "memoryPolicy": {
                    "modes": list(scheduling.MEMORY_MODES),
                    "flags": list(scheduling.MEMORY_FLAGS),
                },
                "netDevices": {"enabled": True},
                "mountExtensions": {"idmap": {"enabled": True}},
            },
            "annotations": {},
            "potentiallyUnsafeConfigAnnotations": [],
        },
        indent=4,
    )
