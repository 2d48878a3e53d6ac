"""Layers by chain id and the writable roots on top of them: what the engine and the images see of storage.

A chain id names a layer together with all below it (OCI image specification, "Layer ChainID"). The database says what
exists, the driver holds the files: files come first and go last, so a crash at any moment leaves at most files
that nobody knows, and those are removed at the next start.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from knarr.database import Database
from knarr.errors import Conflict, InvalidParameter, NotFound, Unsupported
from knarr.storage.archive_reader import ArchiveReader, Readable
from knarr.storage.archive_writer import end
from knarr.storage.driver import Draft, Driver, RootOptions
from knarr.storage.overlay import OverlayDriver
from knarr.storage.reaper import Reaper
from knarr.storage.sealing import Sealing
from knarr.storage.unpack import Entries, Limits, unpack
from knarr.storage.vfs import VfsDriver

_SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (
    driver TEXT NOT NULL, chain_id TEXT NOT NULL, diff_id TEXT NOT NULL, parent TEXT, size INTEGER NOT NULL,
    PRIMARY KEY (driver, chain_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (
    driver TEXT NOT NULL, id TEXT NOT NULL, parent TEXT, host INTEGER NOT NULL, writable INTEGER NOT NULL,
    volatile INTEGER NOT NULL, PRIMARY KEY (driver, id)) WITHOUT ROWID;
"""
_MAX_LAYERS = 125  # what dockerd allows: the kernel's limit, less the writable layer and its init layer


class Layer(msgspec.Struct, frozen=True):
    """One layer. `size` is the bytes of its regular files."""

    chain_id: str
    diff_id: str
    parent: str | None
    size: int


class _Root(msgspec.Struct, frozen=True):
    parent: str | None
    options: RootOptions


class LayerStore:
    """All calls block and may come from any thread; calls for one root are the caller's to put in order."""

    def __init__(
        self,
        root: Path,
        database: Database,
        driver: str | None = None,
        *,
        hidden: Collection[Path] = (),
        limits: Limits | None = None,
    ) -> None:
        """Open the store below `root`, the engine's data directory, and remove what a crash left half done.

        `driver` is "overlay2" or "vfs"; None takes the first that works here. `hidden` are directories that, like
        `root` itself, a container on the host's root must not see. Raises InvalidParameter, Unsupported.
        """
        self._database = database
        self._limits = limits or Limits()
        self._lock = threading.RLock()
        self._reaper = Reaper()
        self._driver = _choose(root, driver, [root, *hidden])
        self._layers: dict[str, Layer] = {}
        self._roots: dict[str, _Root] = {}
        self._users: Counter[str] = Counter()  # chain id: layers, roots and running calls that stand on it
        database.add_schema(_SCHEMA)
        self._load()

    @property
    def driver(self) -> str:
        """What `docker info` shows as storage driver: "overlay2" or "vfs"."""
        return self._driver.name

    def status(self) -> list[tuple[str, str]]:
        """Rows of `docker info` about the driver."""
        return self._driver.status()

    def close(self) -> None:
        """Finish removing, give up the driver's descriptors. Mounts stay."""
        self._reaper.settle()
        self._driver.close()

    def _load(self) -> None:
        rows = self._database.query(
            "SELECT chain_id, diff_id, parent, size FROM layers WHERE driver = ?", (self.driver,)
        )
        layers = [msgspec.convert(row, tuple[str, str, str | None, int]) for row in rows]
        self._layers = {row[0]: Layer(*row) for row in layers}
        query = "SELECT id, parent, host, writable, volatile FROM roots WHERE driver = ?"
        for row in self._database.query(query, (self.driver,)):
            name, parent, host, writable, volatile = msgspec.convert(row, tuple[str, str | None, int, int, int])
            self._roots[name] = _Root(parent, RootOptions(bool(host), bool(writable), bool(volatile)))
        parents = [layer.parent for layer in self._layers.values()] + [root.parent for root in self._roots.values()]
        self._users.update(parent for parent in parents if parent is not None)
        self._driver.repair([_name(chain_id) for chain_id in self._layers], list(self._roots))

    # layers

    def apply(self, parent: str | None, archive: Readable, *, diff_id: str | None = None) -> Layer:
        """Unpack an uncompressed layer archive on top of `parent`; a layer that is there already is returned as is.

        The archive is always read to its end. Raises NotFound (parent), InvalidParameter for an archive that is
        damaged, hostile or not the one that `diff_id` names; then nothing is left of it.
        """
        if diff_id is not None:
            known = self._layers.get(_chain(parent, diff_id))
            if known is not None:
                reader = ArchiveReader(archive)
                reader.drain()
                return known
        with self.in_use(parent):
            return self._unpack(parent, ArchiveReader(archive), diff_id)

    def _unpack(self, parent: str | None, reader: ArchiveReader, diff_id: str | None) -> Layer:
        below = self._names(parent)
        if len(below) >= _MAX_LAYERS:
            raise InvalidParameter("max depth exceeded")
        with self._driver.draft(below) as draft:
            size = unpack(reader, draft.root_fd, draft.below_fd, overlay=self._driver.overlay, limits=self._limits)
            reader.drain()
            digest = reader.digest()
            if diff_id is not None and digest != diff_id:
                raise InvalidParameter(f"wrong diff id calculated on extraction {digest!r}, expected {diff_id!r}")
            return self._publish(Layer(_chain(parent, digest), digest, parent, size), draft.publish)

    def make(self, parent: str | None, entries: Entries, names: list[bytes] | None = None) -> Layer | None:
        """As `apply`, for entries of no archive that is to be kept: the layer's digest is that of `layer_archive`.

        None if it changes nothing in what `parent` shows. With the `names` of all entries, sorted as they will come, it
        takes less time: see Sealing.
        """
        with self.in_use(parent):
            below = self._names(parent)
            if len(below) >= _MAX_LAYERS:
                raise InvalidParameter("max depth exceeded")
            with self._driver.draft(below) as draft:
                sealing = self._sealing(draft, entries, names)
                size = unpack(
                    sealing or entries,
                    draft.root_fd,
                    draft.below_fd,
                    overlay=self._driver.overlay,
                    whiteouts=False,
                    limits=self._limits,
                )
                digest = sealing.digest(draft.root_fd) if sealing else None
                layer = _sealed(parent, digest, size) if digest else _layer(parent, draft.diff(), size)
                return layer and self._publish(layer, draft.publish)

    def _sealing(self, draft: Draft, entries: Entries, names: list[bytes] | None) -> Sealing | None:
        if not names or not self._driver.overlay:
            return None
        return Sealing.of(entries, names, draft.root_fd, draft.below_fd)

    def _publish(self, layer: Layer, publish: Callable[[str], object]) -> Layer:
        """The layer, made with a call of `publish` unless it is there already."""
        with self._lock:
            known = self._layers.get(layer.chain_id)
            if known is None:
                publish(_name(layer.chain_id))
                self._record(layer)
            return known or layer

    def _record(self, layer: Layer) -> None:
        try:
            self._database.execute(
                "INSERT INTO layers (driver, chain_id, diff_id, parent, size) VALUES (?, ?, ?, ?, ?)",
                (self.driver, layer.chain_id, layer.diff_id, layer.parent, layer.size),
            )
        except BaseException:
            self._driver.remove_layer(_name(layer.chain_id))()
            raise
        self._layers[layer.chain_id] = layer
        if layer.parent is not None:
            self._users[layer.parent] += 1

    def get(self, chain_id: str) -> Layer:
        """The layer. Raises NotFound."""
        layer = self._layers.get(chain_id)
        if layer is None:
            raise NotFound(f"layer does not exist: {chain_id}")
        return layer

    def has(self, chain_id: str) -> bool:
        """Whether there is such a layer."""
        return chain_id in self._layers

    def layers(self) -> list[Layer]:
        """All layers."""
        with self._lock:
            return list(self._layers.values())

    def remove(self, chain_id: str) -> None:
        """Remove a layer. Raises NotFound, and Conflict while a layer, a root or a running call stands on it."""
        with self._lock:
            layer = self.get(chain_id)
            if self._users[chain_id]:
                raise Conflict(f"layer {chain_id} is in use")
            self._database.execute("DELETE FROM layers WHERE driver = ? AND chain_id = ?", (self.driver, chain_id))
            del self._layers[chain_id]
            self._leave(layer.parent)
            clean_up = self._driver.remove_layer(_name(chain_id))
        self._reaper.submit(clean_up)

    def layer_archive(self, chain_id: str) -> Iterator[bytes]:
        """A layer as an archive made anew: the same files, not the same bytes as the archive that it came from."""
        layer = self.get(chain_id)
        with self.in_use(chain_id):
            yield from self._driver.layer_diff(_name(chain_id), self._names(layer.parent))

    @contextmanager
    def view(self, chain_id: str | None) -> Iterator[int]:
        """The root directory (O_PATH) of what a layer and all below it show, to be read only. Raises NotFound."""
        with self.in_use(chain_id), self._driver.merged(self._names(chain_id)) as fd:
            yield fd

    def chain_of(self, diff_ids: list[str]) -> str | None:
        """The chain id of layers given from the bottom up; None for no layers."""
        chain = None
        for diff_id in diff_ids:
            chain = _chain(chain, diff_id)
        return chain

    # roots

    def create_root(
        self, id: str, parent: str | None, *, host: bool = False, writable: bool = True, volatile: bool = False
    ) -> None:
        """A container's root: a writable layer on top of `parent`, or with `host` over the host's own root.

        With `volatile` it need not outlive a crash of the machine: right for containers that go when they end, and
        it saves the flush to disk at that moment. Raises Conflict if `id` is taken, NotFound (parent), Unsupported.
        """
        root = _Root(parent, RootOptions(host=host, writable=writable, volatile=volatile))
        with self.in_use(parent):
            try:
                self._driver.create_root(id, self._names(parent), root.options)
            except FileExistsError:
                raise Conflict(f"root {id} exists") from None
            try:
                self._database.execute(
                    "INSERT INTO roots (driver, id, parent, host, writable, volatile) VALUES (?, ?, ?, ?, ?, ?)",
                    (self.driver, id, parent, host, writable, volatile),
                )
            except BaseException:
                self._driver.remove_root(id)()
                raise
            with self._lock:
                self._roots[id] = root
                if parent is not None:
                    self._users[parent] += 1

    def roots(self) -> list[str]:
        """The ids of all roots."""
        with self._lock:
            return list(self._roots)

    def below_roots(self) -> set[str]:
        """The chain ids of the layers that roots stand on."""
        with self._lock:
            found: set[str] = set()
            for root in self._roots.values():
                chain = root.parent
                while chain is not None and chain not in found:
                    found.add(chain)
                    chain = self.get(chain).parent
            return found

    def paths(self, chain_id: str | None) -> dict[str, str]:
        """The directories that a layer and those below it are in, by overlayfs's names for them. Raises NotFound."""
        return self._driver.layer_paths(self._names(chain_id))

    def root_paths(self, id: str) -> dict[str, str]:
        """The directories that a root is made of, by overlayfs's names for them. Raises NotFound."""
        root = self._root(id)
        return self._driver.root_paths(id, self._names(root.parent), root.options)

    def mount_root(self, id: str, *, ids: int | None = None) -> int:
        """A detached mount of a root, owned by the caller, gone with its last user. Raises NotFound.

        `ids`: the user namespace whose ids its files have in this mount (see `Driver.mount_root`; Unsupported).

        Each call gives an instance of its own. While one is in use, go through that (a running container's through its
        process): two writers behind each other's back is what overlayfs leaves undefined.
        """
        root = self._root(id)
        return self._driver.mount_root(id, self._names(root.parent), root.options, ids)

    def view_root(self, id: str) -> int:
        """A detached read-only mount of a root, owned by the caller. Raises NotFound.

        Unlike `mount_root`'s it may be used at any time, unless it is over the host's root: changes made through
        another instance show sooner or later.
        """
        root = self._root(id)
        return self._driver.view_root(id, self._names(root.parent), root.options)

    def remove_root(self, id: str) -> None:
        """Remove a root and its content. A missing one is fine."""
        with self._lock:
            root = self._roots.pop(id, None)
            if root is None:
                return
            self._database.execute("DELETE FROM roots WHERE driver = ? AND id = ?", (self.driver, id))
            self._leave(root.parent)
        self._reaper.submit(self._driver.remove_root(id))

    def commit_root(self, id: str, places: Collection[bytes] = ()) -> Layer | None:
        """Make a layer of a root that nobody uses any more, and which has gone then: its files stay where they are.

        Empty files and directories at `places` (without a leading slash) are not the container's, as at those where
        every start has some. None, and the root stays, if nothing is changed. Raises NotFound.
        """
        root = self._root(id)
        with self.in_use(root.parent):
            parents = self._names(root.parent)
            if len(parents) >= _MAX_LAYERS:
                raise InvalidParameter("max depth exceeded")
            self._driver.clear_places(id, parents, frozenset(places))
            pieces = self._driver.diff(id, parents, root.options)
            layer = _layer(root.parent, pieces, self._driver.root_usage(id))
            if layer is None:
                return None
            rests: list[Callable[[], None]] = []
            made = self._publish(layer, lambda name: rests.append(self._driver.adopt_root(id, name)))
            self.remove_root(id)
        for clean_up in rests:
            self._reaper.submit(clean_up)
        return made

    def settle(self) -> None:
        """Wait until the files of all that was removed are gone: removing only takes them out of sight."""
        self._reaper.settle()

    def root_usage(self, id: str) -> int:
        """The bytes of files in the writable layer. Raises NotFound."""
        self._root(id)
        return self._driver.root_usage(id)

    def changes(self, id: str) -> list[tuple[int, str]]:
        """What a root changes in what is below: (0 modified, 1 added, 2 deleted; path), by path. Raises NotFound."""
        root = self._root(id)
        return self._driver.changes(id, self._names(root.parent), root.options)

    def diff(self, id: str) -> Iterator[bytes]:
        """The same as a layer archive, in pieces. Raises NotFound at once."""
        root = self._root(id)
        return self._driver.diff(id, self._names(root.parent), root.options)

    # helpers

    def _root(self, id: str) -> _Root:
        root = self._roots.get(id)
        if root is None:
            raise NotFound(f"no root for container {id}")
        return root

    def _names(self, chain_id: str | None) -> list[str]:
        """The driver's names of a layer and all below it, from the top down."""
        names = []
        while chain_id is not None:
            names.append(_name(chain_id))
            chain_id = self.get(chain_id).parent
        return names

    @contextmanager
    def in_use(self, chain_id: str | None) -> Iterator[None]:
        """Keep a layer from being removed. Raises NotFound."""
        self.hold(chain_id)
        try:
            yield
        finally:
            self.release(chain_id)

    def hold(self, chain_id: str | None) -> None:
        """Keep a layer from being removed until as many calls of `release`. Raises NotFound."""
        if chain_id is not None:
            with self._lock:
                self.get(chain_id)
                self._users[chain_id] += 1

    def release(self, chain_id: str | None) -> None:
        """Undo a `hold`."""
        with self._lock:
            self._leave(chain_id)

    def _leave(self, chain_id: str | None) -> None:
        if chain_id is not None:
            self._users[chain_id] -= 1
            if not self._users[chain_id]:
                del self._users[chain_id]


def _layer(parent: str | None, pieces: Iterator[bytes], size: int) -> Layer | None:
    """The layer of an archive in pieces, None for an empty one."""
    digest = hashlib.sha256()
    empty = True
    for piece in pieces:
        empty = empty and piece == end()
        digest.update(piece)
    return None if empty else _sealed(parent, f"sha256:{digest.hexdigest()}", size)


def _sealed(parent: str | None, diff_id: str, size: int) -> Layer:
    return Layer(_chain(parent, diff_id), diff_id, parent, size)


def _choose(root: Path, name: str | None, hidden: list[Path]) -> Driver:
    if name not in (None, "overlay2", "vfs"):
        raise InvalidParameter(f"unknown storage driver: {name}")
    reason = "it was asked for"
    if name != "vfs":
        overlay = OverlayDriver(root / "overlay", hidden)
        try:
            overlay.probe()
            return overlay
        except OSError as error:
            overlay.close()
            if name is not None:
                raise Unsupported(f"storage driver overlay2 does not work on {root}: {error}") from error
            remedy = "A data root on ext4, xfs, btrfs or tmpfs will do; in a container, a volume"
            reason = f"overlay2 does not work on {root} ({error.strerror}). {remedy}"
    return VfsDriver(root / "vfs", reason)


def _chain(parent: str | None, diff_id: str) -> str:
    return diff_id if parent is None else "sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest()


def _name(chain_id: str) -> str:
    return chain_id.removeprefix("sha256:")
