"""knarr context create"""

from __future__ import annotations

import sys

from knarr.cli import contexts
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import text

_FLAGS = (
    text("description", "What it is for"),
    contexts.ENDPOINT_FLAG,
    text("from", "Context to make it from"),
)


def _run(invocation: Invocation) -> int:
    options, store = invocation.options, invocation.session.contexts
    name = invocation.arguments[0]
    contexts.check_name(name)
    if store.has(name):
        raise CommandError(f'context "{name}" already exists')
    context = contexts.Context(name, "", description=options.text("description"))
    settings = contexts.endpoint_settings(options)
    if source := options.text("from"):
        settings.setdefault("from", source)
    if not settings:
        raise CommandError("docker endpoint configuration is required")
    contexts.set_endpoint(store, context, settings)
    store.put(context)
    print(name, flush=True)
    print(f'Successfully created context "{name}"', file=sys.stderr)
    return 0


COMMAND = Command(
    "[OPTIONS] CONTEXT",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[
        ("The engine of another machine", "context create farm --docker host=ssh://me@farm"),
        ("With TLS", "context create farm --docker host=tcp://farm:2376,ca=ca.pem,cert=cert.pem,key=key.pem"),
    ],
)
