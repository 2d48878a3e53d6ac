"""What the prune commands share: the question, and the report."""

from __future__ import annotations

import sys

from knarr.cli.flags import switch, words
from knarr.cli.formatting import parse_filter
from knarr.cli.units import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.cli.flags import Options
    from knarr.client.types import PruneReport

FLAGS = (
    words("filter", "Only those that match NAME=VALUE", metavar="filter", parse=parse_filter),
    switch("f force", "Do not ask"),
)


def confirmed(options: Options, warning: str) -> bool:
    """Whether to go on: --force, or the user says so."""
    if options.on("force"):
        return True
    sys.stdout.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def deleted_images(found: PruneReport) -> list[str]:
    """A line for each name and layer that went with images."""
    return [f"{what.lower()}: {name}" for item in found.get("ImagesDeleted") or [] for what, name in item.items()]


def report(title: str, lines: list[str], found: PruneReport) -> None:
    if lines:
        print("\n".join([f"{title}:", *lines, ""]))
    print(f"Total reclaimed space: {decimal_size(found.get('SpaceReclaimed', 0))}")
