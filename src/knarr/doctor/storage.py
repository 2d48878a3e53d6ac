"""Where images and containers are kept: the file system of the data root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.doctor.trial import attempt, open_device, tried
from knarr.kernel import mounts, namespaces, quotas, user_namespaces
from knarr.storage import trees

TITLE = "Storage"

_FUSE = "/dev/fuse"
_LEAST_BYTES = 1 << 30
_LEAST_INODES = 10_000
_RANGE = "0 1879048192 65536"


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group."""
    place = _existing(subject.data_root)
    yield _room(subject.data_root, place)
    try:
        attempt(subject, _in_temporary(place, lambda: ""), user_namespace=False)
    except OSError as error:
        if not subject.sees_all:
            yield unknown("data root", f"{place} is root's", "sudo knarr doctor")
        else:
            effect = "an engine cannot keep anything"
            remedy = "another place: --data-root"
            yield missing("data root", f"{place}: {error.strerror}", effect, remedy, needed=True)
        return
    yield tried(
        subject,
        "overlayfs",
        _in_temporary(place, lambda: _overlay(subject.rootless)),
        namespaces.CLONE_NEWNS,
        effect="layers are copied for each container (the storage driver vfs): slow, and much of the disk",
        remedy="sudo modprobe overlay, or a data root on ext4, xfs, btrfs or tmpfs",
        detail="with attributes in user.*" if subject.rootless else "",
    )
    yield tried(
        subject,
        "detached mounts",
        _detached,
        namespaces.CLONE_NEWNS,
        effect="no container can be started",
        remedy="Linux 6.1 or newer",
        needed=True,
    )
    yield _id_mapped(subject, place)
    yield _project_quotas(subject, place)
    yield tried(
        subject,
        "FUSE",
        lambda: open_device(_FUSE),
        effect="containers cannot mount FUSE file systems (--device /dev/fuse)",
        remedy=lambda: remedies.device(_FUSE, "fuse"),
    )


def _existing(path: str) -> str:
    """A path, or the nearest directory above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _room(data_root: str, place: str) -> Finding:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    seen = f"{free / (1 << 30):.1f} GiB free for {data_root} ({trees.filesystem_name(place)})"
    if free < _LEAST_BYTES:
        return missing("disk space", seen, "hardly an image fits", "knarr system prune, or another --data-root")
    if disk.f_files and disk.f_favail < _LEAST_INODES:
        return missing("disk space", f"{seen}, {disk.f_favail} inodes", "hardly an image fits", "another --data-root")
    return ok("disk space", seen)


def _in_temporary(place: str, work: Callable[[], str]) -> Callable[[], str]:
    """`work`, done in a new directory on the file system in question."""

    def inside() -> str:
        with _temporary(place):
            return work()

    return inside


@contextmanager
def _temporary(place: str) -> Iterator[None]:
    directory = tempfile.mkdtemp(prefix=".knarr-doctor-", dir=place)
    try:
        os.chdir(directory)
        yield
    finally:
        os.chdir("/")
        shutil.rmtree(directory)


def _overlay(unprivileged: bool) -> str:
    """Make an overlay, and delete in it what is in the lower layer: that takes a whiteout."""
    for name in ("lower", "lower/directory", "upper", "work"):
        os.mkdir(name)
    options: list[tuple[str, str | None]] = [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")]
    mount = mounts.mount_detached("overlay", [*options, ("userxattr", None)] if unprivileged else options)
    try:
        os.rmdir("directory", dir_fd=mount)
        os.mkdir("directory", dir_fd=mount)  # takes an attribute: it is opaque
    finally:
        os.close(mount)
    return ""


def _detached() -> str:
    """What a container's root file system is put together from."""
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mount = mounts.mount_detached("tmpfs")
    os.mkdir("proc", dir_fd=mount)
    copy = mounts.open_tree(mounts.AT_FDCWD, "/proc", clone=True, recursive=True)
    mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_NOSUID)
    target = os.open("/", os.O_PATH)
    mounts.move_mount(mount, target)
    place = os.open("proc", os.O_PATH, dir_fd=mount)
    mounts.move_mount(copy, place)
    return ""


def _id_mapped(subject: Subject, place: str) -> Finding:
    effect = "--userns auto, and mounts with idmap or owner=, are refused"
    if subject.rootless:
        return missing("id-mapped mounts", "the kernel lets only root have them", effect)

    def work() -> str:
        ids = user_namespaces.mapping(_RANGE, _RANGE)
        if not mounts.can_map_ids(place, ids, recursive=False):
            raise RuntimeError("the file system does not support them")
        return ""

    remedy = "a data root on ext4, xfs or btrfs"
    return tried(subject, "id-mapped mounts", work, effect=effect, remedy=remedy)


def _project_quotas(subject: Subject, place: str) -> Finding:
    """knarr limits no sizes yet; who wants to should know what the disk is for."""

    def work() -> str:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            enforced = quotas.limits_projects(fd)
        except OSError:
            enforced = False
        if not enforced:
            raise RuntimeError("not switched on")
        return "switched on"

    effect = "the sizes of single containers cannot be limited, which knarr does not do yet"
    return tried(subject, "project quotas", work, effect=effect, remedy="mount xfs or ext4 with the option prjquota")
