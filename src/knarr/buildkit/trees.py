"""Looking into results: what a client reads of one without exporting it."""

from __future__ import annotations

import os

from knarr import ignore
from knarr.buildkit.filesend import Tree
from knarr.buildkit.proto.fsutil_pb2 import Stat
from knarr.errors import InvalidParameter, NotFound
from knarr.kernel import paths
from knarr.storage.layers import LayerStore
from knarr.storage.trees import owned

_LIMIT = 16 << 20  # what fits a message


class ResultTree:
    """The files of a chain of layers. All calls block."""

    def __init__(self, layers: LayerStore, chain: str | None) -> None:
        self._layers = layers
        self._chain = chain

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A part of a file; all that follows `offset` if `length` is 0. Raises NotFound, InvalidParameter."""
        with self._layers.view(self._chain) as root:
            try:
                data = paths.read_regular(root, path, _LIMIT)
            except OSError as error:
                raise _refusal(path, error) from error
        return data[offset : offset + length if length else None]

    def list(self, path: str, pattern: str) -> list[Stat]:
        """What is in a directory, as far as names fit `pattern`. Raises NotFound, InvalidParameter."""
        wanted = ignore.Patterns([pattern]) if pattern else None
        with self._layers.view(self._chain) as root:
            try:
                directory = paths.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise _refusal(path, error) from error
            with owned(directory):
                entries = Tree.of_directory(directory)
        return [entry for entry in entries if wanted is None or wanted.excludes(entry.path)]

    def stat(self, path: str) -> Stat:
        """A file's or directory's state. Raises NotFound, InvalidParameter."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", "."):
            return Stat(path=".", mode=1 << 31 | 0o755)
        found = [entry for entry in self.list(head or "/", "") if entry.path == name]
        if not found:
            raise NotFound(f"lstat {path}: no such file or directory")
        return found[0]


def _refusal(path: str, error: OSError) -> NotFound | InvalidParameter:
    kind = NotFound if isinstance(error, FileNotFoundError) else InvalidParameter
    return kind(f"open {path}: {(error.strerror or '').lower()}")
