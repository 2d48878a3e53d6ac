"""What images, containers, volumes and the build cache take on disk, as rows of tables."""

from __future__ import annotations

from knarr.cli import times
from knarr.cli.commands import images, ps
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from knarr.client.types import BuildCache, DiskUsage, ImageSummary, MeasuredVolume

    Row = dict[str, Any]

_IMAGES = (
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t"
    "{{.Containers}}"
)
_CONTAINERS = (
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
)
_VOLUMES = "{{.Name}}\t{{.Links}}\t{{.Size}}"
_CACHE = "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
_VOLUME_HEADINGS = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
_CACHE_HEADINGS = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
_ACTIVE = ("running", "paused", "restarting")


def totals(usage: DiskUsage) -> list[Row]:
    """A row for each kind of object."""
    return [_of_images(usage), _of_containers(usage), _of_volumes(usage), _of_cache(usage)]


def _of_images(usage: DiskUsage) -> Row:
    found, size = usage.get("Images") or [], usage.get("LayersSize", 0)
    used = [image for image in found if image.get("Containers", 0)]
    kept = sum(image.get("Size", 0) - image.get("SharedSize", 0) for image in used if image.get("SharedSize", -1) >= 0)
    return _total("Images", len(found), len(used), size, size - kept)


def _of_containers(usage: DiskUsage) -> Row:
    found = usage.get("Containers") or []
    size = sum(container.get("SizeRw", 0) for container in found)
    active = [container for container in found if container["State"] in _ACTIVE]
    return _total(
        "Containers", len(found), len(active), size, size - sum(container.get("SizeRw", 0) for container in active)
    )


def _of_volumes(usage: DiskUsage) -> Row:
    found = [volume.get("UsageData") or {"RefCount": 0, "Size": -1} for volume in usage.get("Volumes") or []]
    known = [volume for volume in found if volume["Size"] >= 0]
    return _total(
        "Local Volumes",
        len(found),
        sum(volume["RefCount"] > 0 for volume in found),
        sum(volume["Size"] for volume in known),
        sum(volume["Size"] for volume in known if volume["RefCount"] == 0),
    )


def _of_cache(usage: DiskUsage) -> Row:
    found = usage.get("BuildCache") or []
    size = sum(piece.get("Size", 0) for piece in found if not piece.get("Shared"))
    active = [piece for piece in found if piece.get("InUse")]
    kept = sum(piece.get("Size", 0) for piece in active if not piece.get("Shared"))
    row = _total("Build Cache", len(found), len(active), size, size - kept)
    return row | {"Reclaimable": decimal_size(size - kept)}


def _total(kind: str, count: int, active: int, size: int, reclaimable: int) -> Row:
    share = f" ({reclaimable * 100 // size}%)" if size > 0 else ""
    return {
        "Type": kind,
        "TotalCount": str(count),
        "Active": str(active),
        "Size": decimal_size(size),
        "Reclaimable": f"{decimal_size(reclaimable)}{share}",
    }


def details(usage: DiskUsage) -> dict[str, list[Row]]:
    """A row for each object, by kind."""
    return {
        "Images": [_image(image) for image in usage.get("Images") or []],
        "Containers": [
            ps.row(container) | {"Size": decimal_size(container.get("SizeRw", 0), 3)}
            for container in usage.get("Containers") or []
        ],
        "Volumes": [_volume(volume) for volume in usage.get("Volumes") or []],
        "BuildCache": [_cache(piece) for piece in usage.get("BuildCache") or []],
    }


def tables(usage: DiskUsage) -> Iterator[tuple[str, str, dict[str, Any], list[Row]]]:
    """Of each kind: title, template, headings and rows."""
    rows = details(usage)
    yield "Images space usage:", _IMAGES, images.HEADINGS, rows["Images"]
    yield "Containers space usage:", _CONTAINERS, ps.HEADINGS, rows["Containers"]
    yield "Local Volumes space usage:", _VOLUMES, _VOLUME_HEADINGS, rows["Volumes"]
    size = _of_cache(usage)["Size"]
    pieces = [row | {"ID": row["ID"][:12]} for row in rows["BuildCache"]]
    yield f"Build cache usage: {size}", _CACHE, _CACHE_HEADINGS, pieces


def _image(image: ImageSummary) -> Row:
    name, _, tag = (image.get("RepoTags") or ["<none>:<none>"])[0].rpartition(":")
    return images.row(image, True, name, tag, "<none>")


def _volume(volume: MeasuredVolume) -> Row:
    usage = volume.get("UsageData") or {"RefCount": -1, "Size": -1}
    return {
        "Name": volume["Name"],
        "Links": str(usage["RefCount"]) if usage["RefCount"] >= 0 else "N/A",
        "Size": decimal_size(usage["Size"]) if usage["Size"] >= 0 else "N/A",
        "Driver": volume.get("Driver", ""),
        "Mountpoint": volume.get("Mountpoint", ""),
    }


def _cache(piece: BuildCache) -> Row:
    used = piece.get("LastUsedAt")
    return {
        "ID": piece["ID"],
        "CacheType": piece.get("Type", ""),
        "Size": decimal_size(piece.get("Size", 0), 3),
        "CreatedSince": times.ago(times.parse_engine_time(piece.get("CreatedAt", ""))),
        "LastUsedSince": times.ago(times.parse_engine_time(used)) if used else "",
        "UsageCount": str(piece.get("UsageCount", 0)),
        "InUse": "true" if piece.get("InUse") else "false",
        "Shared": "true" if piece.get("Shared") else "false",
    }
