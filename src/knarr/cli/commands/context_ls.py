"""knarr context ls"""

from __future__ import annotations

from knarr.cli import formatting
from knarr.cli.command import Command, Invocation
from knarr.cli.contexts import DEFAULT, default
from knarr.cli.flags import switch, text

_FLAGS = (text("format", formatting.FORMAT_HELP), switch("q quiet", "Show only names"))
_TABLE = "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
_HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
    "Current": "",
}


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    store, current = session.contexts, session.context
    names = sorted([DEFAULT, *store.names()])
    if options.on("quiet"):
        print("".join(f"{name}\n" for name in names), end="")
        return 0
    rows = []
    for name in names:
        context = default(session) if name == DEFAULT else store.get(name)
        rows.append(
            {
                "Name": name,
                "Description": context.description,
                "DockerEndpoint": context.host,
                "Error": "",
                "Current": name == current,
            }
        )
    formatting.show_list(rows, _HEADINGS, _TABLE, options.text("format"))
    return 0


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Names only", "context ls -q")])
