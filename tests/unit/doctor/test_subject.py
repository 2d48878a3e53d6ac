"""For whom a host is examined."""

from __future__ import annotations

import os

import pytest

from knarr.doctor import subject
from knarr.errors import InvalidParameter


def test_an_unknown_user() -> None:
    with pytest.raises(InvalidParameter, match="unable to find user no-such-user: no matching entries in passwd file"):
        subject.choose({}, "no-such-user")


def test_root_has_the_places_of_the_system() -> None:
    chosen = subject.choose({}, "root")
    assert (chosen.rootless, chosen.data_root) == (False, "/var/lib/knarr")


def test_a_data_root_of_ones_own() -> None:
    assert subject.choose({}, "root", data_root="/srv/knarr").data_root == "/srv/knarr"


@pytest.mark.skipif(os.geteuid() != 0, reason="tells what root is told")
def test_root_must_say_whose_rootless_engine_is_meant() -> None:
    with pytest.raises(InvalidParameter, match="name its user with --user"):
        subject.choose({}, rootless=True)
    with pytest.raises(InvalidParameter, match="name its user with --user"):
        subject.choose({}, "root", rootless=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="tells what root is told")
def test_under_sudo_it_is_the_user_who_called_it() -> None:
    chosen = subject.choose({"SUDO_USER": "nobody", "XDG_DATA_HOME": "/root/data"}, rootless=True)
    assert (chosen.name, chosen.rootless, chosen.is_other) == ("nobody", True, True)
    assert chosen.data_root.endswith("/.local/share/knarr") and "/root" not in chosen.data_root
