"""knarr builder prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, value
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed, report
from knarr.cli.units import parse_size
from knarr.client import system

_FLAGS = (
    *FLAGS,
    switch("a all", "Remove also what images that are there have been built from"),
    value("keep-storage", "bytes", "How much may stay", parse_size, 0),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    everything = options.on("all")
    if confirmed(
        options, "This will remove all build cache." if everything else "This will remove unused build cache."
    ):
        call = system.prune_build_cache(
            everything=everything, filters=filters_of(options.words("filter")), keep=options.number("keep-storage")
        )
        found = invocation.session.engine.call(call)
        report("Deleted build cache objects", found.get("CachesDeleted") or [], found)
    return 0


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[("What no build has used for a week", "builder prune --filter until=168h")],
)
