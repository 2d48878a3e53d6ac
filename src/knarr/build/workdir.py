"""WORKDIR: the directory is there after it, whether or not the image had it."""

from __future__ import annotations

import os
from collections.abc import Callable

from knarr.build.copying import Copy, Ownership, is_directory
from knarr.errors import InvalidParameter
from knarr.kernel import paths
from knarr.storage.layers import Layer, LayerStore


def make_directory(
    layers: LayerStore,
    chain: str | None,
    path: str,
    owner: Callable[[int], tuple[int, int]] = lambda root_fd: (0, 0),
    moment_ns: int | None = None,
) -> Layer | None:
    """A layer on top of `chain` with the directory; None if it is there. Raises InvalidParameter for a file there.

    `owner` tells whose it is, given the root; `moment_ns` is its time, now unless given.
    """
    name = os.fsencode(path.strip("/"))
    with layers.view(chain) as view:
        if is_directory(view, name):
            return None
        try:
            os.close(paths.open_in_root(view, name))
        except OSError:
            pass
        else:
            raise InvalidParameter(f"Cannot mkdir: {path} is not a directory")
        directory = Copy(Ownership(owner(view)), moment_ns)
        directory.add_directories(view, name)
        return layers.make(chain, directory, directory.names())
