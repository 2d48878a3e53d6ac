"""knarr attach"""

from __future__ import annotations

from knarr.cli.attendance import attend
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.cli.foreground import check_input
from knarr.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.types import ContainerState

_FLAGS = (
    text("detach-keys", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
    switch("no-stdin", "Do not connect standard input"),
    switch("sig-proxy", "Pass signals on to the process", default=True),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    container = invocation.session.engine.call(containers.inspect(invocation.arguments[0]))
    _check_state(container["State"])
    config = container["Config"]
    stdin = config["OpenStdin"] and not options.on("no-stdin")
    check_input(tty=config["Tty"], stdin=stdin)
    return attend(
        invocation.session,
        container["Id"],
        streams={"stdin": stdin, "stdout": True, "stderr": True},
        tty=config["Tty"],
        sig_proxy=options.on("sig-proxy") and not config["Tty"],
        detach_keys=options.text("detach-keys"),
        tell_detached=True,
    )


def _check_state(state: ContainerState) -> None:
    if not state["Running"]:
        raise CommandError("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise CommandError("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise CommandError("You cannot attach to a restarting container, wait until it is running")


COMMAND = Command(
    "[OPTIONS] CONTAINER",
    _run,
    flags=_FLAGS,
    arguments=(1, 1),
    examples=[("Only look", "attach --no-stdin --sig-proxy=false web")],
)
