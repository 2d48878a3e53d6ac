"""Which OCI runtimes there are to run containers with, besides knarr's own: those installed, and those configured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from msgspec import Struct, field

from knarr.errors import InvalidParameter, Unsupported

OWN = "knarr"
COMPATIBLE = "runc"
"""What clients of Docker ask for by name: our own where no runc is installed."""
_KNOWN = ("runc", "crun", "runsc", "youki")
_BY_COMMAND_LINE = ("", "io.containerd.runc.v2")


class Runtime(Struct, frozen=True):
    """One of daemon.json's `runtimes`: a program with runc's command line."""

    path: str = ""
    arguments: list[str] = field(name="runtimeArgs", default_factory=list)
    type: str = field(name="runtimeType", default="")
    options: dict[str, str] = field(default_factory=dict)


def check(configured: Mapping[str, Runtime], default: str) -> None:
    """Raises InvalidParameter, Unsupported for what cannot be meant or is not to be had."""
    for name, runtime in configured.items():
        if name == OWN:
            raise InvalidParameter(f"runtime name '{OWN}' is reserved")
        if runtime.type not in _BY_COMMAND_LINE:
            raise Unsupported(f"runtime {name}: only runtimes with runc's command line are supported")
        if not _program(runtime):
            raise InvalidParameter(f"runtime {name}: either a runtimeType or a path must be configured")
    if default and default not in {OWN, COMPATIBLE, *commands(configured)}:
        raise InvalidParameter(f"specified default runtime '{default}' does not exist")


def commands(configured: Mapping[str, Runtime]) -> dict[str, list[str]]:
    """By name, the program and its own arguments."""
    found = {name: [path] for name in _KNOWN if (path := shutil.which(name))}
    for name, runtime in configured.items():
        program = _program(runtime)
        found[name] = [shutil.which(program) or program, *runtime.arguments]
    return found


def _program(runtime: Runtime) -> str:
    return runtime.path or runtime.options.get("BinaryName", "")
