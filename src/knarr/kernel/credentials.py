"""Whom the files that a thread makes belong to: setfsuid(2), setfsgid(2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from knarr.kernel import capabilities
from knarr.kernel.syscalls import libc


@contextmanager
def making_files_as(uid: int, gid: int) -> Iterator[None]:
    """Let the superuser's thread make files as somebody else, with all its capabilities, for as long as this lasts.

    A file system of a user namespace takes files only of those who have a place in it, which the host's superuser has
    not. The kernel takes the capabilities over files from who is not 0 (capabilities(7)); they are taken back.
    """
    permitted, inheritable = capabilities.own_permitted(), capabilities.own_inheritable()
    libc.setfsgid(gid)
    libc.setfsuid(uid)
    try:
        capabilities.set_sets(permitted, permitted, inheritable)
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)
