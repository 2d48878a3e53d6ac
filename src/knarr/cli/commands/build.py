"""knarr build"""

from __future__ import annotations

import os
import sys

from knarr.cli import build_context, progress
from knarr.cli.command import Command, Invocation
from knarr.cli.creation.values import extra_host, label, ulimit
from knarr.cli.errors import CommandError
from knarr.cli.flags import number, switch, text, value, words
from knarr.cli.units import decimal_size, parse_size, parse_size_or_unlimited
from knarr.client import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from knarr.cli.build_context import BuildContext
    from knarr.cli.flags import Options
    from knarr.client.types import Progress

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_LIMITS = {
    "cgroup-parent": "cgroupparent",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "cpu-shares": "cpushares",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
    "memory": "memory",
    "memory-swap": "memswap",
    "shm-size": "shmsize",
}
_FLAGS = (
    words("add-host", "Name of a host with its address: NAME:ADDRESS", parse=extra_host),
    words("build-arg", "Value of an ARG: NAME=VALUE, or NAME for that of the environment"),
    words("cache-from", "Image whose steps may be taken over", metavar="strings"),
    text("cgroup-parent", "Control group for the commands' control groups"),
    number("cpu-period", "Length of a period of the CPU quota, in microseconds"),
    number("cpu-quota", "Microseconds of CPU time in each period"),
    number("c cpu-shares", "Weight in the sharing of CPUs"),
    text("cpuset-cpus", "CPUs that may be used: 0-3,6"),
    text("cpuset-mems", "Memory nodes that may be used: 0-1"),
    text("f file", "Dockerfile (default PATH/Dockerfile), or - for standard input"),
    switch("force-rm", "Accepted for compatibility: no containers are left", hidden=True),
    text("iidfile", "File to write the image's id to"),
    words("label", "Label of the image: NAME=VALUE", parse=label),
    value("m memory", "bytes", "Limit of memory", parse_size, 0),
    value("memory-swap", "bytes", "Limit of memory and swap together; -1 for no limit", parse_size_or_unlimited, 0),
    text("network", "Network of the commands: default, none, host, container:NAME or a network's name"),
    switch("no-cache", "Do everything anew"),
    text("platform", "Platform of the image: os[/arch[/variant]]"),
    switch("pull", "Look for newer images of what FROM names"),
    switch("q quiet", "Show nothing but the image's id"),
    switch("rm", "Accepted for compatibility: no containers are left", default=True, hidden=True),
    words("security-opt", "Security option", metavar="strings"),
    value("shm-size", "bytes", "Size of /dev/shm", parse_size, 0),
    switch("squash", "Refused: layers are kept as the Dockerfile makes them", hidden=True),
    words("t tag", "Name of the image: NAME[:TAG]"),
    text("target", "Stage to build"),
    words("ulimit", "Limit of processes: NAME=SOFT[:HARD]", parse=ulimit),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    place = invocation.arguments[0]
    context = None
    if place == "-":
        context = build_context.of_standard_input(options.text("file"))
    elif not place.startswith(_REMOTE) or os.path.isdir(place):
        context = build_context.of_directory(place, options.text("file"))
    quiet = options.on("quiet")
    call = builds.build(
        None if context is None else _sending(context, quiet),
        remote=place if context is None else "",
        dockerfile=options.text("file") if context is None else context.dockerfile,
        tags=list(options.words("tag")),
        target=options.text("target"),
        arguments=_arguments(options, invocation.session.environ),
        labels=dict(_pair(word) for word in options.words("label")),
        cache_from=[name for word in options.words("cache-from") for name in word.split(",")],
        no_cache=options.on("no-cache"),
        pull=options.on("pull"),
        quiet=quiet,
        platform=options.text("platform") or None,
        network=options.text("network"),
        extra_hosts=list(options.words("add-host")),
        limits={parameter: options.get(name) for name, parameter in _LIMITS.items() if options.get(name)},
        ulimits=list(options.words("ulimit")),
        security_options=list(options.words("security-opt")),
        squash=options.on("squash"),
        credentials=invocation.session.all_credentials(),
    )
    with invocation.session.engine.stream(call) as messages:
        watched = _Watched(messages)
        _show(watched, quiet=quiet)
    if path := options.text("iidfile"):
        with open(path, "w", encoding="ascii") as file:
            file.write(watched.image_id)
    return 0


def _show(messages: Iterable[Progress], *, quiet: bool) -> None:
    """With `quiet` only the last message counts, unless the build fails: then all of it explains that."""
    if not quiet:
        progress.show(messages, sys.stdout)
        return
    said: list[Progress] = []
    for message in messages:
        said.append(message)
    failed = any("error" in message for message in said)
    progress.show(said, sys.stderr if failed else sys.stdout)


class _Watched:
    """Messages as they pass; `image_id` is the id that one of them has told."""

    def __init__(self, messages: Iterable[Progress]) -> None:
        self._messages = messages
        self.image_id = ""

    def __iter__(self) -> Iterator[Progress]:
        for message in self._messages:
            told = message.get("aux", {}).get("ID") or message.get("stream", "").strip()
            if told.startswith("sha256:"):
                self.image_id = told
            yield message


def _sending(context: BuildContext, quiet: bool) -> Iterator[bytes]:
    yield from context.pieces
    if not quiet:
        print(f"Sending build context to the engine  {decimal_size(context.sent)}", flush=True)


def _arguments(options: Options, environ: object) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in options.words("build-arg"):
        name, equals, content = word.partition("=")
        if not name:
            raise CommandError(f"invalid build argument: {word}")
        found[name] = content if equals else os.environ.get(name)
    return found


def _pair(word: str) -> tuple[str, str]:
    name, _, content = word.partition("=")
    return name, content


COMMAND = Command(
    "[OPTIONS] PATH|URL|-",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[
        ("From the directory here, with a name", "build -t app:1 ."),
        ("A stage of it, with a value for one of its ARGs", "build --target test --build-arg VERSION=2 ."),
        ("A Dockerfile without files", "build -t tool - < Dockerfile"),
    ],
)
