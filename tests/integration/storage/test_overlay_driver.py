"""What only the overlay driver has to do: many layers, older kernels, long paths, the host's own root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.database import Database
from knarr.errors import InvalidParameter
from knarr.kernel import mounts
from knarr.storage.driver import RootOptions
from knarr.storage.layers import LayerStore
from knarr.storage.overlay import OverlayDriver

Make = Callable[..., Any]


def test_125_layers(overlay: Any, make: Make) -> None:
    chain = None
    for number in range(125):
        chain = overlay.layer(chain, make(f"file{number}", b"x"), make("same", b"%d" % number))
    tree = overlay.tree(chain)
    assert len(tree.names()) == 126
    assert tree.read("same") == b"124"
    with pytest.raises(InvalidParameter, match="max depth"):
        overlay.layer(chain, make("more"))


@pytest.mark.parametrize("by_mount_options", [True, False])
@pytest.mark.parametrize("volatile", [True, False])
def test_both_ways_to_mount(by_mount_options: bool, volatile: bool, tmp_path: Path) -> None:
    root = tmp_path / ("long" * 50) / "colon:and,comma"
    root.mkdir(parents=True)
    driver = OverlayDriver(root, by_mount_options=by_mount_options)
    names = [f"{number:064x}" for number in range(125)]
    for name in names:
        with driver.draft([]) as draft:
            os.mkdir(name, dir_fd=draft.root_fd)
            draft.publish(name)
    driver.create_root("c1", names, RootOptions(volatile=volatile))
    for _ in range(2):
        mount = driver.mount_root("c1", names, RootOptions(volatile=volatile))
        fd = os.open(".", os.O_RDONLY, dir_fd=mount)
        assert sorted(os.listdir(fd)) == names
        os.close(fd)
        os.close(mount)
    assert not os.listdir(root / "tmp")
    driver.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Path, LayerStore]]:
    for part in ("data", "hidden", "shown"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "file").write_bytes(b"text")
    database = Database(tmp_path / "data" / "state.db")
    store = LayerStore(tmp_path / "data", database, "overlay2", hidden=[tmp_path / "hidden", Path("/run/knarr")])
    yield tmp_path, store
    store.close()
    database.close()


def entries(mount: int, path: str) -> list[str]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=mount)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


@pytest.fixture
def host_root(host: tuple[Path, LayerStore]) -> Iterator[int]:
    host[1].create_root("c1", None, host=True)
    mount = host[1].mount_root("c1")
    yield mount
    os.close(mount)


def test_the_host_is_shown_without_what_is_not_a_containers(host_root: int) -> None:
    assert "usr" in entries(host_root, ".")
    for name in ("proc", "sys", "dev", "run", "tmp"):
        assert entries(host_root, name) == []
    assert os.stat("tmp", dir_fd=host_root).st_mode == os.stat("/tmp").st_mode


def test_nothing_is_written_through_to_the_host(host_root: int, host: tuple[Path, LayerStore]) -> None:
    name = f"usr/{host[0].name}"
    os.mkdir(name, dir_fd=host_root)
    os.close(os.open(f"{name}/file", os.O_CREAT | os.O_WRONLY, dir_fd=host_root))
    os.chmod("etc/passwd", 0o640, dir_fd=host_root)
    assert not os.path.exists(f"/{name}")
    assert os.stat("/etc/passwd").st_mode & 0o777 != 0o640
    assert host[1].changes("c1") == [
        (0, "/etc"),
        (0, "/etc/passwd"),
        (0, "/usr"),
        (1, f"/{name}"),
        (1, f"/{name}/file"),
    ]


def test_a_fresh_host_root_has_no_changes(host_root: int, host: tuple[Path, LayerStore]) -> None:
    assert host[1].changes("c1") == []
    os.close(os.open("tmp/file", os.O_CREAT | os.O_WRONLY, dir_fd=host_root))
    assert host[1].changes("c1") == [(0, "/tmp"), (1, "/tmp/file")]


def test_a_read_only_host_root(host: tuple[Path, LayerStore]) -> None:
    host[1].create_root("c1", None, host=True, writable=False)
    mount = host[1].mount_root("c1")
    with pytest.raises(OSError, match="Read-only"):
        os.mkdir("new", dir_fd=mount)
    os.close(mount)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory that the host root would show: pytest's own are below /tmp."""
    path = Path(f"/var/lib/knarr-test-{os.getpid()}")
    for part in ("data", "hidden", "shown"):
        (path / part).mkdir(parents=True)
        (path / part / "file").write_bytes(b"text")
    yield path
    shutil.rmtree(path)


def test_the_engines_directories_and_other_mounts_are_hidden(elsewhere: Path) -> None:
    submount = mounts.mount_detached("tmpfs")
    (elsewhere / "shown" / "mounted").mkdir()
    mounts.move_mount(submount, mounts.AT_FDCWD, str(elsewhere / "shown" / "mounted"))
    (elsewhere / "shown" / "mounted" / "file").write_bytes(b"text")
    os.close(submount)
    database = Database(elsewhere / "data" / "state.db")
    store = LayerStore(elsewhere / "data", database, "overlay2", hidden=[elsewhere / "hidden"])
    store.create_root("c1", None, host=True)
    mount = store.mount_root("c1")
    try:
        here = str(elsewhere)[1:]
        assert entries(mount, here) == ["shown"]
        assert entries(mount, f"{here}/shown") == ["file", "mounted"]
        assert entries(mount, f"{here}/shown/mounted") == []
        assert os.stat("var/lib", dir_fd=mount).st_mode == os.stat("/var/lib").st_mode
        assert store.changes("c1") == []
    finally:
        os.close(mount)
        mounts.umount(str(elsewhere / "shown" / "mounted"))
        store.close()
        database.close()


def test_a_view_of_a_host_root(host_root: int, host: tuple[Path, LayerStore], tmp_path: Path) -> None:
    os.close(os.open("made-here", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=host_root))
    fd = host[1].view_root("c1")
    try:
        assert "made-here" in os.listdir(f"/proc/self/fd/{fd}")
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("x", dir_fd=fd)
    finally:
        os.close(fd)
