"""A store per driver, a builder of layer archives, and a way to look at what comes out."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.database import Database
from knarr.kernel.paths import open_in_root
from knarr.storage.archive_writer import tree_names
from knarr.storage.layers import LayerStore

KINDS = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def member(name: str, data: bytes | str = b"", kind: str = "file", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = KINDS[kind]
    info.mode = 0o755 if kind == "dir" else 0o644
    info.mtime = 1_600_000_000
    if isinstance(data, str):
        info.linkname, data = data, b""
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def build(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


class Tree:
    """A mounted root, by path from its own root directory."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def names(self) -> list[str]:
        return sorted(os.fsdecode(name) for name in tree_names(self.fd))

    def read(self, path: str) -> bytes:
        with open(open_in_root(self.fd, path, os.O_RDONLY), "rb") as file:
            return file.read()

    def write(self, path: str, data: bytes) -> None:
        with open(open_in_root(self.fd, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
            file.write(data)

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path, dir_fd=self.fd, follow_symlinks=False)

    def mode(self, path: str) -> int:
        return stat.S_IMODE(self.stat(path).st_mode)

    def xattr(self, path: str, name: str) -> bytes:
        return os.getxattr(f"/proc/self/fd/{self.fd}/{path}", name, follow_symlinks=False)


class Workbench:
    """A store, and everything that a test mounts closed at its end."""

    def __init__(self, root: Path, driver: str) -> None:
        self.root = root
        self.driver = driver
        self._mounts: list[int] = []
        self.start()

    def layer(self, parent: str | None, *members: tuple[tarfile.TarInfo, bytes]) -> str:
        return self.store.apply(parent, build(*members)).chain_id

    def mount(self, name: str) -> Tree:
        fd = self.store.mount_root(name)
        self._mounts.append(fd)
        return Tree(fd)

    def tree(self, parent: str | None, name: str = "c1") -> Tree:
        self.store.create_root(name, parent)
        return self.mount(name)

    def unmount(self) -> None:
        while self._mounts:
            os.close(self._mounts.pop())

    def stop(self) -> None:
        """Let go of the database and the store, so that another process may open them."""
        self.store.close()
        self.database.close()

    def start(self) -> None:
        self.database = Database(self.root / "state.db")
        self.store = LayerStore(self.root, self.database, self.driver)

    def restart(self) -> None:
        self.stop()
        self.start()

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if "state.db" not in path.name}

    def close(self) -> None:
        self.unmount()
        self.stop()


@pytest.fixture(params=["overlay2", "vfs"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path, request.param)
    yield bench
    bench.close()


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path, "overlay2")
    yield bench
    bench.close()


@pytest.fixture
def make() -> Callable[..., tuple[tarfile.TarInfo, bytes]]:
    return member


@pytest.fixture
def archive() -> Callable[..., io.BytesIO]:
    return build
