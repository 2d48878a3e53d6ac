"""User namespaces for others to use, and files made for who lives in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.kernel import capabilities, mounts, namespaces, user_namespaces
from knarr.kernel.credentials import making_files_as

MAP = "0 300000 1000\n"


def test_a_network_namespace_belongs_to_it() -> None:
    user, network = user_namespaces.make(MAP, MAP, network=True)
    child = os.fork()
    if child == 0:  # who is in the one may enter the other
        try:
            namespaces.setns(user, namespaces.CLONE_NEWUSER)
            namespaces.setns(network, namespaces.CLONE_NEWNET)
            os._exit(0)
        except OSError:
            os._exit(2)
    os.close(user)
    os.close(network)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_map_that_makes_no_sense() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        user_namespaces.make("0 0 0\n", MAP)


def test_which_mounts_can_be_mapped(tmp_path: Path) -> None:
    (fd,) = user_namespaces.make(MAP, MAP)
    try:
        assert mounts.can_map_ids(str(tmp_path), fd, recursive=True)
        assert not mounts.can_map_ids("/proc", fd, recursive=False)
    finally:
        os.close(fd)


def test_files_made_as_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o700)
    with making_files_as(1234, 1235):
        (tmp_path / "closed/made").touch()
        os.chown(tmp_path / "closed", 5, 5)
    (tmp_path / "mine").touch()
    owners = [(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "closed/made", tmp_path / "mine")]
    assert owners == [(1234, 1235), (os.geteuid(), os.getegid())]
    assert capabilities.own_permitted() == capabilities._status(b"CapEff:")
