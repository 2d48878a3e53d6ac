from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.engine.users import resolve
from knarr.errors import InvalidParameter

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a comment
broken
bob:x:1000:1001::/home/bob:/bin/sh
5000:x:77:78::/numeric:/bin/sh
homeless:x:9:9:::
"""
GROUP = "root:x:0:\nwheel:x:10:root,bob\nbob:x:1001:\nadm:x:4:bob\nhuge:x:99999999999:bob\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, [0, 10], "/root"),
        ("root", 0, 0, [0, 10], "/root"),
        ("bob", 1000, 1001, [1001, 10, 4], "/home/bob"),
        ("1000", 1000, 1001, [1001, 10, 4], "/home/bob"),
        ("bob:wheel", 1000, 10, [10], "/home/bob"),
        ("bob:77", 1000, 77, [77], "/home/bob"),
        ("4321", 4321, 0, [0], "/"),
        ("4321:4", 4321, 4, [4], "/"),
        (":adm", 0, 4, [4], "/root"),
        ("5000", 77, 78, [78], "/numeric"),
        ("homeless", 9, 9, [9], "/"),
    ],
)
def test_users(root: int, user: str, uid: int, gid: int, groups: list[int], home: str) -> None:
    found = resolve(root, user)
    assert (found.user.uid, found.user.gid, found.user.additional_gids, found.home) == (uid, gid, groups, home)


def test_groups_are_added_by_name_and_number(root: int) -> None:
    assert resolve(root, "bob:bob", ["wheel", "123", "10"]).user.additional_gids == [1001, 10, 123]


@pytest.mark.parametrize(
    ("user", "groups", "words"),
    [
        ("nope", [], "unable to find user nope: no matching entries in passwd file"),
        ("bob:nope", [], "unable to find group nope: no matching entries in group file"),
        ("bob", ["nope"], "Unable to find group nope: no matching entries in group file"),
        ("4294967296", [], "uids and gids must be in range 0-2147483647"),
        ("2147483648", [], "uids and gids must be in range 0-2147483647"),
        ("-1", [], "uids and gids must be in range 0-2147483647"),
        ("1000:99999999999", [], "uids and gids must be in range 0-2147483647"),
        ("bob", ["-5"], "uids and gids must be in range 0-2147483647"),
    ],
)
def test_errors(root: int, user: str, groups: list[str], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        resolve(root, user, groups)


def test_a_root_without_files_has_numbers_only(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    found = resolve(fd, "12:34")
    assert (found.user.uid, found.user.gid, found.home) == (12, 34, "/")
    assert resolve(fd, "").user.additional_gids == [0]
    os.close(fd)


def test_a_link_to_the_outside_is_resolved_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "etc/passwd").symlink_to("/../../etc/passwd")
    with pytest.raises(InvalidParameter, match="symbolic links"):
        resolve(root, "root")


def test_a_pipe_in_place_of_a_file_does_not_block(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").unlink()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(InvalidParameter, match="not a regular file"):
        resolve(root, "root")


def test_a_huge_file_is_refused(root: int, tmp_path: Path) -> None:
    os.truncate(tmp_path / "etc/group", 17 << 20)
    with pytest.raises(InvalidParameter, match="File too large"):
        resolve(root, "root")
