"""knarr network prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed
from knarr.client import networks


def _run(invocation: Invocation) -> int:
    options = invocation.options
    if confirmed(options, "This will remove all custom networks not used by at least one container."):
        found = invocation.session.engine.call(networks.prune(filters=filters_of(options.words("filter"))))
        if deleted := found.get("NetworksDeleted"):
            print("Deleted Networks:", *deleted, "", sep="\n")
    return 0


COMMAND = Command("[OPTIONS]", _run, flags=FLAGS, examples=[("Without being asked", "network prune -f")])
