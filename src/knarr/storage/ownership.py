"""Whom files from archives belong to, where not every id exists: in a user namespace.

A user without subordinate ids has one id, root's, and so are all files root's. With subordinate ids each file keeps its
owner, and an archive with an owner beyond them cannot be unpacked.
"""

from __future__ import annotations

import functools

from knarr.errors import Unsupported
from knarr.kernel import user_namespaces


def owner(uid: int, gid: int) -> tuple[int, int]:
    """What the owner's ids become here. Raises Unsupported for ids that there are not."""
    if not user_namespaces.inside():
        return uid, gid
    users, groups = _counts()
    if users == 1:
        return 0, 0
    if uid >= users or gid >= groups:
        raise Unsupported(
            f"a file belongs to {uid}:{gid}, and this user's engine has ids up to {min(users, groups) - 1}: "
            "more are needed in /etc/subuid and /etc/subgid"
        )
    return uid, gid


@functools.cache
def _counts() -> tuple[int, int]:
    return user_namespaces.user_count(), user_namespaces.group_count()
