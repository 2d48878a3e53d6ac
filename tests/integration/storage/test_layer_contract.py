"""What every storage driver does: layers, roots, differences, repair."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from typing import Any

import pytest

from knarr.errors import Conflict, InvalidParameter, NotFound
from knarr.storage.archive_reader import ArchiveReader

Make = Callable[..., Any]


def test_a_root_shows_all_layers(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("etc", kind="dir"), make("etc/a", b"one"), make("etc/b", b"base"))
    top = bench.layer(base, make("etc/b", b"top"), make("new/c", b"three"))
    tree = bench.tree(top)
    assert tree.names() == ["etc", "etc/a", "etc/b", "new", "new/c"]
    assert (tree.read("etc/a"), tree.read("etc/b")) == (b"one", b"top")


def test_a_root_without_layers(bench: Any) -> None:
    tree = bench.tree(None)
    tree.write("file", b"data")
    assert (tree.names(), tree.mode(".")) == (["file"], 0o755)


def test_roots_keep_to_themselves(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("file", b"old"))
    first, second = bench.tree(base, "c1"), bench.tree(base, "c2")
    first.write("file", b"new")
    assert second.read("file") == b"old"


def test_a_root_keeps_its_content_over_mounts_and_restarts(bench: Any, make: Make) -> None:
    bench.tree(bench.layer(None, make("file", b"old"))).write("file", b"new")
    bench.unmount()
    bench.restart()
    assert bench.mount("c1").read("file") == b"new"


def test_a_read_only_root(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("file", b"old"))
    bench.store.create_root("c1", base, writable=False)
    tree = bench.mount("c1")
    with pytest.raises(OSError, match="Read-only"):
        tree.write("file", b"new")
    assert tree.read("file") == b"old"


def test_a_volatile_root_can_be_mounted_again(bench: Any, make: Make) -> None:
    bench.store.create_root("c1", bench.layer(None, make("file", b"old")), volatile=True)
    bench.mount("c1").write("file", b"new")
    bench.unmount()
    assert bench.mount("c1").read("file") == b"new"


def test_the_root_directory_is_that_of_the_image(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("./", kind="dir", mode=0o711, uid=5, gid=6))
    top = bench.layer(base, make("file"))
    info = bench.tree(top).stat(".")
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o711, 5, 6)


def test_digests(bench: Any, make: Make, archive: Make) -> None:
    data = archive(make("file", b"data"))
    diff_id = "sha256:" + hashlib.sha256(data.getvalue()).hexdigest()
    base = bench.store.apply(None, data, diff_id=diff_id)
    assert (base.diff_id, base.chain_id, base.parent, base.size) == (diff_id, diff_id, None, 4)
    top = bench.store.apply(base.chain_id, io.BytesIO(data.getvalue()))
    assert top.chain_id == bench.store.chain_of([diff_id, diff_id])
    assert top.chain_id == "sha256:" + hashlib.sha256(f"{diff_id} {diff_id}".encode()).hexdigest()


def test_a_wrong_digest_leaves_nothing(bench: Any, make: Make, archive: Make) -> None:
    before = bench.files()
    with pytest.raises(InvalidParameter, match="diff id"):
        bench.store.apply(None, archive(make("file")), diff_id="sha256:" + "0" * 64)
    assert (bench.files(), bench.store.layers()) == (before, [])


def test_a_layer_that_is_there_is_not_unpacked_again(bench: Any, make: Make, archive: Make) -> None:
    data = archive(make("file", b"data"))
    first = bench.store.apply(None, data)
    for diff_id in (None, first.diff_id):
        again = io.BytesIO(data.getvalue())
        assert bench.store.apply(None, again, diff_id=diff_id) == first
        assert again.read() == b""


def test_what_is_in_use_stays(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("file"))
    top = bench.layer(base, make("other"))
    bench.store.create_root("c1", top)
    for chain in (base, top):
        with pytest.raises(Conflict):
            bench.store.remove(chain)
    bench.store.remove_root("c1")
    bench.store.remove_root("c1")
    bench.store.remove(top)
    bench.store.remove(base)
    assert bench.store.layers() == []


def test_removing_leaves_no_files(bench: Any, make: Make) -> None:
    before = bench.files()
    base = bench.layer(None, make("a/b/c/file", b"x"), make("a/link", "b", "symlink"))
    bench.tree(base).write("new", b"data")
    bench.unmount()
    bench.store.remove_root("c1")
    bench.store.remove(base)
    bench.store.settle()
    assert bench.files() == before


def test_what_is_not_there(bench: Any) -> None:
    for call in (bench.store.get, bench.store.remove, bench.store.mount_root, bench.store.changes, bench.store.diff):
        with pytest.raises(NotFound):
            call("sha256:none")
    with pytest.raises(NotFound):
        bench.store.create_root("c1", "sha256:none")
    with pytest.raises(NotFound):
        bench.store.apply("sha256:none", io.BytesIO(bytes(1024)))


def test_a_root_twice(bench: Any) -> None:
    bench.store.create_root("c1", None)
    with pytest.raises(Conflict):
        bench.store.create_root("c1", None)


def test_a_start_removes_what_a_crash_left(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("file"))
    bench.store.create_root("c1", base)
    before = bench.files()
    directory = bench.root / ("overlay" if bench.driver == "overlay2" else "vfs")
    for leftover in ("tmp/x", "layers/x", "roots/x"):
        (directory / leftover / "deep" / "er").mkdir(parents=True)
        (directory / leftover / "deep" / "file").write_bytes(b"x")
    bench.restart()
    assert bench.files() == before
    assert bench.store.roots() == ["c1"]


def test_removing_many_at_once(bench: Any) -> None:
    for number in range(100):
        bench.store.create_root(f"c{number}", None)
    for number in range(100):
        bench.store.remove_root(f"c{number}")
        assert bench.store.roots() == [f"c{later}" for later in range(number + 1, 100)]
    bench.store.settle()
    assert not [name for name in bench.files() if name.count("/") > 1]


def test_usage(bench: Any, make: Make) -> None:
    tree = bench.tree(None)
    tree.write("a", b"x" * 1000)
    os.link("a", "b", src_dir_fd=tree.fd, dst_dir_fd=tree.fd)
    assert bench.store.root_usage("c1") == 1000


def test_changes(bench: Any, make: Make) -> None:
    base = bench.layer(
        None,
        make("etc", kind="dir"),
        make("etc/gone"),
        make("etc/same"),
        make("etc/old", b"1"),
        make("dir/in/file"),
        make("var/x"),
    )
    tree = bench.tree(base)
    os.unlink("etc/gone", dir_fd=tree.fd)
    tree.write("etc/old", b"22")
    tree.write("etc/new", b"")
    os.chmod("etc/same", 0o600, dir_fd=tree.fd)
    os.unlink("dir/in/file", dir_fd=tree.fd)
    os.rmdir("dir/in", dir_fd=tree.fd)
    os.mkdir("etc-2", dir_fd=tree.fd)
    assert bench.store.changes("c1") == [
        (0, "/dir"),
        (2, "/dir/in"),
        (0, "/etc"),
        (1, "/etc-2"),
        (2, "/etc/gone"),
        (1, "/etc/new"),
        (0, "/etc/old"),
        (0, "/etc/same"),
    ]


def test_a_fresh_root_has_no_changes(bench: Any, make: Make) -> None:
    bench.tree(bench.layer(None, make("etc", kind="dir"), make("etc/file")))
    assert bench.store.changes("c1") == []
    assert b"".join(bench.store.diff("c1")) == bytes(1024)


def test_a_directory_that_was_made_anew_hides_the_old_one(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("d", kind="dir"), make("d/sub", kind="dir"), make("d/sub/old"), make("d/keep", b"1"))
    tree = bench.tree(base)
    for name in ("d/sub/old", "d/keep"):
        os.unlink(name, dir_fd=tree.fd)
    os.rmdir("d/sub", dir_fd=tree.fd)
    os.rmdir("d", dir_fd=tree.fd)
    os.makedirs(f"/proc/self/fd/{tree.fd}/d/sub")
    assert bench.store.changes("c1") == [(0, "/d"), (2, "/d/keep"), (0, "/d/sub"), (2, "/d/sub/old")]


@pytest.mark.parametrize("mounted", [True, False])
def test_a_diff_is_a_layer_that_makes_the_same_tree(mounted: bool, bench: Any, make: Make) -> None:
    base = bench.layer(None, make("etc", kind="dir"), make("etc/gone"), make("etc/old", b"1"), make("d/sub/old"))
    tree = bench.tree(base)
    os.unlink("etc/gone", dir_fd=tree.fd)
    os.unlink("d/sub/old", dir_fd=tree.fd)
    tree.write("etc/old", b"22")
    tree.write("etc/new", b"x" * 3_000_000)
    os.link("etc/new", "etc/again", src_dir_fd=tree.fd, dst_dir_fd=tree.fd)
    os.symlink("/etc/new", "link", dir_fd=tree.fd)
    os.mkfifo("fifo", dir_fd=tree.fd)
    os.setxattr(f"/proc/self/fd/{tree.fd}/etc/new", "user.note", b"text")
    os.utime("etc/new", ns=(1, 1_600_000_000_123_456_789), dir_fd=tree.fd)
    if not mounted:
        bench.unmount()
    data = b"".join(bench.store.diff("c1"))
    assert data == b"".join(bench.store.diff("c1"))
    top = bench.store.apply(base, io.BytesIO(data)).chain_id
    again = bench.tree(top, "c2")
    assert again.names() == ["d", "d/sub", "etc", "etc/again", "etc/new", "etc/old", "fifo", "link"]
    assert again.stat("etc/again").st_ino == again.stat("etc/new").st_ino
    assert again.stat("etc/new").st_mtime_ns == 1_600_000_000_123_456_789
    assert again.xattr("etc/new", "user.note") == b"text"
    archive = b"".join(bench.store.layer_archive(top))
    assert archive == data


def test_a_deep_tree_is_removed(bench: Any) -> None:
    tree = bench.tree(None)
    fd = os.open(".", os.O_RDONLY, dir_fd=tree.fd)
    for _ in range(600):
        os.mkdir("d" * 20, dir_fd=fd)
        child = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    bench.unmount()
    bench.store.remove_root("c1")
    bench.store.settle()
    assert not [name for name in bench.files() if "ddd" in name]


def test_mounts_are_gone_with_their_descriptor(bench: Any, make: Make) -> None:
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    bench.tree(bench.layer(bench.layer(None, make("a")), make("b")))
    with open("/proc/self/mountinfo") as file:
        assert file.read() == before


def archive_digest(bench: Any, chain_id: str) -> str:
    return "sha256:" + hashlib.sha256(b"".join(bench.store.layer_archive(chain_id))).hexdigest()


def test_a_root_becomes_a_layer(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("d", kind="dir"), make("d/a", b"one"), make("d/b", b"two"))
    tree = bench.tree(base)
    tree.write("d/a", b"changed")
    os.unlink("d/b", dir_fd=tree.fd)
    bench.unmount()
    layer = bench.store.commit_root("c1")
    assert (layer.parent, layer.diff_id) == (base, archive_digest(bench, layer.chain_id))
    assert bench.store.roots() == []
    bench.restart()
    seen = bench.tree(layer.chain_id, "c2")
    assert (seen.names(), seen.read("d/a")) == (["d", "d/a"], b"changed")


def test_places_of_mounts_are_no_part_of_a_committed_layer(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("a", b"1")))
    for name in ("etc", "proc", "mine", "etc/mine"):
        os.mkdir(name, dir_fd=tree.fd)
    for name in ("etc/hosts", "etc/hostname", "cache"):
        tree.write(name, b"")
    tree.write("etc/resolv.conf", b"text")
    bench.unmount()
    layer = bench.store.commit_root("c1", [b"cache"])
    assert bench.tree(layer.chain_id, "c2").names() == ["a", "etc", "etc/mine", "etc/resolv.conf", "mine"]


def test_a_root_without_changes_is_no_layer(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("a", b"1")))
    os.mkdir("proc", dir_fd=tree.fd)
    bench.unmount()
    assert bench.store.commit_root("c1") is None
    assert bench.store.roots() == ["c1"]


def test_entries_become_a_layer_that_makes_its_own_archive(bench: Any, make: Make, archive: Make) -> None:
    base = bench.layer(None, make("real", kind="dir"), make("link", "real", "symlink"), make("real/old", b"1"))
    layer = bench.store.make(base, ArchiveReader(archive(make("link/new", b"2"))))
    assert layer.diff_id == archive_digest(bench, layer.chain_id)
    assert bench.tree(layer.chain_id).names() == ["link", "real", "real/new", "real/old"]
    assert bench.store.make(layer.chain_id, ArchiveReader(archive())) is None


def test_a_held_layer_stays(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("a", b"1"))
    bench.store.hold(base)
    with pytest.raises(Conflict):
        bench.store.remove(base)
    bench.store.release(base)
    bench.store.remove(base)


def test_what_layers_show_can_be_read(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("a", b"1"))
    top = bench.layer(base, make("b", b"2"))
    for chain_id, names in ((None, []), (base, ["a"]), (top, ["a", "b"])):
        with bench.store.view(chain_id) as fd:
            assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == names
