"""knarr volume ls"""

from __future__ import annotations

from knarr.cli import formatting
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch, text, words
from knarr.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import Volume

_FLAGS = (
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    switch("q quiet", "Show only names"),
)
_HEADINGS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
    "Label": formatting.label_heading,
}


def _run(invocation: Invocation) -> int:
    options = invocation.options
    call = volumes.list_all(filters=formatting.filters_of(options.words("filter")))
    found = sorted(invocation.session.engine.call(call)["Volumes"] or [], key=lambda volume: volume["Name"])
    wanted = options.text("format")
    if options.on("quiet") and not wanted:
        print("".join(f"{volume['Name']}\n" for volume in found), end="")
        return 0
    formatting.show_list(map(_row, found), _HEADINGS, "{{.Driver}}\t{{.Name}}", wanted)
    return 0


def _row(volume: Volume) -> dict[str, Any]:
    labels = volume.get("Labels") or {}
    return {
        "Driver": volume["Driver"],
        "Name": volume["Name"],
        "Scope": volume["Scope"],
        "Mountpoint": volume["Mountpoint"],
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Links": "N/A",
        "Size": "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
        "Label": lambda name: labels.get(name, ""),
    }


COMMAND = Command("[OPTIONS]", _run, flags=_FLAGS, examples=[("Those that nothing uses", "volume ls -f dangling=true")])
