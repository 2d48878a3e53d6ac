"""What a rootless engine's user has been given: further ids, a place for sockets, leave to stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.doctor.trial import attempt
from knarr.kernel import user_namespaces
from knarr.rootless import id_maps

TITLE = "User"

_ONE_ID = "files in containers belong to root alone: programs that change users (apt, most services) fail"


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group; none for root."""
    if not subject.rootless:
        return
    yield _subordinate_ids(subject)
    yield _runtime_directory(subject)
    yield _lingering(subject)


def _subordinate_ids(subject: Subject) -> Finding:
    name = "subordinate ids"
    for program in ("newuidmap", "newgidmap"):
        if shutil.which(program) is None:
            return missing(name, f"{program} is not in PATH", _ONE_ID, remedies.install("uidmap"))
    try:
        seen = attempt(subject, _map_ids, user_namespace=False)
    except (OSError, RuntimeError) as error:
        remedy = f"{remedies.install('uidmap')}, on a file system that is not mounted nosuid"
        return missing(name, str(error), _ONE_ID, remedy)
    if seen.startswith("/etc/"):
        remedy = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {subject.name}"
        return missing(name, seen, _ONE_ID, remedy)
    return ok(name, seen)


def _map_ids() -> str:
    """Give a user namespace all ids, as the engine does; what is said otherwise names the file that has none."""
    maps = id_maps.of_user()
    if maps.note:
        return maps.note.partition(":")[0]
    for fd in user_namespaces.make_mapped(maps.write, ["user"]):
        os.close(fd)
    users, groups = (sum(each.size for each in ranges) for ranges in (maps.uids, maps.gids))
    return f"{users} user ids, {groups} group ids"


def _runtime_directory(subject: Subject) -> Finding:
    name = "runtime directory"
    directory = subject.runtime_dir
    effect = "an engine has no place for sockets, unless it is told one: --run-root"
    if not directory:
        return missing(
            name, "XDG_RUNTIME_DIR is not set", effect, "log in by ssh or machinectl shell, not by su or sudo"
        )
    try:
        info = os.stat(directory)
    except FileNotFoundError:
        return missing(name, f"{directory} is not there", effect, f"sudo loginctl enable-linger {subject.name}")
    except PermissionError:
        return unknown(name, f"{directory} cannot be looked at")
    if info.st_uid != subject.uid:
        return missing(
            name, f"{directory} is not {subject.name}'s", effect, f"export XDG_RUNTIME_DIR=/run/user/{subject.uid}"
        )
    return ok(name, directory)


def _lingering(subject: Subject) -> Finding:
    if not os.path.isdir("/run/systemd/system"):
        return ok("lingering", "no systemd here: nobody ends what a user leaves running")
    if os.path.exists(f"/var/lib/systemd/linger/{subject.name}"):
        return ok("lingering", "engine and containers stay when the user logs out")
    effect = "engine and containers end when the user logs out, and are not started with the machine"
    return missing("lingering", "not switched on", effect, f"sudo loginctl enable-linger {subject.name}")
