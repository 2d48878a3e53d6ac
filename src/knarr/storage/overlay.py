"""The `overlay2` driver: a layer is a directory of differences, a root is an overlayfs mount of several.

    layers/<name>/               one layer, in overlayfs's notation
    roots/<name>/{upper,work}/   a writable layer

Sources: Documentation/filesystems/overlayfs.rst of Linux; fsconfig(2).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from knarr.errors import Unsupported
from knarr.kernel import mounts, user_namespaces
from knarr.storage import host_root, trees
from knarr.storage.diff import PLACES, Comparison, archive, changes, remove_places
from knarr.storage.directories import make_opaque, opaque_mark
from knarr.storage.driver import RootOptions
from knarr.storage.shelves import ShelfDraft, Shelves
from knarr.storage.trees import opened, owned

# Features that move a layer's meaning out of what a plain reader of its directory sees are off: layers are read, not
# only mounted. `index` would refuse a second instance of a root.
_FEATURES: list[tuple[str, str | None]] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "off")]
_USER_FEATURES: list[tuple[str, str | None]] = [("index", "off"), ("userxattr", None)]
"""In a user namespace. The other two are off by `userxattr`, and it goes with no word about them."""
_MAX_VALUE = 255  # of an fsconfig string


class OverlayDriver:
    """See Driver. `hidden`: directories that a container on the host's root must not see."""

    name: str = "overlay2"
    overlay: bool = True

    def __init__(
        self,
        root: Path,
        hidden: Collection[Path] = (),
        *,
        by_mount_options: bool | None = None,
        takes_detached: bool | None = None,
    ) -> None:
        """`by_mount_options`: mount as kernels before 6.8 need it; None finds that out. `takes_detached`: whether
        overlayfs takes layers that are not attached anywhere, as kernels do from 6.15 on."""
        self._shelves = Shelves(root)
        self._hidden = [os.fsencode(path.resolve()).strip(b"/") for path in hidden]
        self._by_mount_options = by_mount_options
        self._takes_detached = _is_since(6, 15) if takes_detached is None else takes_detached

    def close(self) -> None:
        """Give up the descriptors; mounts stay."""
        self._shelves.close()

    def status(self) -> list[tuple[str, str]]:
        """See Driver."""
        return [
            ("Backing Filesystem", trees.filesystem_name(self._shelves.fd)),
            ("Supports d_type", "true"),
            ("Using metacopy", "false"),
            ("Native Overlay Diff", "true"),
            ("userxattr", "true" if user_namespaces.inside() else "false"),
        ]

    def probe(self) -> None:
        """Mount a small overlay and write to it. Raises OSError where that does not work here."""
        with self._shelves.temporary() as name, opened(name, dir_fd=self._shelves.tmp) as fd:
            for part in ("lower", "upper", "work"):
                os.mkdir(part, dir_fd=fd)
            with opened("upper", dir_fd=fd) as upper:
                make_opaque(upper)  # a file system may not have such attributes
                os.removexattr(upper, opaque_mark())
            base = f"tmp/{name}"
            with owned(self._mount([f"{base}/lower"], f"{base}/upper", f"{base}/work")) as mount:
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=mount))

    # layers

    @contextmanager
    def draft(self, parents: list[str]) -> Iterator[ShelfDraft]:
        """See Driver."""
        with self._shelves.temporary() as name, ExitStack() as stack:
            fd = stack.enter_context(opened(name, dir_fd=self._shelves.tmp))
            below = stack.enter_context(self.merged(parents)) if parents else None
            if below is None:
                os.fchmod(fd, 0o755)
            else:
                with opened(".", dir_fd=below) as directory:
                    trees.copy_attributes(directory, fd)
            yield ShelfDraft(self._shelves, name, fd, below, compared=below, overlay=True)

    def remove_layer(self, name: str) -> Callable[[], None]:
        """See Driver."""
        return self._shelves.discard(self._shelves.layers, name)

    @contextmanager
    def merged(self, parents: list[str]) -> Iterator[int]:
        """See Driver."""
        if len(parents) < 2:  # overlayfs needs two
            path = f"layers/{parents[0]}" if parents else self._empty_layer()
            with opened(path, os.O_PATH | os.O_DIRECTORY, self._shelves.fd) as fd:
                yield fd
            return
        with owned(self._mount([f"layers/{parent}" for parent in parents])) as fd:
            yield fd

    # roots

    def create_root(self, name: str, parents: list[str], options: RootOptions) -> None:
        """See Driver."""
        os.mkdir(name, 0o700, dir_fd=self._shelves.roots)
        try:
            with opened(name, dir_fd=self._shelves.roots) as fd:
                self._fill_root(fd, parents, options)
        except BaseException:
            self._shelves.discard(self._shelves.roots, name)()
            raise

    def _fill_root(self, fd: int, parents: list[str], options: RootOptions) -> None:
        os.mkdir("upper", 0o755, dir_fd=fd)
        os.mkdir("work", 0o700, dir_fd=fd)
        if parents and not options.host:
            info = os.stat(parents[0], dir_fd=self._shelves.layers, follow_symlinks=False)
            os.chown("upper", info.st_uid, info.st_gid, dir_fd=fd)
            os.chmod("upper", stat.S_IMODE(info.st_mode), dir_fd=fd)
        else:
            os.chmod("upper", 0o755, dir_fd=fd)
        if options.host:
            with opened("upper", dir_fd=fd) as upper:
                host_root.furnish(upper, self._hidden)

    def mount_root(self, name: str, parents: list[str], options: RootOptions, ids: int | None = None) -> int:
        """See Driver."""
        lower = self._below(parents, options)
        try:
            mount = self._mount_writable(name, lower, options, ids)
        except OSError as error:
            if options.host and error.errno == errno.EINVAL and trees.filesystem_name("/") == "overlay":
                raise Unsupported(
                    "the image host cannot be used here: the root file system of this machine is itself an overlay"
                    f" of the greatest depth ({error})"
                ) from error
            if not self._forget_volatile(name):
                raise
            mount = self._mount_writable(name, lower, options, ids)
        if not options.writable:
            try:
                mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_RDONLY)
            except BaseException:
                os.close(mount)
                raise
        return mount

    def view_root(self, name: str, parents: list[str], options: RootOptions) -> int:
        """See Driver: the writable layer is the topmost of those read."""
        if options.host:  # where it lies in the layer below, which overlayfs allows to the writable one only
            return self.mount_root(name, parents, dataclasses.replace(options, writable=False))
        return self._mount([f"roots/{name}/upper", *self._below(parents, options)])

    def _below(self, parents: list[str], options: RootOptions) -> list[str]:
        if options.host:
            return [self._empty_layer()] if user_namespaces.inside() else ["/"]
        return [f"layers/{parent}" for parent in parents] or [self._empty_layer()]

    def _mount_writable(self, name: str, lower: list[str], options: RootOptions, ids: int | None) -> int:
        with ExitStack() as stack:
            base = f"roots/{name}"
            if ids is not None:
                lower = [self._mapped(path, ids, stack) for path in lower]
                base = self._mapped(base, ids, stack)
            mount = self._mount(lower, f"{base}/upper", f"{base}/work", volatile=options.volatile)
            if options.host and user_namespaces.inside():
                return self._mount_host_parts(mount, base, volatile=options.volatile)
            return mount

    def _mount_host_parts(self, mount: int, base: str, *, volatile: bool) -> int:
        """Put the directories of "/" into a root, as far as they show there."""
        with opened(base, dir_fd=self._shelves.fd) as fd:
            with suppress(FileExistsError):
                os.mkdir("parts", 0o700, dir_fd=fd)
            with opened("upper", dir_fd=fd) as upper:
                names = [name for name in map(os.fsencode, os.listdir(upper)) if name not in host_root.HIDDEN]

        def mount_part(name: bytes) -> int:
            text = os.fsdecode(name)
            with suppress(FileExistsError):
                os.mkdir(f"{base}/parts/{text}", 0o700, dir_fd=self._shelves.fd)
            return self._mount([f"/{text}"], f"{base}/upper/{text}", f"{base}/parts/{text}", volatile=volatile)

        with self._shelves.temporary() as anchor:
            place = self._shelves.root / "tmp" / anchor
            return host_root.mount_parts(mount, str(place), names, mount_part, self._hidden)

    def _mapped(self, path: str, ids: int, stack: ExitStack) -> str:
        """A directory by way of an id-mapped mount, which overlayfs keeps to itself; good until `stack` is closed.

        overlayfs cannot be id-mapped itself, its layers can (Linux 5.19).
        """
        mount = stack.enter_context(owned(mounts.open_tree(self._shelves.fd, path, clone=True)))
        trees.map_ids(mount, ids)
        if self._takes_detached:
            return f"/proc/self/fd/{mount}"
        place = f"tmp/{stack.enter_context(self._shelves.temporary())}"
        with opened(place, os.O_PATH | os.O_DIRECTORY, self._shelves.fd) as fd:
            mounts.mount_setattr(mount, propagation=mounts.MS_PRIVATE)
            mounts.move_mount(mount, fd)
        stack.callback(mounts.umount, f"/proc/self/fd/{self._shelves.fd}/{place}")
        return place

    def _empty_layer(self) -> str:
        """What is below a root without layers: overlayfs wants at least one lower directory."""
        try:
            os.mkdir("empty", 0o755, dir_fd=self._shelves.fd)
        except FileExistsError:
            pass
        return "empty"

    def _forget_volatile(self, name: str) -> bool:
        """Remove the mark with which the kernel refuses to mount again what was mounted without syncing.

        It is there to have the files looked at after a crash of the machine; callers that ask for a volatile root do
        not keep its content beyond one.
        """
        try:
            with opened(f"{name}/work/work/incompat", dir_fd=self._shelves.roots) as fd:
                if "volatile" not in os.listdir(fd):
                    return False
                trees.remove_tree(fd, "volatile")
        except FileNotFoundError:
            return False
        return True

    def remove_root(self, name: str) -> Callable[[], None]:
        """See Driver."""
        return self._shelves.discard(self._shelves.roots, name)

    def clear_places(self, name: str, parents: list[str], places: frozenset[bytes]) -> None:
        """See Driver."""
        with opened(f"{name}/upper", dir_fd=self._shelves.roots) as upper, self.merged(parents) as below:
            remove_places(upper, below, places | PLACES)

    def adopt_root(self, name: str, layer: str) -> Callable[[], None]:
        """See Driver."""
        self._shelves.publish(self._shelves.roots, f"{name}/upper", self._shelves.layers, layer)
        return self.remove_root(name)

    def root_usage(self, name: str) -> int:
        """See Driver."""
        with opened(f"{name}/upper", dir_fd=self._shelves.roots) as fd:
            return trees.usage(fd)

    def layer_paths(self, layers: list[str]) -> dict[str, str]:
        """See Driver."""
        upper, *lower = [str(self._shelves.root / "layers" / name) for name in layers] or [""]
        return {name: path for name, path in (("UpperDir", upper), ("LowerDir", ":".join(lower))) if path}

    def root_paths(self, name: str, parents: list[str], options: RootOptions) -> dict[str, str]:
        """See Driver."""
        lower = [str(self._shelves.root / path) for path in self._below(parents, options)]
        base = self._shelves.root / "roots" / name
        return {"LowerDir": ":".join(lower), "UpperDir": str(base / "upper"), "WorkDir": str(base / "work")}

    # differences

    def changes(self, name: str, parents: list[str], options: RootOptions) -> list[tuple[int, str]]:
        """See Driver."""
        with self._compared(name, parents, options) as comparison:
            rows = changes(comparison)
        return host_root.without_places(rows) if options.host else rows

    def diff(self, name: str, parents: list[str], options: RootOptions) -> Iterator[bytes]:
        """See Driver."""
        with self._compared(name, parents, options) as comparison:
            yield from archive(comparison)

    @contextmanager
    def _compared(self, name: str, parents: list[str], options: RootOptions) -> Iterator[Comparison]:
        with ExitStack() as stack:
            upper = stack.enter_context(opened(f"{name}/upper", dir_fd=self._shelves.roots))
            below = None
            if options.host:
                below = stack.enter_context(owned(host_root.open_host()))
            elif parents:
                below = stack.enter_context(self.merged(parents))
            comparison = Comparison(upper, below, overlay=True)
            comparison.places = PLACES
            if options.host:
                comparison.emptied.update(host_root.HIDDEN, host_root.closed())
                comparison.absent.update(self._hidden)
            yield comparison

    def layer_diff(self, name: str, parents: list[str]) -> Iterator[bytes]:
        """See Driver."""
        with ExitStack() as stack:
            upper = stack.enter_context(opened(name, dir_fd=self._shelves.layers))
            below = stack.enter_context(self.merged(parents)) if parents else None
            yield from archive(Comparison(upper, below, overlay=True))

    def repair(self, layers: Collection[str], roots: Collection[str]) -> None:
        """See Driver."""
        self._shelves.repair(layers, roots)

    # helpers

    def _mount(
        self, lower: list[str], upper: str | None = None, work: str | None = None, *, volatile: bool = False
    ) -> int:
        """A detached overlay of directories named from the driver's root, `lower` from the top down."""
        if self._by_mount_options is not True:
            try:
                mount = self._mount_by_layers(lower, upper, work, volatile)
            except OSError as error:
                if error.errno != errno.EINVAL or self._by_mount_options is False:
                    raise
            else:
                self._by_mount_options = False
                return mount
        mount = self._mount_by_options(lower, upper, work, volatile)
        self._by_mount_options = True  # a kernel before 6.8, which does not know `lowerdir+`
        return mount

    def _mount_by_layers(self, lower: list[str], upper: str | None, work: str | None, volatile: bool) -> int:
        options: list[tuple[str, str | None]] = [("lowerdir+", self._option_path(path)) for path in lower]
        if upper is not None and work is not None:
            options += [("upperdir", self._option_path(upper)), ("workdir", self._option_path(work))]
            if volatile:
                options.append(("volatile", None))
        return mounts.mount_detached("overlay", [("source", "overlay"), *options, *_features()])

    def _option_path(self, path: str) -> str:
        """A directory's name for the kernel: an option may have 255 bytes, and some of them mean something."""
        full = str(self._shelves.root / path)
        if len(os.fsencode(full)) <= _MAX_VALUE and not set(full) & set(":\\,"):
            return full
        return f"/proc/self/fd/{self._shelves.fd}/{path}"

    def _mount_by_options(self, lower: list[str], upper: str | None, work: str | None, volatile: bool) -> int:
        """For older kernels: mount(2), whose options must fit a page, so each layer is named by a short link in /proc.

        It can only attach: to a directory of tmp/, and off again once there is a detached copy.
        """
        with ExitStack() as stack:
            names = []
            for path in lower:
                fd = stack.enter_context(opened(path, os.O_PATH | os.O_DIRECTORY, self._shelves.fd))
                names.append(f"/proc/self/fd/{fd}")
            options = "lowerdir=" + ":".join(names)
            if upper is not None:
                base = f"/proc/self/fd/{self._shelves.fd}"
                options += f",upperdir={base}/{upper},workdir={base}/{work}"
                options += ",volatile" if volatile else ""
            options += "".join(f",{key}" if value is None else f",{key}={value}" for key, value in _features())
            target = f"/proc/self/fd/{self._shelves.tmp}/{stack.enter_context(self._shelves.temporary())}"
            mounts.mount("overlay", target, "overlay", 0, options)
            try:
                copy = mounts.open_tree(mounts.AT_FDCWD, target, clone=True)
            finally:
                mounts.umount(target)
        mounts.mount_setattr(copy, propagation=mounts.MS_PRIVATE)
        return copy


def _features() -> list[tuple[str, str | None]]:
    return _USER_FEATURES if user_namespaces.inside() else _FEATURES


def _is_since(*version: int) -> bool:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= version
