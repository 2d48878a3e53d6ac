"""Docker's command-line plugins (compose, buildx …): programs called docker-NAME that are commands of ours as well."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from knarr.cli.session import Session

_PLACES = tuple(
    f"{base}/docker/cli-plugins" for base in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
)


def find(name: str, session: Session) -> str | None:
    """The program of plugin `name`: in the configuration's directory first, then where its settings say, then the
    system's. None where there is none.
    """
    if not (name.isascii() and name.isalnum() and name.islower()):
        return None  # docker's rule for names of plugins, and no path
    extra = session.settings.get("cliPluginsExtraDirs") or []
    for directory in (f"{session.config_directory}/cli-plugins", *extra, *_PLACES):
        path = os.path.join(directory, f"docker-{name}")
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def run(path: str, argv: Sequence[str], session: Session) -> NoReturn:
    """Become the plugin. It reads the whole command line itself, and is told of an engine that no flag names.

    Raises OSError when it cannot be executed, and what connecting to the engine raises.
    """
    environment = dict(session.environ, DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND="knarr")
    host = session.host_for_plugins()
    if host:
        environment["DOCKER_HOST"] = host
    os.execve(path, [path, *argv], environment)
