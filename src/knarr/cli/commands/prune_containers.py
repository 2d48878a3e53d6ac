"""knarr container prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed, report
from knarr.client import containers


def _run(invocation: Invocation) -> int:
    options = invocation.options
    if confirmed(options, "This will remove all stopped containers."):
        found = invocation.session.engine.call(containers.prune(filters=filters_of(options.words("filter"))))
        report("Deleted Containers", found.get("ContainersDeleted") or [], found)
    return 0


COMMAND = Command(
    "[OPTIONS]", _run, flags=FLAGS, examples=[("Those of before yesterday", "container prune --filter until=24h")]
)
