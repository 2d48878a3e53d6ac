"""knarr images"""

from __future__ import annotations

from knarr.cli import formatting, times
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text, words
from knarr.cli.units import decimal_size
from knarr.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from knarr.client.images import Filters
    from knarr.client.types import ImageSummary

_FLAGS = (
    switch("a all", "Show intermediate images, too"),
    switch("digests", "Show digests"),
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    switch("no-trunc", "Do not shorten what is shown"),
    switch("q quiet", "Show only ids"),
    switch("tree", "Show the platforms of images"),
)
_NONE = "<none>"
HEADINGS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    filters = formatting.filters_of(options.words("filter"))
    if invocation.arguments:
        filters.setdefault("reference", []).append(invocation.arguments[0])
    if options.on("tree"):
        return _show_tree(invocation, filters)
    found = session.engine.call(images.list_all(everything=options.on("all"), filters=filters))
    short, digests = not options.on("no-trunc"), options.on("digests")
    wanted = options.text("format") or ("" if options.on("quiet") else session.settings.get("imagesFormat", ""))
    rows = [shown for image in found for shown in _rows(image, short, digests or ".Digest" in wanted)]
    if options.on("quiet") and not wanted:
        print("".join(f"{shown['ID']}\n" for shown in rows), end="")
        return 0
    digest = "\t{{if .Digest}}{{.Digest}}{{else}}<none>{{end}}" if digests else ""
    table = f"{{{{.Repository}}}}\t{{{{.Tag}}}}{digest}\t{{{{.ID}}}}\t{{{{.CreatedSince}}}}\t{{{{.Size}}}}"
    formatting.show_list(rows, HEADINGS | ({"Digest": "DIGEST"} if digests else {}), table, wanted)
    return 0


def _show_tree(invocation: Invocation, filters: Filters) -> int:
    from knarr.cli import image_tree

    options = invocation.options
    for name, called in (("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest")):
        if options.on(name):
            raise CommandError(f"--{called} is not yet supported with --tree")
    if options.text("format"):
        raise CommandError("--format is not yet supported with --tree")
    call = images.list_all(everything=options.on("all"), manifests=True, filters=filters)
    found = invocation.session.engine.call(call)
    image_tree.show(found, dangling=options.on("all"))
    return 0


def _rows(image: ImageSummary, short: bool, digests: bool) -> Iterator[dict[str, Any]]:
    """A row for each name that the image has; one for an image without a name."""
    tags: dict[str, list[str]] = {}
    for reference in image.get("RepoTags") or []:
        name, _, tag = reference.rpartition(":")
        if name != _NONE:
            tags.setdefault(name, []).append(tag)
    known: dict[str, list[str]] = {}
    for reference in image.get("RepoDigests") or []:
        name, _, digest = reference.partition("@")
        if name != _NONE:
            known.setdefault(name, []).append(digest)
    if not tags and not known:
        yield row(image, short, _NONE, _NONE, _NONE)
    for name in [*tags, *(name for name in known if name not in tags)]:
        shown = known.get(name) or [_NONE]
        for tag in tags.get(name) or [_NONE]:
            for digest in shown if digests or name not in tags else shown[:1]:
                yield row(image, short, name, tag, digest if digests else _NONE)


def row(image: ImageSummary, short: bool, name: str, tag: str, digest: str) -> dict[str, Any]:
    created, size = image.get("Created", 0), image.get("Size", 0)
    shared, users = image.get("SharedSize", -1), image.get("Containers", -1)
    return {
        "ID": formatting.short_id(image["Id"]) if short else image["Id"],
        "Repository": name,
        "Tag": tag,
        "Digest": digest,
        "CreatedSince": times.ago(created) if created else "N/A",
        "CreatedAt": times.local(created) if created else "N/A",
        "Size": decimal_size(size, 3),
        "VirtualSize": decimal_size(size),
        "SharedSize": "N/A" if shared == -1 else decimal_size(shared),
        "UniqueSize": "N/A" if shared == -1 else decimal_size(size - shared),
        "Containers": "N/A" if users == -1 else str(users),
    }


COMMAND = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    _run,
    flags=_FLAGS,
    arguments=(0, 1),
    examples=[("Those without a name", "images -f dangling=true"), ("With their platforms", "images --tree")],
)
