"""Mounts that users ask for: `-v` and `--mount` and the image's volumes, read, checked, and made ready for a start.

Three forms of asking (HostConfig.Binds, HostConfig.Mounts, Config.Volumes) end in one list of mount points, which is
what inspect shows and what is kept. Texts are dockerd's.
"""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple

from knarr.compute import spec
from knarr.engine import tmpfs
from knarr.engine.config import (
    BindOptions,
    ContainerConfig,
    DriverConfig,
    HostConfig,
    Mount,
    MountPoint,
    VolumeOptions,
)
from knarr.errors import InvalidParameter, KnarrError, NotFound

PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_MODE_CLASSES = (
    frozenset({"rw", "ro"}),
    PROPAGATIONS,
    frozenset({"z", "Z"}),
    frozenset({"nocopy"}),
    frozenset({"idmap"}),
    frozenset({"consistent", "cached", "delegated", "default"}),
)
_OTHER_OPTIONS = {
    "bind": ("volume_options", "tmpfs_options", "image_options"),
    "volume": ("bind_options", "tmpfs_options", "image_options"),
    "tmpfs": ("bind_options", "volume_options", "image_options"),
    "image": ("bind_options", "volume_options", "tmpfs_options"),
}
_OWNER = "owner="
_NOT_BORROWED = PROPAGATIONS | {"nocopy", "idmap"}
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def points(
    config: ContainerConfig, host_config: HostConfig, points_of: Callable[[str], Iterable[MountPoint]]
) -> list[MountPoint]:
    """The mount points of a new container, volumes without a name given one. Nothing is created.

    `points_of` gives those of another container (VolumesFrom; may raise NotFound). Raises InvalidParameter.
    """
    found: dict[str, MountPoint] = {}
    for text in host_config.volumes_from or []:
        for point in _borrowed(text, points_of):
            found[point.destination] = point
    asked: set[str] = set()

    def add(point: MountPoint) -> None:
        if point.destination in asked or point.destination in tmpfs_paths:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        asked.add(point.destination)
        found[point.destination] = point

    tmpfs_paths = {clean(path) for path in host_config.tmpfs or {}}
    for path, options in (host_config.tmpfs or {}).items():
        check_target(path)
        tmpfs.options(options)
    for text in host_config.binds or []:
        add(parse_bind(text, host_config.volume_driver))
    for mount in host_config.mounts or []:
        add(from_mount(mount))
    for path in config.volumes or {}:
        destination = clean(path)
        if destination not in found and destination not in tmpfs_paths:
            found[destination] = image_volume(path, host_config.volume_driver)
    return list(found.values())


def parse_bind(text: str, volume_driver: str = "") -> MountPoint:
    """One element of Binds: SOURCE:TARGET[:MODE], or TARGET for an anonymous volume. Raises InvalidParameter."""
    parts = text.split(":")
    if len(parts) > 3 and parts[2].rpartition(",")[2].startswith(_OWNER):  # UID:GID
        parts[2:] = [":".join(parts[2:])]
    source, target, mode = "", "", ""
    if len(parts) == 1:
        target = parts[0]
    elif len(parts) == 2 and not (parts[1] and is_mode(parts[1])):
        source, target = parts
    elif len(parts) == 3:
        source, target, mode = parts
    if not target or (len(parts) > 1 and not source):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    if not is_mode(mode):
        raise InvalidParameter(f"invalid mode: {mode}")
    try:
        return _point(_bind_spec(source, target, mode, volume_driver), mode, given_as_mount=False)
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid volume specification: '{text}': {error}") from None


def _bind_spec(source: str, target: str, mode: str, volume_driver: str) -> Mount:
    words = mode.split(",") if mode else []
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    mount = Mount(target=target, source=source, read_only="ro" in words, idmap="idmap" in words)
    mount.owner = next((word.removeprefix(_OWNER) for word in words if word.startswith(_OWNER)), "")
    if source.startswith("/"):
        mount.type = "bind"
        mount.source = clean(source)
        mount.bind_options = BindOptions(propagation=propagation, create_mountpoint=True)
        mount.volume_options = VolumeOptions(no_copy=True) if "nocopy" in words else None  # which is refused
        return mount
    mount.type = "volume"
    if propagation:
        mount.bind_options = BindOptions(propagation=propagation)
    mount.volume_options = VolumeOptions(no_copy="nocopy" in words, driver_config=DriverConfig(name=volume_driver))
    return mount


def is_mode(mode: str) -> bool:
    """Whether all words of a -v mode are known, and at most one of each kind is there."""
    words = ["idmap" if _names_owner(word) else word for word in mode.split(",")] if mode else []
    known = frozenset().union(*_MODE_CLASSES)
    return all(word in known for word in words) and all(
        sum(word in kind for word in words) <= 1 for kind in _MODE_CLASSES
    )


def _names_owner(word: str) -> bool:
    return word.startswith(_OWNER) and word != _OWNER


def from_mount(mount: Mount) -> MountPoint:
    """One element of Mounts. Raises InvalidParameter."""
    return _point(mount, "z" if mount.type == "volume" else "", given_as_mount=True)


def image_volume(path: str, volume_driver: str = "") -> MountPoint:
    """One of Config.Volumes: an anonymous volume. Raises InvalidParameter."""
    options = VolumeOptions(driver_config=DriverConfig(name=volume_driver))
    return _point(Mount(type="volume", target=path, volume_options=options), "", given_as_mount=False)


def _point(mount: Mount, mode: str, *, given_as_mount: bool) -> MountPoint:
    try:
        _check(mount, must_exist=given_as_mount)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid mount config for type "{mount.type}": {error}') from None
    point = MountPoint(type=mount.type, destination=clean(mount.target), mode=mode, rw=not mount.read_only, spec=mount)
    if mount.type == "bind":
        point.source = clean(mount.source)
        point.propagation = (mount.bind_options.propagation if mount.bind_options else "") or "rprivate"
    elif mount.type == "volume":
        config = mount.volume_options.driver_config if mount.volume_options else None
        point.driver = (config.name if config else "") or "local"
        point.name = mount.source or secrets.token_hex(32)
        if mount.source and not mode:
            point.mode = "z"
    elif mount.type == "image":
        point.source, point.rw = mount.source, False
    return point


def _check(mount: Mount, *, must_exist: bool) -> None:
    if mount.type not in _OTHER_OPTIONS:
        raise InvalidParameter("mount type unknown")
    check_target(mount.target)
    for attribute in _OTHER_OPTIONS[mount.type]:
        if getattr(mount, attribute) is not None:
            name = "".join(word.capitalize() for word in attribute.split("_"))
            raise InvalidParameter(f"field {name} must not be specified")
    _check_owner(mount)
    checks = {"bind": _check_bind, "volume": _check_volume, "tmpfs": _check_tmpfs, "image": _check_image}
    checks[mount.type](mount)
    creates = mount.bind_options is not None and mount.bind_options.create_mountpoint
    if mount.type == "bind" and must_exist and not creates and not os.path.lexists(mount.source):
        raise InvalidParameter(f"bind source path does not exist: {mount.source}")


def _check_owner(mount: Mount) -> None:
    for name, given in (("IDMap", mount.idmap), ("Owner", mount.owner)):
        if given and mount.type not in ("bind", "volume"):
            raise InvalidParameter(f"field {name} must not be specified")
    if mount.idmap and mount.owner:
        raise InvalidParameter("IDMap and Owner cannot be specified together")


def check_target(path: str) -> None:
    """A path inside a container on which something may be mounted. Raises InvalidParameter."""
    if not path:
        raise InvalidParameter("field Target must not be empty")
    if "\0" in path:
        raise InvalidParameter("invalid mount path: NUL character")
    if not path.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{path}' mount path must be absolute")
    if clean(path) == "/":
        raise InvalidParameter("invalid specification: destination can't be '/'")


def _check_bind(mount: Mount) -> None:
    if not mount.source:
        raise InvalidParameter("field Source must not be empty")
    if not mount.source.startswith("/") or "\0" in mount.source:
        raise InvalidParameter(f"invalid mount path: '{mount.source}' mount path must be absolute")
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise InvalidParameter(f"invalid propagation mode: {options.propagation}")
    if options.read_only_non_recursive and not mount.read_only:
        raise InvalidParameter("mount source is not read-only, but BindOptions.ReadOnlyNonRecursive is set")
    if options.read_only_force_recursive and (not mount.read_only or options.read_only_non_recursive):
        raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs ReadOnly without ReadOnlyNonRecursive")


def _check_volume(mount: Mount) -> None:
    if not mount.source and mount.read_only:
        raise InvalidParameter("must not set ReadOnly mode when using anonymous volumes")
    subpath = mount.volume_options.subpath if mount.volume_options else ""
    if not subpath:
        return
    if not mount.source:
        raise InvalidParameter("must not set Subpath when using anonymous volumes")
    _check_subpath(subpath, "volume")


def _check_image(mount: Mount) -> None:
    if not mount.source:
        raise InvalidParameter("field Source must not be empty")
    _check_subpath(mount.image_options.subpath if mount.image_options else "", "image")


def _check_subpath(subpath: str, where: str) -> None:
    if subpath.startswith("/") or ".." in subpath.split("/") or "\0" in subpath:
        raise InvalidParameter(f"subpath must be a relative path within the {where}: {subpath}")


def _check_tmpfs(mount: Mount) -> None:
    if mount.source:
        raise InvalidParameter("field Source must not be specified")
    tmpfs.mount_options(mount)


def check_volume_name(name: str) -> None:
    """Raises InvalidParameter in the words that tell of absolute paths."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if len(name) > 255:
        raise InvalidParameter(f"create {name}: volume name is too long, names should be at most 255 characters")


def _borrowed(text: str, points_of: Callable[[str], Iterable[MountPoint]]) -> list[MountPoint]:
    """VolumesFrom: CONTAINER[:MODE]."""
    reference, separator, mode = text.partition(":")
    if not reference:
        raise InvalidParameter("malformed volumes-from specification: " + (text or "''"))
    if separator and (
        not is_mode(mode) or any(word in _NOT_BORROWED or _names_owner(word) for word in mode.split(","))
    ):
        raise InvalidParameter(f"invalid mode: {mode}")
    try:
        others = list(points_of(reference))
    except NotFound as error:  # not for the client to take for a missing image
        raise InvalidParameter(str(error)) from None
    read_only = "ro" in mode.split(",")
    return [
        MountPoint(
            type=point.type,
            name=point.name,
            source=point.source,
            destination=point.destination,
            driver=point.driver,
            rw=point.rw and not read_only,
            propagation=point.propagation,
            spec=point.spec,
        )
        for point in others
        if point.type != "tmpfs"
    ]


def clean(path: str) -> str:
    """A path as it is compared with others."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


# -- at a start -------------------------------------------------------------------------------------------------------


def make_sources(found: Iterable[MountPoint]) -> None:
    """Make the missing sources of bind mounts that were given as -v. Raises KnarrError in dockerd's words."""
    for point in found:
        if point.type != "bind":
            continue
        if point.spec.bind_options is not None and point.spec.bind_options.create_mountpoint:
            try:
                os.makedirs(point.source, 0o755, exist_ok=True)
            except FileExistsError:  # a file, a socket, a device: fine as well
                continue
            except OSError as error:
                words = (error.strerror or "").lower()
                raise KnarrError(
                    f"error while creating mount source path '{point.source}': mkdir {point.source}: {words}"
                ) from None
        elif not os.path.lexists(point.source):
            raise InvalidParameter(
                f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
            )


def runtime_mounts(found: Iterable[MountPoint], sources: dict[str, str]) -> list[spec.Mount]:
    """The mounts for the runtime spec. `sources`: by destination, where the volume or image (or its part) is.

    Raises KnarrError if a propagation is asked for that the source's mount cannot give.
    """
    result = []
    for point in found:
        if point.type == "tmpfs":
            result.append(spec.Mount(point.destination, "tmpfs", "tmpfs", tmpfs.mount_options(point.spec)))
            continue
        source = sources[point.destination] if point.type in ("volume", "image") else point.source
        options = point.spec.bind_options or BindOptions()
        if point.type == "bind":
            require_propagation(source, point.propagation)
        words = ["bind" if options.non_recursive else "rbind"]
        if not point.rw:
            words.append("ro" if options.non_recursive or options.read_only_non_recursive else "rro")
        words.append(point.propagation or "rprivate")
        result.append(spec.Mount(point.destination, "bind", source, words))
    return result


class _HostMount(NamedTuple):
    path: str
    optional: str


def require_propagation(source: str, propagation: str) -> None:
    """Sharing needs a shared mount, receiving a shared or a slave one. Raises KnarrError in dockerd's words."""
    if propagation in ("shared", "rshared"):
        allowed: tuple[str, ...] = ("shared:",)
        words = "a shared mount"
    elif propagation in ("slave", "rslave"):
        allowed = ("shared:", "master:")
        words = "a shared or slave mount"
    else:
        return
    mount = _mount_of(os.path.realpath(source))
    if not any(field.startswith(allowed) for field in mount.optional.split()):
        raise KnarrError(f"path {source} is mounted on {mount.path} but it is not {words}")


def _mount_of(path: str) -> _HostMount:
    """The mount that holds a path: the last one of the longest matching mount points (proc(5), mountinfo)."""
    best = _HostMount("/", "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.partition(" - ")[0].split(" ")
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
            if len(point) >= len(best.path) and (path == point or path.startswith(point.rstrip("/") + "/")):
                best = _HostMount(point, " ".join(fields[6:]))
    return best
