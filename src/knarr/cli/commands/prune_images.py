"""knarr image prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed, deleted_images, report
from knarr.client import images

_FLAGS = (*FLAGS, switch("a all", "Remove all that no container uses, not only those without a name"))


def _run(invocation: Invocation) -> int:
    options = invocation.options
    everything = options.on("all")
    which = "all images without at least one container associated to them" if everything else "all dangling images"
    if confirmed(options, f"This will remove {which}."):
        filters = filters_of(options.words("filter")) | {"dangling": ["false" if everything else "true"]}
        found = invocation.session.engine.call(images.prune(filters=filters))
        report("Deleted Images", deleted_images(found), found)
    return 0


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Without being asked", "image prune -f")])
