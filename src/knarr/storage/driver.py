"""What a storage driver is.

A driver turns layers into root file systems. It keeps directories under names that it is given and knows nothing of
digests, databases or images: `LayerStore` does. All calls are synchronous and may come from any thread, but never two
at once for the same name.

A layer comes into being like this:

    with driver.draft(parents) as draft:            # a directory that nobody sees yet
        unpack(reader, draft.root_fd, draft.below_fd, overlay=driver.overlay)
        draft.publish("3f…")                        # from now on a layer; without this call nothing is left

and is used like this (`parents` are layers' names, the topmost first):

    driver.create_root("c1", ["3f…", "a0…"])        # an empty writable layer on top of them
    fd = driver.mount_root("c1", ["3f…", "a0…"])    # the root file system, a detached mount
    driver.changes("c1", [...]), driver.diff(...)   # what the container has changed
    driver.remove_root("c1")()                      # out of sight at once, off the disk with the second call

After a crash `repair` removes what no `publish` and no `create_root` has finished.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RootOptions:
    """How a root is made and mounted; the same at every call for one root.

    host      over the host's own root file system instead of layers
    writable  False: mounted read-only
    volatile  its content need not outlive a crash of the machine: nothing is synced to disk, also when it is unmounted
    """

    host: bool = False
    writable: bool = True
    volatile: bool = False


class Draft(Protocol):
    """A layer in the making."""

    @property
    def root_fd(self) -> int:
        """The directory to unpack into."""
        ...

    @property
    def below_fd(self) -> int | None:
        """The merged tree of the layers below, where `root_fd` does not hold their files itself."""
        ...

    def diff(self) -> Iterator[bytes]:
        """The layer archive that `layer_diff` will give of it."""
        ...

    def publish(self, name: str) -> None:
        """Make it the layer `name`, atomically. Raises FileExistsError if there is one."""
        ...


class Driver(Protocol):
    """The calls of a driver. Each raises OSError when the kernel refuses."""

    @property
    def name(self) -> str:
        """What `docker info` shows."""
        ...

    @property
    def overlay(self) -> bool:
        """Whether layers hold differences only, in overlayfs's notation."""
        ...

    def status(self) -> list[tuple[str, str]]:
        """Rows for `docker info`."""
        ...

    def draft(self, parents: list[str]) -> AbstractContextManager[Draft]:
        """Begin a layer on top of `parents`."""
        ...

    def remove_layer(self, name: str) -> Callable[[], None]:
        """Forget a layer that nothing stands on; its files go when the result is called. A missing one is fine."""
        ...

    def merged(self, parents: list[str]) -> AbstractContextManager[int]:
        """What layers on top of each other show, to be read only; nothing for no layers."""
        ...

    def create_root(self, name: str, parents: list[str], options: RootOptions) -> None:
        """A writable layer on top of `parents`. Raises FileExistsError, Unsupported (host)."""
        ...

    def mount_root(self, name: str, parents: list[str], options: RootOptions, ids: int | None = None) -> int:
        """A detached mount of the root, owned by the caller; it lives as long as anything refers to it.

        Each call may give an instance of its own: not two of them may be written to at the same time. `ids` is a user
        namespace: what has id 0 on the disk belongs to its superuser in this mount, and so on. Its mapping needs a
        place for the host's superuser, too, who makes whiteouts. Raises Unsupported where ids cannot be mapped.
        """
        ...

    def view_root(self, name: str, parents: list[str], options: RootOptions) -> int:
        """As `mount_root`, to be read only: harmless while another instance is written to, but with `host`."""
        ...

    def remove_root(self, name: str) -> Callable[[], None]:
        """Forget a writable layer; its files go when the result is called. A missing one is fine."""
        ...

    def clear_places(self, name: str, parents: list[str], places: frozenset[bytes]) -> None:
        """Remove from a root that nobody uses what a start has made for mounts, here and at `diff.PLACES`."""
        ...

    def adopt_root(self, name: str, layer: str) -> Callable[[], None]:
        """Make a root that nobody uses the layer `layer`, atomically; the rests go when the result is called.

        Raises FileExistsError if there is one.
        """
        ...

    def root_usage(self, name: str) -> int:
        """Bytes in the files of the writable layer."""
        ...

    def changes(self, name: str, parents: list[str], options: RootOptions) -> list[tuple[int, str]]:
        """What differs from the layers below: (kind, absolute path), paths sorted; kinds as in `diff`."""
        ...

    def diff(self, name: str, parents: list[str], options: RootOptions) -> Iterator[bytes]:
        """The same as a layer archive."""
        ...

    def layer_diff(self, name: str, parents: list[str]) -> Iterator[bytes]:
        """A layer on top of `parents` as a layer archive."""
        ...

    def layer_paths(self, layers: list[str]) -> dict[str, str]:
        """Where the files of layers on top of each other are, as overlayfs calls it; nothing where it is not used."""
        ...

    def root_paths(self, name: str, parents: list[str], options: RootOptions) -> dict[str, str]:
        """The same for a root."""
        ...

    def repair(self, layers: Collection[str], roots: Collection[str]) -> None:
        """Remove all that is not named: the remains of a crash."""
        ...

    def close(self) -> None:
        """Give up descriptors; mounts and files stay."""
        ...
