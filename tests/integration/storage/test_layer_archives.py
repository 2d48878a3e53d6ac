"""Applying layer archives: every kind of entry, whiteouts, what layers below add to it. On both drivers alike."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]


def test_kinds_and_attributes(bench: Any, make: Make) -> None:
    chain = bench.layer(
        None,
        make("bin", kind="dir", mode=0o2775, uid=1, gid=2),
        make("bin/su", b"x", mode=0o4755, uid=3, gid=4),
        make("bin/plain", b"x"),
        make("link", "bin/su", "symlink", uid=5, gid=6),
        make("hard", "bin/su", "link"),
        make("null", kind="char", devmajor=1, devminor=3, mode=0o666),
        make("disk", kind="block", devmajor=8, devminor=300),
        make("pipe", kind="fifo", mode=0o600),
    )
    tree = bench.tree(chain)
    info = tree.stat("bin/su")
    assert (info.st_mode, info.st_uid, info.st_gid, info.st_nlink) == (stat.S_IFREG | 0o4755, 3, 4, 2)
    assert (tree.mode("bin"), tree.stat("bin").st_gid, tree.stat("bin/plain").st_gid) == (0o2775, 2, 0)
    assert (os.readlink("link", dir_fd=tree.fd), tree.stat("link").st_uid) == ("bin/su", 5)
    assert (tree.stat("null").st_rdev, tree.mode("null")) == (os.makedev(1, 3), 0o666)
    assert (tree.stat("disk").st_rdev, stat.S_ISFIFO(tree.stat("pipe").st_mode)) == (os.makedev(8, 300), True)


def test_times_to_the_nanosecond(bench: Any, make: Make) -> None:
    exact = {"mtime": "1600000000.123456789", "atime": "1500000000.5"}
    chain = bench.layer(
        None,
        make("d", kind="dir", pax_headers=exact),
        make("d/file", b"x", pax_headers=exact),
        make("d/link", "file", "symlink", pax_headers=exact),
    )
    tree = bench.tree(chain)
    for name in ("d", "d/file", "d/link"):
        assert tree.stat(name).st_mtime_ns == 1_600_000_000_123_456_789


def test_extended_attributes(bench: Any, make: Make) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    headers = {
        "SCHILY.xattr.user.note": "text",
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
    }
    base = bench.layer(None, make("dir/below", b""))
    tree = bench.tree(
        bench.layer(base, make("dir", kind="dir", pax_headers=headers), make("file", b"x", pax_headers=headers))
    )
    assert tree.xattr("file", "user.note") == b"text"
    assert tree.xattr("file", "security.capability") == capability
    assert "dir/below" in tree.names()


def test_whiteouts(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("a", b""), make("d/x", b""), make("d/y", b""), make("e/x/y", b""))
    top = bench.layer(base, make(".wh.a"), make("d/.wh.x"), make("e/.wh.x"), make("e/.wh.none"), make(".wh..wh.plnk"))
    assert bench.tree(top).names() == ["d", "d/y", "e"]


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_leaves_alone_what_its_own_layer_has(first: bool, bench: Any, make: Make) -> None:
    base = bench.layer(None, make("f", b"old"), make("d", kind="dir"), make("d/old"))
    whiteouts = [make(".wh.f"), make(".wh.d")]
    members = [make("f", b"new"), make("d", kind="dir"), make("d/new")]
    tree = bench.tree(bench.layer(base, *(whiteouts + members if first else members + whiteouts)))
    assert (tree.names(), tree.read("f")) == (["d", "d/new", "f"], b"new")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("directory", ["", "d/"])
def test_opaque_directories(directory: str, first: bool, bench: Any, make: Make) -> None:
    base = bench.layer(None, make(f"{directory}old"), make(f"{directory}s", kind="dir"), make(f"{directory}s/old"))
    members = [make(f"{directory}s/new"), make(f"{directory}new")]
    mark = [make(f"{directory}.wh..wh..opq")]
    tree = bench.tree(bench.layer(base, *(mark + members if first else members + mark)))
    expected = [f"{directory}new", f"{directory}s", f"{directory}s/new"]
    assert tree.names() == ([directory.rstrip("/")] if directory else []) + expected


def test_replacing_one_kind_by_another(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("a/x"), make("b"), make("c", "a", "symlink"), make("d/x"))
    top = bench.layer(
        base, make("a", b"file"), make("b/y"), make("c", kind="dir"), make("c/z"), make("d", "b", "symlink")
    )
    tree = bench.tree(top)
    assert tree.names() == ["a", "b", "b/y", "c", "c/z", "d"]
    assert os.readlink("d", dir_fd=tree.fd) == "b"


def test_the_last_entry_of_a_name_counts(bench: Any, make: Make) -> None:
    chain = bench.layer(
        None,
        make("f", b"1"),
        make("f", b"2"),
        make("d/x"),
        make("d", b"file"),
        make("e", b""),
        make("e/x"[:1], kind="dir"),
    )
    tree = bench.tree(chain)
    assert (tree.read("f"), tree.read("d"), tree.mode("e")) == (b"2", b"file", 0o755)


def test_missing_parents_are_those_of_the_layers_below(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("d", kind="dir", mode=0o700, uid=7, pax_headers={"SCHILY.xattr.user.a": "b"}))
    tree = bench.tree(bench.layer(base, make("d/new/file")))
    info = tree.stat("d")
    assert (info.st_mode & 0o7777, info.st_uid, info.st_mtime, tree.xattr("d", "user.a")) == (
        0o700,
        7,
        1_600_000_000,
        b"b",
    )
    assert (tree.mode("d/new"), tree.stat("d/new").st_mtime) == (0o755, 1_600_000_000)


def test_links_to_directories_are_followed_inside(bench: Any, make: Make) -> None:
    base = bench.layer(
        None, make("usr/lib", kind="dir"), make("lib", "usr/lib", "symlink"), make("abs", "/usr/lib", "symlink")
    )
    top = bench.layer(base, make("lib/one"), make("abs/two"), make("up", "../../../usr", "symlink"), make("up/three"))
    assert {"usr/lib/one", "usr/lib/two", "usr/three"} <= set(bench.tree(top).names())


def test_hard_links_to_files_of_layers_below(bench: Any, make: Make) -> None:
    base = bench.layer(None, make("etc/file", b"data", uid=9, mode=0o640))
    tree = bench.tree(bench.layer(base, make("other/name", "etc/file", "link")))
    info, other = tree.stat("etc/file"), tree.stat("other/name")
    assert (info.st_ino, info.st_uid, info.st_mode) == (other.st_ino, 9, stat.S_IFREG | 0o640)
    assert tree.read("other/name") == b"data"


def test_a_hard_link_to_a_symbolic_link(bench: Any, make: Make) -> None:
    tree = bench.tree(bench.layer(None, make("a", "/nowhere", "symlink"), make("b", "a", "link")))
    assert os.readlink("b", dir_fd=tree.fd) == "/nowhere"


def test_many_directories(bench: Any, make: Make) -> None:
    names = [f"d{number % 200}/e{number % 7}/f{number}" for number in range(1500)]
    assert set(names) <= set(bench.tree(bench.layer(None, *(make(name, b"x") for name in names))).names())


@pytest.mark.parametrize("options", [["--format=gnu", "-S"], ["--format=pax", "-S"], ["--format=pax", "--xattrs"]])
def test_a_tree_that_gnu_tar_packed(options: list[str], bench: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("source")
    (source / "deep" / ("d" * 200)).mkdir(parents=True)
    (source / "deep" / ("d" * 200) / ("f" * 200)).write_bytes(b"long")
    with open(source / "sparse", "wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
        file.truncate(9_000_000)
    packed = subprocess.run(["tar", "-C", source, *options, "-cf", "-", "."], check=True, capture_output=True).stdout
    tree = bench.tree(bench.store.apply(None, io.BytesIO(packed)).chain_id)
    for path in source.rglob("*"):
        name = str(path.relative_to(source))
        assert tree.stat(name).st_mtime_ns // 10**9 == path.stat().st_mtime_ns // 10**9
        if path.is_file():
            assert tree.read(name) == path.read_bytes()
    if "-S" in options:
        assert tree.stat("sparse").st_blocks < 100


def test_what_we_pack_gnu_tar_unpacks(bench: Any, make: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    chain = bench.layer(
        None, make("d/" + "n" * 200, b"data", uid=123), make("d/ü", b"x"), make("l", "x" * 150, "symlink")
    )
    target: Path = tmp_path_factory.mktemp("target")
    subprocess.run(["tar", "-C", target, "-xpf", "-"], check=True, input=b"".join(bench.store.layer_archive(chain)))
    assert (target / "d" / ("n" * 200)).read_bytes() == b"data"
    assert (target / "d" / ("n" * 200)).stat().st_uid == 123
    assert (target / "d" / "ü").read_bytes() == b"x"
    assert os.readlink(target / "l") == "x" * 150
