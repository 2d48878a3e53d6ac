"""knarr ps"""

from __future__ import annotations

from knarr.cli import formatting, times
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import number, switch, text, words
from knarr.cli.units import decimal_size
from knarr.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import ContainerSummary, Port

_FLAGS = (
    switch("a all", "Show those that do not run, too"),
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", formatting.FORMAT_HELP),
    number("n last", "Show the last N that were made, running or not", default=-1),
    switch("l latest", "Show the one that was made last, running or not"),
    switch("no-trunc", "Do not shorten what is shown"),
    switch("q quiet", "Show only ids"),
    switch("s size", "Show the sizes of their files"),
)

_TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
HEADINGS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "Label": formatting.label_heading,
}


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    limit = 1 if options.on("latest") and not options.given("last") else options.number("last")
    wanted = options.text("format") or ("" if options.on("quiet") else session.settings.get("psFormat", ""))
    size = options.on("size")
    found = session.engine.call(
        containers.list_all(
            everything=options.on("all"),
            limit=limit if limit > 0 else None,
            size=size or ".Size" in wanted,
            filters=formatting.filters_of(options.words("filter")),
        )
    )
    short = not options.on("no-trunc")
    if options.on("quiet") and not wanted:
        print("".join(f"{container['Id'][:12] if short else container['Id']}\n" for container in found), end="")
        return 0
    table = _TABLE + ("\t{{.Size}}" if size else "")
    formatting.show_list([row(container, short) for container in found], HEADINGS, table, wanted)
    return 0


def row(container: ContainerSummary, short: bool = True) -> dict[str, Any]:
    """What --format may show of a container."""
    labels = container.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []]
    volumes = [mount for mount in container.get("Mounts") or [] if mount.get("Driver") == "local"]
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    command = container["Command"]
    return {
        "ID": container["Id"][:12] if short else container["Id"],
        "Names": ",".join(_names(container["Names"] or [], short)),
        "Image": _image(container, short),
        "Command": _quote(formatting.shorten(command, 20) if short else command),
        "CreatedAt": times.local(container["Created"]),
        "RunningFor": times.ago(container["Created"]),
        "Ports": show_ports(container.get("Ports") or []),
        "State": container["State"],
        "Status": container["Status"],
        "Size": _size(container),
        "Labels": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Mounts": ",".join(formatting.shorten(mount, 15) if short else mount for mount in mounts),
        "LocalVolumes": str(len(volumes)),
        "Networks": ",".join(sorted(networks)),
        "Platform": None,
        "Label": lambda name: labels.get(name, ""),
    }


def _names(names: list[str], short: bool) -> list[str]:
    """Names without the slash; those with a second one are links' names."""
    plain = [name.removeprefix("/") for name in names]
    return [name for name in plain if "/" not in name] if short else plain


def _image(container: ContainerSummary, short: bool) -> str:
    image = container["Image"]
    if not image:
        return "<no image>"
    if not short:
        return image
    identifier = formatting.short_id(container.get("ImageID", ""))
    if identifier and identifier == formatting.short_id(image):
        return identifier
    name, _, digest = image.partition("@")
    return name if digest and ":" in name.rpartition("/")[2] else image


def _quote(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _size(container: ContainerSummary) -> str:
    written = decimal_size(container.get("SizeRw", 0), 3)
    total = container.get("SizeRootFs", 0)
    return f"{written} (virtual {decimal_size(total, 3)})" if total > 0 else written


def show_ports(ports: list[Port]) -> str:
    """Ports in docker's short form: those that follow each other on one address as a range."""
    ranges: dict[tuple[str, str], tuple[int, int]] = {}
    finished: list[str] = []
    mapped: list[str] = []
    for port in sorted(ports, key=_port_key):
        private, kind, address = port["PrivatePort"], port["Type"], port.get("IP", "")
        if address and port.get("PublicPort", 0) != private:
            mapped.append(f"{_join(address, str(port.get('PublicPort', 0)))}->{private}/{kind}")
            continue
        first, last = ranges.get((address, kind), (private, private - 1))
        if private == last + 1:
            ranges[address, kind] = (first, private)
        else:
            finished.append(_range(address, kind, first, last))
            ranges[address, kind] = (private, private)
    return ", ".join(finished + [_range(*key, *ranges[key]) for key in ranges] + mapped)


def _port_key(port: Port) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]


def _range(address: str, kind: str, first: int, last: int) -> str:
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{_join(address, numbers)}->{numbers}/{kind}" if address else f"{numbers}/{kind}"


def _join(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[
        ("All that have ended with an error", "ps -a --filter exited=1"),
        ("Names and states only", "ps -a --format 'table {{.Names}}\\t{{.Status}}'"),
    ],
)
