"""Where a knarr-runtime that nothing has prepared starts: in an interpreter without `site` and with next to no modules.

What has to be quick runs with plain records (`knarr.plain`) and without the garbage collector, as it ends before there
is anything worth collecting.
"""

from __future__ import annotations

import gc
import os
import sys

_QUICK = {"create", "start", "run", "exec", "state", "kill", "delete"}


def main() -> None:
    """Run the command of sys.argv and end, without taking the interpreter down piece by piece."""
    words = sys.argv[1:]
    if not _QUICK.isdisjoint(words):
        import knarr.plain  # noqa: F401 - knarr.light gives it to all others

        gc.disable()
    from knarr.runtime.main import serve

    try:
        code = serve(words)
        sys.stdout.flush()
    except SystemExit as error:  # argparse
        code = error.code if isinstance(error.code, int) else 1
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
