"""For whom a host is examined: an engine of root's, or a rootless one of some user's."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import NamedTuple

from knarr.errors import InvalidParameter

ROOT_DATA = "/var/lib/knarr"


class Subject(NamedTuple):
    """Who is to run the engine, and where it is to keep its data.

    `by_root` tells whether root is asking, who sees everything and can try things as that user.
    """

    name: str
    uid: int
    gid: int
    groups: list[int]
    rootless: bool
    by_root: bool
    data_root: str
    runtime_dir: str

    @property
    def is_other(self) -> bool:
        """Whether it is not the user that asks."""
        return self.uid != os.geteuid()

    @property
    def sees_all(self) -> bool:
        """Whether what fails for the asking user would fail for the engine."""
        return self.rootless or self.by_root


def choose(environ: Mapping[str, str], user: str = "", *, rootless: bool = False, data_root: str = "") -> Subject:
    """The subject that is asked for: `user`, or whoever asks; with `rootless` under sudo the user who called it.

    Raises InvalidParameter for a user that is not there, or as whom nothing can be tried.
    """
    asking = os.geteuid()
    if user:
        entry = _find(user)
    elif rootless and asking == 0:
        entry = _find(environ.get("SUDO_USER", ""))
    else:
        entry = _of(asking)
    if rootless and entry.pw_uid == 0:
        raise InvalidParameter("a rootless engine is not root's: name its user with --user")
    if asking != 0 and entry.pw_uid not in (0, asking):
        raise InvalidParameter(f"only root can try what user {entry.pw_name} can do: use sudo")
    is_own = entry.pw_uid == asking
    own = environ if is_own else {}
    share = own.get("XDG_DATA_HOME") or f"{entry.pw_dir}/.local/share"
    return Subject(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=os.getgroups() if is_own else os.getgrouplist(entry.pw_name, entry.pw_gid),
        rootless=entry.pw_uid != 0,
        by_root=asking == 0,
        data_root=os.path.abspath(data_root or (f"{share}/knarr" if entry.pw_uid else ROOT_DATA)),
        runtime_dir=own.get("XDG_RUNTIME_DIR", "") if is_own else f"/run/user/{entry.pw_uid}",
    )


def _find(name: str) -> pwd.struct_passwd:
    if not name:
        raise InvalidParameter("a rootless engine is not root's: name its user with --user")
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise InvalidParameter(f"unable to find user {name}: no matching entries in passwd file") from None


def _of(uid: int) -> pwd.struct_passwd:
    """A user's entry; one is made up for a user that has none."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        home = os.path.expanduser("~")
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", home if home != "~" else "/", "/bin/sh"))
