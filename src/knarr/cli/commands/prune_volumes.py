"""knarr volume prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed, report
from knarr.client import volumes

_FLAGS = (*FLAGS, switch("a all", "Remove named volumes too"))


def _run(invocation: Invocation) -> int:
    options = invocation.options
    everything = options.on("all")
    which = "all volumes" if everything else "anonymous local volumes"
    if confirmed(options, f"This will remove {which} not used by at least one container."):
        filters = filters_of(options.words("filter")) | ({"all": ["true"]} if everything else {})
        found = invocation.session.engine.call(volumes.prune(filters=filters))
        report("Deleted Volumes", found.get("VolumesDeleted") or [], found)
    return 0


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Without being asked", "volume prune -f")])
