"""Images that containers have mounted: a read-only root for each, mounted on the host as long as the container runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from knarr.engine.config import MountPoint
from knarr.errors import InvalidParameter
from knarr.images.store import ImageStore
from knarr.kernel import mounts, paths
from knarr.storage.layers import LayerStore

_MARK = "-image-"


def owner(root_id: str) -> str:
    """The container to which a root of the layer store belongs, be it its own or that of a mounted image."""
    return root_id.partition(_MARK)[0]


class ImageMounts:
    """The directory with those mounts."""

    def __init__(self, root: Path, images: ImageStore, layers: LayerStore) -> None:
        self._root = root
        self._images = images
        self._layers = layers
        self._parts: dict[str, list[int]] = {}  # container -> descriptors of subpaths

    def make(self, id: str, points: Iterable[MountPoint], ids: int | None = None) -> dict[str, str]:
        """Mount the images of a container that is to start. By destination, where they (or their parts) are.

        `ids`: as in `LayerStore.mount_root`. Blocks. Raises NotFound (the image), InvalidParameter (the subpath),
        OSError.
        """
        wanted = [point for point in points if point.type == "image"]
        return {point.destination: self._make(id, number, point, ids) for number, point in enumerate(wanted)}

    def _make(self, id: str, number: int, point: MountPoint, ids: int | None) -> str:
        path = self._root / id / str(number)
        self._mount(f"{id}{_MARK}{number}", point.source, path, ids)
        subpath = point.spec.image_options.subpath if point.spec.image_options else ""
        if not subpath:
            return str(path)
        root_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = paths.open_in_root(root_fd, subpath)
        except OSError as error:
            words = (error.strerror or "").lower()
            raise InvalidParameter(f"cannot access path {subpath} in image {point.spec.source}: {words}") from None
        finally:
            os.close(root_fd)
        self._parts.setdefault(id, []).append(fd)
        return f"/proc/{os.getpid()}/fd/{fd}"

    def _mount(self, root_id: str, image_id: str, path: Path, ids: int | None) -> None:
        self._layers.remove_root(root_id)  # of a run that a reboot ended
        self._layers.create_root(root_id, self._images.get(image_id).chain_id, writable=False, volatile=True)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mount = self._layers.mount_root(root_id, ids=ids)
        try:
            target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mounts.move_mount(mount, target)
            finally:
                os.close(target)
        finally:
            os.close(mount)

    def remove(self, id: str) -> None:
        """Give back what `make` has made for a container, if anything."""
        for fd in self._parts.pop(id, ()):
            os.close(fd)
        directory = self._root / id
        for name in os.listdir(directory) if directory.exists() else []:
            path = directory / name
            if path.is_mount():
                mounts.umount(str(path))
            os.rmdir(path)
            self._layers.remove_root(f"{id}{_MARK}{name}")
        with suppress(FileNotFoundError):
            os.rmdir(directory)

    def retain(self, ids: set[str]) -> None:
        """Remove those of all other containers."""
        for id in os.listdir(self._root) if self._root.exists() else []:
            if id not in ids:
                self.remove(id)
