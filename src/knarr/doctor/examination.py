"""All checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator

from knarr.doctor import cgroups, host, isolation, network, storage, users
from knarr.doctor.finding import Finding
from knarr.doctor.subject import Subject

_GROUPS = (host, isolation, users, storage, cgroups, network)


def examine(subject: Subject) -> Iterator[tuple[str, list[Finding]]]:
    """The title and the findings of each group that has any.

    For a process with one thread: children are forked from it. Nothing is changed on the host.
    """
    for group in _GROUPS:
        findings = list(group.examine(subject))
        if findings:
            yield group.TITLE, findings
