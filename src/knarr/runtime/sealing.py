"""A command in an interpreter that no container can write to (CVE-2019-5736), see compute/native/interpreter.py.

For the superuser there is one view of the interpreter for all calls until the next boot: a virtual environment below
/run whose python is a read-only bind mount. The program knarr-runtime (a script of this package) finds it by its own
path and starts there at once. A new interpreter or a new installation makes a new one. Others get a detached mount.

VIEWS/DIR/bin/python   the interpreter of the environment that DIR/knarr-runtime belongs to
VIEWS/DIR/lib          for an interpreter that looks for its shared library next to itself
VIEWS/DIR/pyvenv.cfg   where that interpreter's own modules are (PEP 405)
VIEWS/DIR/code         of the modules that a cold start takes (stored_code.py)
VIEWS/DIR/start.pyc    what it runs; written last
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from knarr.compute.native import interpreter
from knarr.compute.native.run_directory import write_file

VIEWS = "/run/knarr-interpreters"
_INTO_CONTAINERS = {"create", "run", "exec"}
_FLAGS = ["-I", "-S", "-B"]
_START = """\
import sys
sys.path[:] = {path!r}
from knarr.runtime.cold import main
main()
"""


def main() -> NoReturn:
    """Run sys.argv's command where it must run."""
    words = sys.argv[1:]
    if _INTO_CONTAINERS.isdisjoint(words):
        from knarr.runtime.main import serve

        sys.exit(serve(words))
    view = VIEWS + os.path.dirname(sys.executable)
    try:
        make_view(view)
    except OSError:
        _run_detached(words)
    os.execv(f"{view}/bin/python", [f"{view}/bin/python", *_FLAGS, f"{view}/start.pyc", *words])


def make_view(view: str) -> None:
    """Make a view of this interpreter in the directory `view`, instead of what is there. Raises OSError."""
    import fcntl

    os.makedirs(f"{view}/bin", mode=0o755, exist_ok=True)
    lock = os.open(view, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        interpreter.attach_read_only(f"{view}/bin/python")
        home = os.path.dirname(os.path.realpath(sys.executable))
        if not os.path.islink(f"{view}/lib"):
            os.symlink(f"{os.path.dirname(home)}/lib", f"{view}/lib")
        write_file(view, "pyvenv.cfg", f"home = {home}\n".encode(), 0o644)
        _store_code(f"{view}/code")
        write_file(view, "start.pyc", _compile_start(f"{view}/code"), 0o644)
    finally:
        os.close(lock)


def _store_code(path: str) -> None:
    """Store the code of what a cold start imports, as an interpreter without anything finds out."""
    program = f"""\
import sys
sys.path[:] = {sys.path!r}
before = {{*sys.modules}}
import knarr.plain, knarr.runtime.main, knarr.runtime.cold, knarr.runtime.executing, knarr.runtime.state
from knarr.runtime import stored_code
stored_code.write({path!r}, [sys.modules[name] for name in sys.modules if name not in before])
"""
    status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *_FLAGS, "-c", program])
    if status:
        raise OSError(0, f"storing code failed: {status}", path)


def _compile_start(code: str) -> bytes:
    """A program that imports from the file `code` before it imports anything, as Python keeps programs (PEP 552)."""
    import __future__

    import importlib.util
    import marshal

    from knarr.runtime import stored_code

    with open(stored_code.__file__) as file:
        source = file.read().replace("from __future__ import annotations\n", "")  # that is an import, too
    source += f"use({code!r})\n{_START.format(path=sys.path)}"
    program = compile(source, stored_code.__file__, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(program)


def _run_detached(words: list[str]) -> NoReturn:
    fd = interpreter.open_read_only()
    os.set_inheritable(fd, True)
    program = f"import os; os.close({fd})\n{_START.format(path=sys.path)}"
    line = [sys.executable, *_FLAGS, "-c", program, *words]
    os.execve(f"/proc/self/fd/{fd}", line, {**os.environ, **interpreter.environment()})
