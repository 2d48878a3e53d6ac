"""knarr version"""

from __future__ import annotations

import os
import sys

from knarr import __version__
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.formatting import compile_template
from knarr.cli.inspection import FORMAT_FLAG
from knarr.cli.tables import align
from knarr.client import system
from knarr.client.calls import LATEST_VERSION
from knarr.errors import KnarrError
from knarr.template import Renamed, TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_GO_NAMES = {"APIVersion": "ApiVersion"}
_DETAILS = (
    ("GitCommit", "Git commit"),
    ("GoVersion", "Go version"),
    ("BuildTime", "Built"),
    ("Os", "OS/Arch"),
    ("Experimental", "Experimental"),
)


def _run(invocation: Invocation) -> int:
    layout = invocation.options.text("format")
    template = compile_template("{{json .}}" if layout == "json" else layout) if layout else None
    server, failure = None, None
    try:
        server = invocation.session.engine.call(system.version())
    except KnarrError as error:
        failure = error
    found = {
        "Client": Renamed(_client(invocation, server), _GO_NAMES),
        "Server": Renamed(server, _GO_NAMES) if server else None,
    }
    if template is None:
        sys.stdout.write(_describe(found))
    else:
        try:
            print(template.render(found))
        except TemplateError as error:
            raise CommandError(str(failure or f"template parsing error: {error}")) from error
    if failure is not None:
        raise failure
    return 0


def _client(invocation: Invocation, server: Any) -> dict[str, str]:
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": invocation.session.engine.version if server else LATEST_VERSION,
        "DefaultAPIVersion": LATEST_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine, machine),
        "BuildTime": "",
        "Context": "default",
    }


def _describe(found: dict[str, Any]) -> str:
    client, server = found["Client"], found["Server"]
    api = client["ApiVersion"]
    note = f" (downgraded from {LATEST_VERSION})" if api != LATEST_VERSION else ""
    rows = [("Version", client["Version"]), ("API version", api + note), ("Python version", client["PythonVersion"])]
    rows += [("OS/Arch", f"{client['Os']}/{client['Arch']}")]
    text = "Client:\n" + "".join(f" {name}:\t{value}\n" for name, value in rows)
    if server:
        text += "\nServer:\n" + "".join(map(_component, _components(server)))
    return align(text, least=20, padding=1)


def _components(server: dict[str, Any]) -> list[dict[str, Any]]:
    if server.get("Components"):
        return list(server["Components"])
    return [{"Name": "Engine", "Version": server["Version"], "Details": server}]


def _component(component: dict[str, Any]) -> str:
    details = component.get("Details") or {}
    rows = [("Version", component["Version"])]
    if "ApiVersion" in details:
        least = details.get("MinAPIVersion", "")
        rows.append(("API version", details["ApiVersion"] + (f" (minimum version {least})" if least else "")))
    for name, title in _DETAILS:
        if name in details:
            rows.append((title, f"{details['Os']}/{details['Arch']}" if name == "Os" else str(details[name])))
    return f" {component['Name']}:\n" + "".join(f"  {name}:\t{value}\n" for name, value in rows)


COMMAND = Command(
    "[OPTIONS]", _run, flags=(FORMAT_FLAG,), examples=[("The engine's only", "version -f '{{.Server.Version}}'")]
)
