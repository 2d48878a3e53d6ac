"""knarr context update"""

from __future__ import annotations

import sys

from knarr.cli import contexts
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import text

_FLAGS = (text("description", "What it is for"), contexts.ENDPOINT_FLAG)


def _run(invocation: Invocation) -> int:
    options, store = invocation.options, invocation.session.contexts
    name = invocation.arguments[0]
    contexts.check_name(name)
    context = store.get(name)
    if options.given("description"):
        context.description = options.text("description")
    if settings := contexts.endpoint_settings(options):
        contexts.set_endpoint(store, context, settings)
    store.put(context)
    print(name, flush=True)
    print(f'Successfully updated context "{name}"', file=sys.stderr)
    return 0


COMMAND = Command(
    "[OPTIONS] CONTEXT",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("Another address", "context update farm --docker host=ssh://me@farm2")],
)
