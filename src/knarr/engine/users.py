"""Who a program runs as: users and groups by name or number from the root file system's own passwd and group files.

Nothing of the host's user database is asked. Texts are dockerd's.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from knarr.compute import spec
from knarr.errors import InvalidParameter
from knarr.kernel import paths, user_namespaces

_MAX_ID = 2**31 - 1
_MAX_FILE_BYTES = 16 << 20


class Identity(NamedTuple):
    """`user` for the runtime spec; `home` as the passwd file has it, "/" for who is not in it."""

    user: spec.User
    home: str


class _Passwd(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: list[str]


def resolve(root_fd: int, user: str, group_add: list[str] | None = None) -> Identity:
    """The identity for "user", "user:group", ":group" or "" (the superuser), and groups to add.

    With a group given the groups that list the user are not joined; the primary group is always among the
    supplementary ones. Raises InvalidParameter: no such name, a number out of range, files that are too large or no
    files.
    """
    wanted_user, _, wanted_group = user.partition(":")
    groups = _groups(root_fd)
    entry = _find_user(_users(root_fd), wanted_user or "0")
    if entry is None:
        uid = _number(wanted_user or "0")
        if uid is None:
            raise InvalidParameter(f"unable to find user {wanted_user}: no matching entries in passwd file")
        entry = _Passwd("root" if not wanted_user else "", uid, 0, "/")
    gid = entry.gid
    joined: list[int] = []
    if wanted_group:
        gid = _group_id(groups, wanted_group, "unable")
    elif entry.name:
        joined = [group.gid for group in groups if entry.name in group.members and _exists(group.gid)]
    joined += [_group_id(groups, name, "Unable") for name in group_add or []]
    return Identity(spec.User(uid=entry.uid, gid=gid, additional_gids=list(dict.fromkeys([gid, *joined]))), entry.home)


def _exists(group: int) -> bool:
    """Whether anything can be of that group: in a user namespace there may be few."""
    return not user_namespaces.inside() or group < user_namespaces.group_count()


def _number(text: str) -> int | None:
    """The id that `text` spells, None for a name. Numbers that are no ids are errors, never taken for names."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    value = int(text) if len(digits) <= 10 else -1
    if not 0 <= value <= _MAX_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{_MAX_ID}")
    return value


def _find_user(users: list[_Passwd], wanted: str) -> _Passwd | None:
    number = _number(wanted)
    for entry in users:
        if entry.name == wanted or (number is not None and entry.uid == number):
            return entry
    return None


def _group_id(groups: list[_Group], wanted: str, unable: str) -> int:
    number = _number(wanted)
    for group in groups:
        if group.name == wanted or (number is not None and group.gid == number):
            return group.gid
    if number is None:
        raise InvalidParameter(f"{unable} to find group {wanted}: no matching entries in group file")
    return number


def _users(root_fd: int) -> list[_Passwd]:
    """passwd(5); lines that make no sense are passed over."""
    result = []
    for fields in _lines(root_fd, "/etc/passwd"):
        uid, gid = (_id_field(fields, index) for index in (2, 3))
        if uid is not None and gid is not None:
            result.append(_Passwd(fields[0], uid, gid, fields[5] if len(fields) > 5 and fields[5] else "/"))
    return result


def _groups(root_fd: int) -> list[_Group]:
    """group(5)."""
    result = []
    for fields in _lines(root_fd, "/etc/group"):
        gid = _id_field(fields, 2)
        if gid is not None:
            result.append(_Group(fields[0], gid, fields[3].split(",") if len(fields) > 3 else []))
    return result


def _id_field(fields: list[str], index: int) -> int | None:
    text = fields[index] if len(fields) > index else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return int(text) if int(text) <= _MAX_ID else None


def _lines(root_fd: int, path: str) -> list[list[str]]:
    try:
        data = paths.read_regular(root_fd, path, _MAX_FILE_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise InvalidParameter(f"unable to read {path} in the container: {error.strerror}") from None
    text = data.decode(errors="surrogateescape")
    return [line.split(":") for line in text.split("\n") if line and not line.startswith("#")]
