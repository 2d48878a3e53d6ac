"""`knarr images --tree`: images with the platforms of their indexes, as docker draws them, without its colours."""

from __future__ import annotations

import shutil

from knarr.cli import formatting
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from knarr.client.types import ImageManifest, ImageSummary

_HEADINGS = ("ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")
_WARNING = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."
_LEGEND = "Info ->  U In Use "
_GAP = 3
_ID = 12


def show(images: Sequence[ImageSummary], *, dangling: bool) -> None:
    """Print them; those without a name, be it a digest of a repository, only if `dangling`."""
    shown = [image for image in images if dangling or image.get("RepoTags") or image.get("RepoDigests")]
    blocks = [list(_lines(image)) for image in shown]
    first = max((len(line[0].encode()) for block in blocks for line in block), default=len("IMAGE"))
    apart = any(_platforms(image) for image in shown)
    print(_WARNING)
    print(f"{_LEGEND:>{shutil.get_terminal_size().columns}}\n")
    gap = " " * _GAP
    print(gap.join(["IMAGE".ljust(first), _HEADINGS[0].ljust(_ID), *_HEADINGS[1:]]))
    for block in blocks:
        for name, *cells in block:
            print(gap.join([name.ljust(first), *cells]) if cells else name)
        if apart:
            print()


def _lines(image: ImageSummary) -> Iterator[tuple[str, ...]]:
    """The names, of which the last has the image's cells, and the platforms with theirs."""
    *others, last = sorted(image.get("RepoTags") or ["<untagged>"], key=lambda name: (-len(name), name))
    for name in others:
        yield (name,)
    platforms = _platforms(image)
    content = sum(each["Size"]["Content"] for each in image.get("Manifests") or [] if each["Available"])
    used = any(each["ImageData"]["Containers"] for each in platforms) or image.get("Containers", -1) > 0
    yield (last, *_cells(image["Id"], image["Size"], content, used))
    for position, each in enumerate(platforms, 1):
        branch = "└─" if position == len(platforms) else "├─"
        size, about = each["Size"], each["ImageData"]
        cells = _cells(each["ID"], size["Total"], size["Content"], bool(about["Containers"]))
        yield (f"{branch} {_platform(about['Platform'])}", *cells)


def _platforms(image: ImageSummary) -> list[ImageManifest]:
    return [each for each in image.get("Manifests") or [] if each["Kind"] == "image"]


def _cells(id: str, usage: int, content: int, used: bool) -> tuple[str, ...]:
    _, width, content_width, extra_width = map(len, _HEADINGS)
    sizes = f"{decimal_size(usage, 3):>{width}}", f"{decimal_size(content, 3):>{content_width}}"
    return (formatting.short_id(id).ljust(_ID), *sizes, (" U " if used else "").ljust(extra_width))


def _platform(platform: dict[str, str]) -> str:
    parts = platform.get("os"), platform.get("architecture"), platform.get("variant")
    return "/".join(part for part in parts if part)
