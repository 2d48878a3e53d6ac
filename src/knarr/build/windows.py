"""Images for Windows, as far as they can be built here: COPY, ADD and WORKDIR, by the places of files in their layers.

A layer of theirs has the drive C: in its directory `Files`; beside it, in `Hives`, are changes of the registry, which
nothing here makes. Source: github.com/microsoft/hcsshim, the format of OCI layers for Windows.
"""

from __future__ import annotations

import posixpath
import re
from typing import TypeVar

import msgspec

from knarr.dockerfile.instructions import Copy, Transfer
from knarr.errors import InvalidParameter, Unsupported
from knarr.images.config import ContainerDefaults

NAME = "windows"
PATH = "c:\\Windows\\System32;c:\\Windows"

_FILES = "Files"
_DRIVE = re.compile(r"[A-Za-z]:")

_Instruction = TypeVar("_Instruction", bound=Transfer)


def in_layer(path: str, directory: str = "") -> str:
    r"""Where a layer has what is called `path`, relative to `directory`, in a container: /Files/app for C:\app.

    A slash at its end stays. Raises InvalidParameter for another drive.
    """
    written = _slashed(path)
    joined = posixpath.normpath(posixpath.join("/", _slashed(directory), written))
    return f"/{_FILES}{joined.rstrip('/')}" + ("/" if written.endswith(("/", "/.")) or written == "." else "")


def _slashed(path: str) -> str:
    if _DRIVE.match(path):
        if path[0] not in "cC":
            raise InvalidParameter(f"Windows does not support {path} with a destination not on the system drive (C:)")
        path = path[2:]
    return path.replace("\\", "/")


def placed(instruction: _Instruction, working_dir: str) -> _Instruction:
    """COPY or ADD into an image for Windows, by where its layer has the files."""
    return msgspec.structs.replace(instruction, destination=in_layer(instruction.destination, working_dir))


def taken(instruction: Copy) -> Copy:
    """COPY from an image for Windows, by where its layers have the files."""
    return msgspec.structs.replace(instruction, sources=[in_layer(source) for source in instruction.sources])


def enter(defaults: ContainerDefaults, path: str) -> str:
    """WORKDIR: note the directory as Windows writes it; where the layer has it."""
    found = in_layer(path, defaults.working_dir).rstrip("/")
    defaults.working_dir = "C:" + (found.removeprefix(f"/{_FILES}").replace("/", "\\") or "\\")
    return found


def check_run(system: str) -> None:
    """Raise Unsupported for a step of an image that is not for Linux."""
    if system not in ("", "linux"):
        raise Unsupported(f"RUN cannot be executed here: containers run on Linux, the image is for {system}")
