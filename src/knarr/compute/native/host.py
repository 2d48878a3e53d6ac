"""What plans depend on, as this process finds it."""

from __future__ import annotations

import os

from knarr.compute.native.planner import Host
from knarr.kernel import capabilities, cgroups, user_namespaces

_SHOWN = {"proc": "/proc", "mqueue": "/dev/mqueue"}


def look() -> Host:
    """This host, for this process. Raises OSError."""
    return Host(
        cgroups.detect(),
        capabilities.own_bounding(),
        capabilities.own_permitted(),
        capabilities.last_cap(),
        in_users=user_namespaces.inside(),
        sets_groups=user_namespaces.may_set_groups(),
        shown={kind: [path] for kind, path in _SHOWN.items() if os.path.isdir(path)},
    )
