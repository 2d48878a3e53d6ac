"""knarr volume create"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.creation.values import label
from knarr.cli.flags import text, words
from knarr.client import volumes

_FLAGS = (
    text("d driver", "Driver of the volume", default="local"),
    words("label", "Label of the volume, KEY=VALUE", parse=label),
    words("o opt", "Option of the driver, KEY=VALUE", metavar="map"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    call = volumes.create(
        "".join(invocation.arguments),
        driver=options.text("driver"),
        options=_pairs(options.words("opt")),
        labels=_pairs(options.words("label")),
    )
    print(invocation.session.engine.call(call)["Name"])
    return 0


def _pairs(lines: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


COMMAND = Command("[OPTIONS] [VOLUME]", _run, flags=_FLAGS, arguments=(0, 1), examples=[("", "volume create data")])
