"""Copies of directories' content."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from knarr.compute.native.copying import copy_content


def copied(source: Path) -> Path:
    target = source.with_name("target")
    target.mkdir()
    fds = [os.open(path, os.O_PATH) for path in (source, target)]
    try:
        copy_content(*fds)
    finally:
        for fd in fds:
            os.close(fd)
    return target


def test_files_directories_and_links(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_bytes(b"content")
    (source / "sub/file").chmod(0o640)
    os.utime(source / "sub/file", (5, 7))
    (source / "sub").chmod(0o711)
    os.utime(source / "sub", (1, 2))
    (source / "link").symlink_to("/nowhere")
    os.mkfifo(source / "pipe", 0o600)
    target = copied(source)
    assert sorted(os.listdir(target)) == ["link", "pipe", "sub"]
    assert os.readlink(target / "link") == "/nowhere"
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    file, sub = target / "sub/file", target / "sub"
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode), file.stat().st_mtime) == (b"content", 0o640, 7)
    assert (stat.S_IMODE(sub.stat().st_mode), sub.stat().st_mtime) == (0o711, 2)


def test_a_file_with_two_names_stays_one_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "one").touch()
    os.link(source / "one", source / "sub/two")
    target = copied(source)
    assert (target / "one").stat().st_ino == (target / "sub/two").stat().st_ino
