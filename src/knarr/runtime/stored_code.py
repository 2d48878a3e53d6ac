"""Where many modules are and the code of them, in one file, for a cold start: to search directories for sixty files and
to read these takes longer than to run them.

A module comes from there as long as its source is what it was. The file is a marshalled index and, behind it, the
marshalled code objects; it is good for the interpreter that wrote it. This module's own source starts a cold
interpreter (sealing.py), so it imports what every interpreter has.
"""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Entry = tuple[str, bool, int, int, int, int]  # file, is it a package, mtime and size; place and size of the code

_LENGTH = 4


def write(path: str, modules: Iterable[ModuleType]) -> None:
    """Write what is to be known of imported modules, at once; built-in ones are left out. Raises OSError."""
    index: dict[str, Entry] = {}
    codes: list[bytes] = []
    place = 0
    for module in modules:
        spec: Any = module.__spec__
        if not spec or not spec.has_location:
            continue
        status = os.stat(spec.origin)
        code = spec.loader.get_code(spec.name)
        codes.append(b"" if code is None else marshal.dumps(code))  # an extension module has none
        package = spec.submodule_search_locations is not None
        index[spec.name] = (spec.origin, package, status.st_mtime_ns, status.st_size, place, len(codes[-1]))
        place += len(codes[-1])
    head = marshal.dumps(index)
    with open(f"{path}.new", "wb") as file:
        file.write(b"".join([len(head).to_bytes(_LENGTH, "little"), head, *codes]))
    os.rename(f"{path}.new", path)


class Finder:
    """Finder and loader (importlib.abc) of what is in the file `fd`. Raises ValueError, EOFError if that is broken."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        length = int.from_bytes(os.pread(fd, _LENGTH, 0), "little")
        self._index: dict[str, Entry] = marshal.loads(os.pread(fd, length, _LENGTH))
        self._start = _LENGTH + length

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """A module whose file has not changed."""
        entry = self._index.get(name)
        if entry is None:
            return None
        file, package, modified, size, _, length = entry
        try:
            status = os.stat(file)
        except OSError:
            return None
        if (status.st_mtime_ns, status.st_size) != (modified, size):
            return None
        loader: Any = self if length else _extension_loader(name, file)
        spec: ModuleSpec = type(sys.__spec__)(name, loader, origin=file, is_package=package)
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(file.rpartition("/")[0])
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """The usual kind."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        *_, place, size = self._index[module.__name__]
        exec(marshal.loads(os.pread(self._fd, size, self._start + place)), module.__dict__)


def _extension_loader(name: str, file: str) -> Any:
    return sys.modules["_frozen_importlib_external"].ExtensionFileLoader(name, file)


def use(path: str) -> None:
    """Import from a file from now on. One that cannot be read is done without."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        finder: Any = Finder(fd)
    except (OSError, EOFError, ValueError, TypeError):
        os.close(fd)
        return
    sys.meta_path.insert(0, finder)
