"""Giving a seccomp listener away."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from knarr.compute.native.hooks import Told
from knarr.compute.native.plan import CgroupPlan
from knarr.runtime import listening
from knarr.runtime.containers import Container


class Hasty(socket.socket):
    """Sends less than it is given, as sendmsg(2) does when a signal comes."""

    def sendmsg(self, buffers: Iterable[Any], *arguments: Any) -> int:
        (data,) = buffers
        return super().sendmsg([data[:10]], *arguments)


def test_the_whole_state_comes_with_the_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = CgroupPlan("none", {}, None, "/x")
    container = Container("x", "/", "/", 0, cgroup, None, listener=str(tmp_path / "agent"), listener_metadata="mine")
    with socket.socket(socket.AF_UNIX) as agent, open(os.devnull) as given:
        agent.bind(container.listener)
        agent.listen()
        monkeypatch.setattr(listening.socket, "socket", Hasty)
        listening.giver(container, lambda pid: Told("1.2.0", "x", "creating", pid))(7, given.fileno())
        monkeypatch.undo()
        connection, _ = agent.accept()
        with connection:
            first, (fd,), _, _ = socket.recv_fds(connection, 1 << 16, 1)
            os.close(fd)
            document = first + b"".join(iter(lambda: connection.recv(1 << 16), b""))
    state = json.loads(document)
    assert (state["pid"], state["metadata"], state["state"]["status"]) == (7, "mine", "creating")
