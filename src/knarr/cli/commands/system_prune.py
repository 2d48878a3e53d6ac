"""knarr system prune"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch
from knarr.cli.formatting import filters_of
from knarr.cli.pruning import FLAGS, confirmed, deleted_images, report
from knarr.client import containers, images, networks, system, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.cli.flags import Options
    from knarr.client.synchronous import Client
    from knarr.client.types import PruneReport

_FLAGS = (
    *FLAGS,
    switch("a all", "Remove all images that no container uses, not only those without a name"),
    switch("volumes", "Remove anonymous volumes too"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    if options.on("volumes") and any(name == "until" for name, _ in options.words("filter")):
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    if confirmed(options, _warning(options)):
        _prune(invocation.session.engine, options)
    return 0


def _warning(options: Options) -> str:
    everything = options.on("all")
    lines = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if options.on("volumes") else []),
        "all images without at least one container associated to them" if everything else "all dangling images",
        "all build cache" if everything else "unused build cache",
    ]
    text = "\n".join(["This will remove:", *(f"  - {line}" for line in lines), ""])
    if filters := options.words("filter"):
        shown = sorted(f"  - {name}={value}" for name, value in filters)
        text += "\n".join(["", "  Items to be pruned will be filtered with:", *shown, ""])
    return text


def _prune(engine: Client, options: Options) -> None:
    filters = filters_of(options.words("filter"))
    dangling = {"dangling": ["false" if options.on("all") else "true"]}
    of_containers = engine.call(containers.prune(filters=filters))
    _show("Deleted Containers", of_containers.get("ContainersDeleted"))
    _show("Deleted Networks", engine.call(networks.prune(filters=filters)).get("NetworksDeleted"))
    found: list[PruneReport] = [of_containers]
    if options.on("volumes"):
        found.append(engine.call(volumes.prune(filters=filters)))
        _show("Deleted Volumes", found[-1].get("VolumesDeleted"))
    found.append(engine.call(images.prune(filters=filters | dangling)))
    _show("Deleted Images", deleted_images(found[-1]))
    found.append(engine.call(system.prune_build_cache(everything=options.on("all"), filters=filters)))
    _show("Deleted build cache objects", found[-1].get("CachesDeleted"))
    report("", [], {"SpaceReclaimed": sum(each.get("SpaceReclaimed", 0) for each in found)})


def _show(title: str, lines: list[str] | None) -> None:
    if lines:
        print("\n".join([f"{title}:", *lines, ""]), flush=True)


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[
        ("All that is not in use, named images too", "system prune -a"),
        ("What is older than a day, without being asked", "system prune -f --filter until=24h"),
    ],
)
