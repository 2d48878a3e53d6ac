"""exec --cgroup: a process in control groups that a container has made below its own."""

from __future__ import annotations

import os

from knarr.errors import InvalidParameter
from knarr.kernel.cgroups import Cgroup

_EVERYWHERE = ""


class Subgroups(Cgroup):
    """A container's control group, joined below: in every hierarchy, or in those of some controllers.

    `wanted` are runc's arguments: "path", or "controller,controller:path" several times. Raises InvalidParameter.
    """

    def __init__(self, cgroup: Cgroup, wanted: list[str]) -> None:
        super().__init__(cgroup.hierarchies, cgroup.path)
        below = _parse(wanted)
        controllers = self.hierarchies.controllers
        for controller in below:
            if controller != _EVERYWHERE and controller not in controllers:
                raise InvalidParameter(f"unknown controller {controller} in --cgroup")
        self._joined = {mount: self._below(mount, below.get(_EVERYWHERE, "")) for mount in self._v1}
        self._joined |= {
            controllers[name]: self._below(controllers[name], path) for name, path in below.items() if name
        }
        unified = self.hierarchies.unified
        self._joined_unified = unified and self._below(unified, below.get(_EVERYWHERE, ""))

    def _below(self, mount: str, path: str) -> str:
        directory = mount + self.path
        joined = os.path.normpath(f"{directory}/{path}")
        if not f"{joined}/".startswith(f"{directory}/"):
            raise InvalidParameter(f"{path} is not a sub cgroup path")
        if not os.path.isdir(joined):
            words = f"open {joined}/cgroup.procs: no such file or directory"
            raise InvalidParameter(f"error adding pid of the new process to cgroups: {words}")
        return joined

    def join_files(self) -> list[str]:
        """As `Cgroup.join_files`."""
        return [f"{directory}/tasks" for directory in self._joined.values()]

    def open_unified_beside(self, pid: int) -> int | None:
        """Where it was asked for, wherever the other is."""
        if not self._joined_unified:
            return None
        return os.open(self._joined_unified, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _parse(wanted: list[str]) -> dict[str, str]:
    """Paths by controller."""
    found: dict[str, str] = {}
    for argument in wanted:
        controllers, separator, path = argument.partition(":")
        if not separator and len(wanted) > 1:
            raise InvalidParameter(f"invalid --cgroup argument: {argument} (missing <controller>: prefix)")
        if ":" in path:
            raise InvalidParameter(f"invalid --cgroup argument: {argument}")
        if separator:
            found.update((controller, path) for controller in controllers.split(","))
        else:
            found[_EVERYWHERE] = argument
    return found
