"""Where an engine keeps its things: in the system's directories for root, in a user's own for everybody else.

Source: the XDG base directory specification.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_RUN = "/run/knarr"


def data(environ: Mapping[str, str]) -> str:
    """The data root."""
    return "/var/lib/knarr" if os.geteuid() == 0 else f"{_home(environ, 'XDG_DATA_HOME', '.local/share')}/knarr"


def configuration(environ: Mapping[str, str]) -> str:
    """The directory of daemon.json and certificates."""
    return "/etc/knarr" if os.geteuid() == 0 else f"{_home(environ, 'XDG_CONFIG_HOME', '.config')}/knarr"


def run(environ: Mapping[str, str]) -> str:
    """The run root; "" for a user who has no directory of the kind, which a login makes."""
    if os.geteuid() == 0:
        return SYSTEM_RUN
    given = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return f"{given}/knarr" if os.path.isdir(given) else ""


def _home(environ: Mapping[str, str], variable: str, default: str) -> str:
    given = environ.get(variable, "")  # a relative one is invalid, says the specification
    return given if given.startswith("/") else os.path.join(os.path.expanduser("~"), default)
