"""Further processes in a running container."""

from __future__ import annotations

from knarr.client.calls import call, document, nothing, takeover
from knarr.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from knarr.client.calls import Call, Takeover
    from knarr.client.types import CreatedExec, ExecInspect


def create(container: str, config: Mapping[str, Any]) -> Call[CreatedExec]:
    """`config` is the API's ExecConfig: Cmd, Tty, AttachStdin …"""
    return call("POST", f"/containers/{quote(container)}/exec", document, body=dict(config))


def start(exec_id: str, *, tty: bool = False) -> Call[None]:
    """Start it in the background."""
    return call("POST", f"/exec/{quote(exec_id)}/start", nothing, body={"Detach": True, "Tty": tty})


def attach(exec_id: str, *, tty: bool = False, console_size: tuple[int, int] | None = None) -> Call[Takeover]:
    """Start it with its streams on this connection; `console_size` is (height, width)."""
    body: dict[str, Any] = {"Detach": False, "Tty": tty}
    if console_size is not None:
        body["ConsoleSize"] = list(console_size)
    return takeover("POST", f"/exec/{quote(exec_id)}/start", body=body)


def inspect(exec_id: str) -> Call[ExecInspect]:
    return call("GET", f"/exec/{quote(exec_id)}/json", document)


def resize(exec_id: str, *, height: int, width: int) -> Call[None]:
    return call("POST", f"/exec/{quote(exec_id)}/resize", nothing, query={"h": height, "w": width})
