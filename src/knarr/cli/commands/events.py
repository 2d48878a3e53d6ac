"""knarr events"""

from __future__ import annotations

import sys

from knarr.cli import formatting, times
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import text, words
from knarr.client import system
from knarr.template import Renamed, TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.types import Event

_FLAGS = (
    words("f filter", "Only those that match NAME=VALUE", metavar="filter", parse=formatting.parse_filter),
    text("format", "Template for each line: 'json' or TEMPLATE (Go's text/template)"),
    text("since", "Show what has happened since a time, or a duration ago"),
    text("until", "Stop at a time, or a duration ago"),
)
_GO_NAMES = {"Scope": "scope", "Time": "time", "TimeNano": "timeNano"}


def _run(invocation: Invocation) -> int:
    options = invocation.options
    wanted = options.text("format")
    template = formatting.compile_template("{{json .}}" if wanted == "json" else wanted) if wanted else None
    call = system.events(
        since=times.to_unix(options.text("since")),
        until=times.to_unix(options.text("until")),
        filters=formatting.filters_of(options.words("filter")),
    )
    with invocation.session.engine.stream(call) as events:
        for event in events:
            if template is None:
                line = describe(event)
            else:
                try:
                    line = template.render(_renamed(event))
                except TemplateError as error:
                    raise CommandError(str(error)) from error
            print(line)
            sys.stdout.flush()
    return 0


def describe(event: Event) -> str:
    """An event on one line, in docker's form."""
    seconds, fraction = divmod(event["timeNano"], 10**9)
    actor = event["Actor"]
    attributes = actor.get("Attributes") or {}
    shown = ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes))
    when = times.rfc3339(seconds, f".{fraction:09d}")
    return f"{when} {event['Type']} {event['Action']} {actor['ID']}" + (f" ({shown})" if shown else "")


def _renamed(event: Event) -> dict[str, Any]:
    """The event under Go's field names for {{.Time}}, and under JSON's for {{json .}}."""
    old = ("status", "id", "from")  # of clients before 1.22
    return Renamed({name: value for name, value in event.items() if name not in old}, _GO_NAMES)


COMMAND = Command(
    "[OPTIONS]",
    _run,
    flags=_FLAGS,
    examples=[("What containers did in the last hour", "events --since 1h --until 0s --filter type=container")],
)
